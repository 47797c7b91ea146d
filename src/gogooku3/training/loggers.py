"""Where a network's curves go: TensorBoard in its folder, W&B and MLflow where asked for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from gogooku3.config.groups import LoggingConfig
from gogooku3.errors import ConfigError

TENSORBOARD = "tensorboard"
"""Folder of a network's events, in that of the network."""


def require_clients(config: LoggingConfig) -> None:
    """Refuse a logger whose client is not installed, before anything is trained.

    Raises:
        ConfigError: it names the extra to install.
    """
    for name, wanted in (("wandb", config.wandb), ("mlflow", config.mlflow)):
        if wanted and find_spec(name) is None:
            raise ConfigError(
                f"logging.{name} is true but {name} is not installed; pip install 'gogooku3[{name}]'"
            )


@contextmanager
def open_loggers(config: LoggingConfig, run_dir: Path | None) -> Iterator[list[Logger]]:
    """The loggers that are asked for, while the block runs.

    Args:
        run_dir: the network's folder; its last two parts name the run. None: there are none.

    Raises:
        ConfigError: a client is not installed, or W&B knows no user.
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

            # Or the next network's curves would be appended to this one's.
            wandb.finish()


def _wandb(config: LoggingConfig, name: str, run_dir: Path) -> Logger:
    import wandb

    logger = WandbLogger(name=name, project=config.wandb_project, save_dir=run_dir)
    try:
        _ = logger.experiment  # which begins W&B's run
    except wandb.Error as error:
        raise ConfigError(
            f"logging.wandb is true, but W&B begins no run ({error}); set WANDB_API_KEY, or "
            "WANDB_MODE=offline to keep the curves in the folder"
        ) from error
    return logger


def _mlflow(config: LoggingConfig, name: str, run_dir: Path) -> Logger:
    # MLflow keeps a folder only when told that this is meant, and otherwise asks for a database.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLFLOW_TRACKING_URI is not asked: MLflow itself sets it, to where the last network's curves went.
    uri = config.mlflow_uri or (run_dir / "mlruns").resolve().as_uri()
    return MLFlowLogger(experiment_name="gogooku3", run_name=name, tracking_uri=uri)
