"""`gogooku3 train`: from a configuration to a scored run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from gogooku3.cli.demo_market import DEMO_DATASET, ensure_demo_dataset
from gogooku3.cli.options import RunsFolder, Verbose
from gogooku3.cli.output import print_headline, show
from gogooku3.errors import ConfigError
from gogooku3.settings import settings

if TYPE_CHECKING:
    from gogooku3.config import RunConfig

DEFAULT = "model/atft/train"


def train(
    overrides: Annotated[
        list[str] | None, Argument(metavar="KEY=VALUE", help="Settings to change, as model.hidden_dim=64.")
    ] = None,
    config: Annotated[
        str, Option("--config", "-c", help="YAML file, or a shipped name: model/atft/quickstart.")
    ] = DEFAULT,
    data: Annotated[Path | None, Option(help="Data set to train on (dataset.data_path).")] = None,
    epochs: Annotated[int | None, Option(help="Maximum passes over a fold's training days.")] = None,
    batch_size: Annotated[int | None, Option(help="Rows per training step; less saves memory.")] = None,
    memory_limit: Annotated[float | None, Option(metavar="GB", help="Memory the run may use, in GB.")] = None,
    gradient_checkpointing: Annotated[
        bool, Option("--gradient-checkpointing", help="Recompute activations: less memory, more time.")
    ] = False,
    n_splits: Annotated[int | None, Option(help="Walk-forward folds.")] = None,
    experiment: Annotated[str | None, Option(help="Experiment name; the configuration's by default.")] = None,
    out: RunsFolder = None,
    resume: Annotated[Path | None, Option(metavar="RUN", help="Finish a stopped run, same settings.")] = None,
    verbose: Verbose = False,
) -> None:
    """Train LightGBM, a linear model and ATFT-GAT-FAN walk-forward; score all on the same test days.

    Prints one row per model and horizon (IC, rank IC, Sharpe gross and net of costs, drawdown) and the path
    of the report. Options and KEY=VALUE change single settings of the configuration; options win.

    Example, in an empty folder: `gogooku3 train --config model/atft/quickstart --epochs 2`

    Example, on your own data set: `gogooku3 train --data data/mine.parquet model.hidden_dim=64`

    Ctrl-C stops at the next batch; continue with `gogooku3 train --resume runs/train/20250101-090000`
    """
    from gogooku3.config import load_config

    options: dict[str, Any] = {
        "dataset.data_path": data,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "performance.memory_limit_gb": memory_limit,
        "training.gradient_checkpointing": gradient_checkpointing or None,
        "split.n_splits": n_splits,
    }
    values = {path: value for path, value in options.items() if value is not None}
    if resume is not None:
        if values or overrides or experiment or out or config != DEFAULT:
            raise ConfigError(
                "--resume uses the run's own settings; drop the other options, or start a new run"
            )
        from gogooku3.runs.manifest import read_manifest

        if read_manifest(resume).get("status") == "complete":
            show(f"the run in {resume} is complete; its report: {resume / 'report.html'}")
            return
        from gogooku3.training import SafeTrainingPipeline

        _report(SafeTrainingPipeline.resume(resume, verbose))
        return
    loaded = load_config(config, overrides or (), values=values, configs_dir=settings.configs_dir)
    if data is None and loaded.dataset.data_path == DEMO_DATASET:
        ensure_demo_dataset(DEMO_DATASET)
    train_and_report(loaded, experiment or Path(config).stem, out, verbose)


def train_and_report(
    config: "RunConfig", experiment: str, out: Path | None = None, verbose: bool = False
) -> None:
    """Run the pipeline and print its scores and the path of its report."""
    from gogooku3.pipeline.input_checks import check_inputs

    # Before the training libraries are imported, so that unusable data is refused at once.
    inputs = check_inputs(config)
    from gogooku3.pipeline.run import start_run

    _report(start_run(inputs, experiment, out or settings.runs_dir, verbose))


def _report(results: dict[str, Any]) -> None:
    print_headline(results["scores"])
    show(
        f"{results['total_duration']:.0f} s, peak memory {results['peak_memory_gb']:.1f} GB\n"
        f"run:    {results['run_dir']}\n"
        f"report: {results['report_path']}"
    )
