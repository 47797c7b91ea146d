"""SafeTrainingPipeline: the Python entry point to a run, which `pipeline.run` executes step by step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gogooku3.config import RunConfig, load_config
from gogooku3.pipeline.input_checks import check_inputs
from gogooku3.pipeline.resume import InterruptedRun
from gogooku3.pipeline.run import Run, start_run
from gogooku3.runs.folder import RunFolder, check_experiment_name
from gogooku3.settings import settings


class SafeTrainingPipeline:
    """Load, normalise, split, build graphs, fit every model of the plan, score and report.

    Args:
        experiment_name: folder of the run below `runs_dir`.
        data_path: data set file (`date, code, target_{h}d, features`).
        model_config: a YAML file or shipped name, a `RunConfig`, a mapping of groups, or None for
            the shipped `model/atft/train`.
        verbose: print what each step does.
        runs_dir: folder of all runs; None takes `settings.runs_dir`.

    Raises:
        ConfigError: a setting is unknown or contradicts another.

    Attributes:
        config: the configuration as resolved.
    """

    def __init__(
        self,
        experiment_name: str,
        data_path: Path | str,
        model_config: Path | str | RunConfig | Mapping[str, Any] | None = None,
        verbose: bool = False,
        *,
        runs_dir: Path | None = None,
    ) -> None:
        self.experiment_name = experiment_name
        self.data_path = Path(data_path)
        self.verbose = verbose
        self.runs_dir = runs_dir or settings.runs_dir
        if isinstance(model_config, RunConfig):
            self.config = model_config
        elif isinstance(model_config, Mapping):
            self.config = RunConfig.from_mapping(model_config)
        else:
            self.config = load_config(model_config or "model/atft/train", configs_dir=settings.configs_dir)

    def run_pipeline(
        self, n_splits: int = 5, embargo_days: int = 20, memory_limit_gb: float = 8.0
    ) -> dict[str, Any]:
        """Run all steps and write the run folder.

        Args:
            n_splits: walk-forward folds.
            embargo_days: trading days between training and test; the longest horizon or more.
            memory_limit_gb: memory that the run may take, GB; a panel that does not fit is
                stored in a memory-mapped file.

        Returns:
            `total_duration` (s), `best_sharpe` (the best fold's out-of-sample Sharpe of the network,
            net of costs), `pooled_sharpe` (all folds, net: the headline), `model_path` (weights of the
            last fold; of several networks, the last seed's), `peak_memory_gb`, `run_dir`, `report_path`,
            `predictions_path`, `scores`, `steps` and `dropped`.

        Raises:
            DataError: the data set violates the data contract, or is too short for the folds.
            ConfigError: the settings contradict one another or the data.
            Interrupted: SIGINT or SIGTERM came; finished work is kept, and `resume` continues.
        """
        check_experiment_name(self.experiment_name)
        config = _with_settings(self.config, self.data_path, n_splits, embargo_days, memory_limit_gb)
        return start_run(check_inputs(config), self.experiment_name, self.runs_dir, self.verbose)

    @classmethod
    def resume(cls, run_dir: Path | str, verbose: bool = False) -> dict[str, Any]:
        """Finish a run that was stopped or killed; on a CPU the result is bit-identical to an unbroken run.

        Complete fits are verified and read back, a network continues from its newest checkpoint. The panel
        and the graphs are computed again.

        Args:
            run_dir: folder of the run.
            verbose: print what each step does.

        Returns:
            as `run_pipeline`; durations cover this part only.

        Raises:
            DataError: not a run's folder, the run is complete or active, or its data set, settings or
                libraries have changed.
            Interrupted: as for `run_pipeline`.
        """
        folder = RunFolder.open(Path(run_dir))
        with folder.locked():
            interrupted = InterruptedRun.read(folder)
            experiment, runs_dir = folder.path.parent.name, folder.path.parents[1]
            inputs = check_inputs(interrupted.config)
            return Run(inputs, experiment, runs_dir, verbose, interrupted, folder).execute()


def _with_settings(
    config: RunConfig, data_path: Path, n_splits: int, embargo_days: int, memory_limit_gb: float
) -> RunConfig:
    """The configuration with the arguments of `run_pipeline`, checked as a whole."""
    plain = config.model_dump()
    plain["dataset"]["data_path"] = data_path
    plain["split"] |= {"n_splits": n_splits, "embargo_days": embargo_days}
    plain["performance"]["memory_limit_gb"] = float(memory_limit_gb)
    return RunConfig.from_mapping(plain)
