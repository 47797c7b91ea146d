"""Loggers of a training: TensorBoard in the network's folder; W&B and MLflow on request."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from gogooku3.config.groups import LoggingConfig
from gogooku3.errors import ConfigError

TENSORBOARD = "tensorboard"
"""Folder of the TensorBoard events, inside the network's folder."""


def require_clients(config: LoggingConfig) -> None:
    """Check that the clients of the enabled loggers are installed.

    Raises:
        ConfigError: a client is missing; names the extra to install.
    """
    for name, enabled in (("wandb", config.wandb), ("mlflow", config.mlflow)):
        if enabled and find_spec(name) is None:
            raise ConfigError(
                f"logging.{name} is true but {name} is not installed; pip install 'gogooku3[{name}]'"
            )


@contextmanager
def open_loggers(config: LoggingConfig, run_dir: Path | None) -> Iterator[list[Logger]]:
    """Open the enabled loggers while the block runs.

    Args:
        config: enabled loggers.
        run_dir: the network's folder; its last two parts name the run. None: no loggers.

    Raises:
        ConfigError: a client is not installed, or W&B has no API key.
    """
    require_clients(config)
    loggers: list[Logger] = []
    if run_dir is not None:
        name = "/".join(run_dir.parts[-2:])
        if config.tensorboard:
            loggers.append(TensorBoardLogger(run_dir, name=TENSORBOARD, version=""))
        if config.wandb:
            loggers.append(_wandb(config, name, run_dir))
        if config.mlflow:
            loggers.append(_mlflow(config, name, run_dir))
    try:
        yield loggers
    finally:
        if run_dir is not None and config.wandb:
            import wandb

            # Otherwise the next network's curves would be appended to this run.
            wandb.finish()


def _wandb(config: LoggingConfig, name: str, run_dir: Path) -> Logger:
    import wandb

    logger = WandbLogger(name=name, project=config.wandb_project, save_dir=run_dir)
    try:
        _ = logger.experiment  # starts W&B's run
    except wandb.Error as error:
        raise ConfigError(
            f"logging.wandb is true, but W&B does not start a run ({error}); set WANDB_API_KEY, or "
            "WANDB_MODE=offline to keep the curves in the folder"
        ) from error
    return logger


def _mlflow(config: LoggingConfig, name: str, run_dir: Path) -> Logger:
    # Without this, MLflow refuses a folder and requires a database.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLFLOW_TRACKING_URI is not read, because MLflow sets it to the location of the previous run.
    uri = config.mlflow_uri or (run_dir / "mlruns").resolve().as_uri()
    return MLFlowLogger(experiment_name="gogooku3", run_name=name, tracking_uri=uri)
