"""`gogooku3 evaluate`: the scores of a prediction table, ours or anyone's."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gogooku3.cli.headline import print_headline
from gogooku3.errors import DataError, choices

if TYPE_CHECKING:
    from gogooku3.config import EvaluationConfig

PREDICTIONS, CONFIG = "predictions.parquet", "config.yaml"


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(metavar="FILE_OR_RUN", help="A prediction table (.parquet) or a run's folder.")
    ],
    cost_bps: Annotated[
        float | None,
        typer.Option(help="Cost of trading, basis points of turnover, one way; the run's own, or 10."),
    ] = None,
    quantile: Annotated[
        float | None,
        typer.Option(help="Share of stocks held long, and as many short; the run's own, or 0.2."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every score as JSON.")] = False,
) -> None:
    """Score predictions: IC, rank IC, Sharpe gross and net of costs, drawdown, by model and horizon.

    A prediction table has the columns date, code, fold, model, horizon, prediction, target; models are
    compared on the rows that all of them predict. A run's file gives the numbers of the run.

    Example: `gogooku3 evaluate runs/quickstart/20250101-090000 --cost-bps 5`
    """
    import polars as pl

    from gogooku3.evaluation.scores import score_predictions

    file = _predictions_file(predictions)
    try:
        table = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{file} can't be read as Parquet ({error}); write it again") from error
    run = _evaluation_config(file)
    scores = score_predictions(
        table,
        cost_bps=run.cost_bps if cost_bps is None else cost_bps,
        quantile=run.quantile if quantile is None else quantile,
    )
    if as_json:
        typer.echo(json.dumps(scores, indent=2))
    else:
        print_headline(scores)


def _predictions_file(path: Path) -> Path:
    """Find the table that a file's or a run folder's path stands for."""
    file = path / PREDICTIONS if path.is_dir() else path
    if file.is_file():
        return file
    if path.is_dir():
        raise DataError(
            f"the folder {path} has no {PREDICTIONS}, so no run has ended there; it has "
            f"{choices(sorted(entry.name for entry in path.iterdir()))}"
        )
    raise DataError(f"no predictions at {path}; name a {PREDICTIONS} or the folder of a run")


def _evaluation_config(file: Path) -> "EvaluationConfig":
    """Take cost and quantile from the run's configuration beside the table, else the defaults."""
    from gogooku3.config import EvaluationConfig, load_config

    config = file.with_name(CONFIG)
    return load_config(config).evaluation if config.is_file() else EvaluationConfig()
