"""`gogooku3 train`: from a configuration to a scored run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gogooku3.cli.demo_market import DEMO_DATASET, ensure_demo_dataset
from gogooku3.cli.headline import print_headline
from gogooku3.cli.lean import load_training
from gogooku3.errors import ConfigError
from gogooku3.settings import settings

if TYPE_CHECKING:
    from gogooku3.config import RunConfig

DEFAULT = "model/atft/train"


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE", help="Settings, as in model.hidden_dim=64 split.embargo_days=30."
        ),
    ] = None,
    config: Annotated[
        str, typer.Option("--config", "-c", help="A YAML file, or a shipped name: model/atft/quickstart.")
    ] = DEFAULT,
    data: Annotated[
        Path | None, typer.Option(help="Data set to train on, instead of dataset.data_path.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over a fold's training days, at most.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows a step, packed from whole days. Halve it if memory runs out.")
    ] = None,
    memory_limit: Annotated[
        float | None, typer.Option(metavar="GB", help="Memory the run may take, in GB.")
    ] = None,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Recompute activations: less memory, more time.")
    ] = False,
    n_splits: Annotated[int | None, typer.Option(help="Walk-forward folds.")] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Name of the run's folder; the configuration's name by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of all runs, instead of ./runs.")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Take a run that was stopped or killed to its end; settings are its own."
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what each step does.")] = False,
) -> None:
    """Train LightGBM and ATFT-GAT-FAN walk-forward, score both on the same unseen days.

    Prints a table (model x horizon: IC, rank IC, Sharpe gross and net of costs, drawdown) and the path of the
    report. Options and KEY=VALUE change single settings of the configuration; options win.

    Example, in an empty folder: `gogooku3 train --config model/atft/quickstart --epochs 2`

    Example, on your own data set: `gogooku3 train --data data/mine.parquet model.hidden_dim=64`

    Ctrl-C stops at the next batch and says how to go on: `gogooku3 train --resume runs/train/20250101-090000`
    """
    from gogooku3.config import load_config

    flags: dict[str, Any] = {
        "dataset.data_path": data,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "performance.memory_limit_gb": memory_limit,
        "training.gradient_checkpointing": gradient_checkpointing or None,
        "split.n_splits": n_splits,
    }
    chosen = {path: value for path, value in flags.items() if value is not None}
    if resume is not None:
        if chosen or overrides or experiment or out or config != DEFAULT:
            raise ConfigError(
                "--resume takes the settings of the run as they were; drop the others, or start a new run"
            )
        _resume_and_report(resume, verbose)
        return
    loaded = load_config(config, overrides or (), values=chosen, configs_dir=settings.configs_dir)
    if data is None and loaded.dataset.data_path == DEMO_DATASET:
        ensure_demo_dataset(DEMO_DATASET, meanwhile=load_training)
    train_and_report(loaded, experiment or Path(config).stem, out, verbose)


def train_and_report(
    config: "RunConfig", experiment: str, out: Path | None = None, verbose: bool = False
) -> None:
    """Run the pipeline, then print its table and where its report lies."""
    from gogooku3.pipeline.input_checks import first_look

    first_look(config)
    load_training()
    from gogooku3.training import SafeTrainingPipeline

    pipeline = SafeTrainingPipeline(
        experiment_name=experiment,
        data_path=config.dataset.data_path,
        model_config=config,
        verbose=verbose,
        runs_dir=out,
    )
    results = pipeline.run_pipeline(
        n_splits=config.split.n_splits,
        embargo_days=config.split.embargo_days,
        memory_limit_gb=config.performance.memory_limit_gb,
    )
    _report(results)


def _resume_and_report(run: Path, verbose: bool) -> None:
    """Take a run to its end and report it; a complete one only says so."""
    from gogooku3.runs.manifest import read_manifest

    if read_manifest(run).get("status") == "complete":
        typer.echo(f"the run in {run} is complete; its report: {run / 'report.html'}")
        return
    load_training()
    from gogooku3.training import SafeTrainingPipeline

    _report(SafeTrainingPipeline.resume(run, verbose))


def _report(results: dict[str, Any]) -> None:
    print_headline(results["scores"])
    typer.echo(
        f"{results['total_duration']:.0f} s, peak memory {results['peak_memory_gb']:.1f} GB\n"
        f"run:    {results['run_dir']}\n"
        f"report: {results['report_path']}"
    )
