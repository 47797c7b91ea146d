"""`gogooku3 evaluate`: the scores of a prediction table, ours or anyone's."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gogooku3.cli.headline import print_headline
from gogooku3.cli.output import print_table
from gogooku3.errors import ConfigError, DataError, choices

if TYPE_CHECKING:
    import polars as pl

    from gogooku3.config import EvaluationConfig

PREDICTIONS, CONFIG, METRICS = "predictions.parquet", "config.yaml", "metrics.json"


def evaluate(
    predictions: Annotated[
        list[Path],
        typer.Argument(metavar="FILE_OR_RUN", help="A prediction table (.parquet) or a run's folder."),
    ],
    cost_bps: Annotated[
        float | None,
        typer.Option(help="Cost of trading, basis points of turnover, one way; the run's own, or 10."),
    ] = None,
    quantile: Annotated[
        float | None,
        typer.Option(help="Share of stocks held long, and as many short; the run's own, or 0.2."),
    ] = None,
    entry: Annotated[
        str | None,
        typer.Option(help="`close` of the day, or next `open` (needs --prices); the run's own, or close."),
    ] = None,
    borrow_rate: Annotated[
        float | None,
        typer.Option(help="Lending fee a year for what is held short, 0.01 is 1 %; the run's own, or 0."),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(help="Prices, for the open, capacity, size and sectors; the run's own, or none."),
    ] = None,
    pbo: Annotated[
        bool,
        typer.Option("--pbo", help="How likely the best of all models of all runs was chosen by luck."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every score as JSON.")] = False,
) -> None:
    """Score predictions: IC, rank IC, Sharpe gross and net of costs, drawdown, by model and horizon.

    A prediction table has the columns date, code, fold, model, horizon, prediction, target; models are
    compared on the rows that all of them predict. A run's file gives the numbers of the run, and whether
    they equal its metrics.json is said.

    With --pbo: the probability of backtest overfitting across the models of all runs named.

    Example: `gogooku3 evaluate runs/quickstart/20250101-090000 --cost-bps 5`

    Example: `gogooku3 evaluate runs/quickstart/* --pbo`
    """
    given = {
        "cost_bps": cost_bps,
        "quantile": quantile,
        "entry": entry,
        "borrow_rate": borrow_rate,
        "prices": prices,
    }
    wanted = {name: value for name, value in given.items() if value is not None}
    files = [_predictions_file(path) for path in predictions]
    if pbo:
        _overfitting(files, wanted, as_json)
    elif len(files) > 1:
        raise ConfigError(
            f"{len(files)} prediction tables were named, but they are scored one at a time; name one, or ask "
            "with --pbo how likely the best of them was chosen by luck"
        )
    else:
        _scores(files[0], wanted, as_json)


def _scores(file: Path, wanted: dict[str, Any], as_json: bool) -> None:
    from gogooku3.evaluation.scores import score_series
    from gogooku3.pipeline.scoring_settings import configured_series

    table = _read(file)
    series = configured_series(table, _evaluation_config(file, wanted))
    scores = score_series(series, earlier_sharpes=_earlier_sharpes(file))
    if as_json:
        typer.echo(json.dumps(scores, indent=2))
    else:
        print_headline(scores)
        if not wanted and file.with_name(METRICS).is_file():
            typer.echo(_compared(scores, file.with_name(METRICS)))


def _compared(scores: dict[str, Any], recorded: Path) -> str:
    """Whether scores are those that the run wrote down, and where they first differ."""
    try:
        written = json.loads(recorded.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{recorded} is not JSON ({error}); the table above is right") from None
    # As JSON has it: keys are text, tuples are lists. NaN is equal to itself here.
    place = _first_difference(json.loads(json.dumps(scores)), written)
    if place is None:
        return f"the same scores as in {recorded}"
    return f"not the scores in {recorded}: {place[0]} is {place[1]} here, {place[2]} there"


def _first_difference(here: Any, there: Any, path: str = "") -> tuple[str, Any, Any] | None:
    if isinstance(here, dict) and isinstance(there, dict):
        for name in [*here, *(name for name in there if name not in here)]:
            found = _first_difference(here.get(name), there.get(name), f"{path}.{name}".lstrip("."))
            if found:
                return found
        return None
    if isinstance(here, list) and isinstance(there, list) and len(here) == len(there):
        pairs = enumerate(zip(here, there, strict=True))
        return next(
            (found for i, (a, b) in pairs if (found := _first_difference(a, b, f"{path}[{i}]"))), None
        )
    return None if json.dumps(here) == json.dumps(there) else (path, here, there)


def _overfitting(files: list[Path], wanted: dict[str, Any], as_json: bool) -> None:
    """Print the probability of overfitting over every model of every table."""
    from gogooku3.evaluation.overfitting import configurations, probability_of_overfitting
    from gogooku3.evaluation.portfolio import portfolio_returns
    from gogooku3.evaluation.prediction_table import check_predictions
    from gogooku3.evaluation.scores import headline_of
    from gogooku3.pipeline.scoring_settings import scoring_arguments
    from gogooku3.reporting.tables import days

    books = {}
    horizons = set()
    for file in files:
        table = check_predictions(_read(file))
        horizons.add(headline_of(table))
        name = str(file.parent if file.name == PREDICTIONS else file)
        books[name] = portfolio_returns(table, **scoring_arguments(_evaluation_config(file, wanted)))
    if len(horizons) > 1:
        raise DataError(
            f"the tables have the headline horizons {choices(sorted(horizons))}; compare equal ones"
        )
    horizon = horizons.pop()
    names, returns = configurations(books, horizon)
    found = probability_of_overfitting(returns)
    if as_json:
        typer.echo(json.dumps({**asdict(found), "horizon": horizon, "configurations": names}, indent=2))
        return
    rows = [
        ["Probability of overfitting", f"{found.probability:.0%}"],
        ["Best one loses money on the other days", f"{found.loss:.0%}"],
        ["Its Sharpe on the days that chose it", f"{found.chosen:+.2f}"],
        ["Its Sharpe on the other days", f"{found.outside:+.2f}"],
    ]
    print_table("", ["Choosing the best by its net Sharpe", "Result"], rows)
    typer.echo(
        f"{found.n_configurations} configurations, {days(horizon)} ahead, on {found.n_days} days halved in "
        f"{found.n_splits:,} ways:"
    )
    for name in names:
        typer.echo(name)


def _read(file: Path) -> "pl.DataFrame":
    from gogooku3.files.tables import read_table

    if file.suffix.lower() != ".parquet":
        raise DataError(f"{file}: expected a prediction table in Parquet (.parquet); convert it first")
    return read_table(file)


def _predictions_file(path: Path) -> Path:
    """Find the table that a file's or a run folder's path stands for."""
    file = path / PREDICTIONS if path.is_dir() else path
    if file.is_file():
        return file
    if path.is_dir():
        raise DataError(
            f"the folder {path} has no {PREDICTIONS}, so no run has ended there; it has "
            f"{choices(sorted(entry.name for entry in path.iterdir()))}; name the folder of a complete run, "
            "`gogooku3 runs` lists them"
        )
    raise DataError(f"no predictions at {path}; name a {PREDICTIONS} or the folder of a run")


def _evaluation_config(file: Path, wanted: dict[str, Any]) -> "EvaluationConfig":
    """The settings of the run beside the table, else the defaults, with what the options change."""
    from gogooku3.config import EvaluationConfig, RunConfig, load_config

    own = (
        load_config(config).evaluation if (config := file.with_name(CONFIG)).is_file() else EvaluationConfig()
    )
    return RunConfig.from_mapping({"evaluation": own.model_dump() | wanted}).evaluation


def _earlier_sharpes(file: Path) -> list[float]:
    """What had been tried when the run beside the table was scored; nothing for any other table."""
    try:
        scores = json.loads(file.with_name(METRICS).read_text(encoding="utf-8"))
        return list(scores["trials"]["earlier_sharpes"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
