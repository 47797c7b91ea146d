"""`gogooku3 evaluate`: scores a prediction table, from a run or from anywhere else."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from gogooku3.cli.options import AsJson
from gogooku3.cli.output import print_headline, print_json, print_table, show
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.runs.folder import CONFIG, METRICS, PREDICTIONS, RETURNS
from gogooku3.runs.json_file import damaged, read_json

if TYPE_CHECKING:
    import polars as pl


def evaluate(
    predictions: Annotated[
        list[Path], Argument(metavar="FILE_OR_RUN", help="Prediction table (.parquet) or a run's folder.")
    ],
    cost_bps: Annotated[
        float | None, Option(help="One-way cost in basis points of turnover; the run's own, or 10.")
    ] = None,
    quantile: Annotated[
        float | None, Option(help="Share of stocks held long, and as many short; the run's own, or 0.2.")
    ] = None,
    entry: Annotated[
        str | None, Option(help="Trade at `close` or next `open` (needs --prices); the run's own, or close.")
    ] = None,
    borrow_rate: Annotated[
        float | None, Option(help="Yearly lending fee for short positions, 0.01 is 1 %; the run's own, or 0.")
    ] = None,
    prices: Annotated[
        Path | None, Option(help="Prices, for the open, capacity, size and sectors; the run's own, or none.")
    ] = None,
    delisting_return: Annotated[
        float | None, Option(help="Return of a stock that never trades again; the run's own, or 0.")
    ] = None,
    pbo: Annotated[bool, Option("--pbo", help="Probability of overfitting over all runs' models.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score predictions: IC, rank IC, Sharpe gross and net of costs, drawdown, by model and horizon.

    A prediction table has the columns date, code, fold, model, horizon, prediction, target. Models are
    compared on the rows that all of them predict. A run is scored with its own settings, and the result is
    compared with its metrics.json.

    With --pbo: the probability of backtest overfitting across the models of all runs given.

    Example: `gogooku3 evaluate runs/quickstart/20250101-090000 --cost-bps 5`

    Example: `gogooku3 evaluate runs/quickstart/* --pbo`
    """
    rules = {
        "cost_bps": cost_bps,
        "quantile": quantile,
        "entry": entry,
        "borrow_rate": borrow_rate,
        "prices": prices,
        "delisting_return": delisting_return,
    }
    changes = {name: value for name, value in rules.items() if value is not None}
    files = [_predictions_file(path) for path in predictions]
    if pbo:
        _print_overfitting(files, changes, as_json)
    elif len(files) > 1:
        raise ConfigError(
            f"{len(files)} prediction tables are named, but they are scored one at a time; name one, or add "
            "--pbo for the probability of backtest overfitting"
        )
    else:
        _print_scores(files[0], changes, as_json)


def _print_scores(file: Path, changes: dict[str, Any], as_json: bool) -> None:
    from gogooku3.evaluation.scores import score_predictions

    scores = score_predictions(_read(file), **_scoring(file, changes), earlier_sharpes=_earlier_sharpes(file))
    if as_json:
        print_json(scores)
        return
    print_headline(scores)
    if not changes and file.with_name(METRICS).is_file():
        show(_compare(scores, file.with_name(METRICS)))


def _compare(scores: dict[str, Any], recorded: Path) -> str:
    """Compare scores with those the run recorded, and name the first that differs."""
    there = dict(_leaves(_read_metrics(recorded)))
    here = dict(_leaves(scores))
    for name in [*here, *there]:
        # As text, so that tuples equal lists and NaN equals itself.
        if json.dumps(here.get(name)) != json.dumps(there.get(name)):
            return f"not the scores in {recorded}: {name} is {here.get(name)} here, {there.get(name)} there"
    return f"the same scores as in {recorded}"


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every number or text of nested mappings and lists, with its path such as `models.mine.decay[0].lag`."""
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _leaves(entry, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for position, entry in enumerate(value):
            yield from _leaves(entry, f"{path}[{position}]")
    else:
        yield path, value


def _print_overfitting(files: list[Path], changes: dict[str, Any], as_json: bool) -> None:
    """Print the probability of overfitting over every model of every table."""
    from gogooku3.evaluation.overfitting import configurations, probability_of_overfitting
    from gogooku3.evaluation.portfolio import portfolio_returns
    from gogooku3.evaluation.prediction_table import check_predictions
    from gogooku3.evaluation.scores import headline_of
    from gogooku3.reporting.tables import days

    returns = {}
    horizons = set()
    for file in files:
        table = check_predictions(_read(file))
        horizons.add(headline_of(table))
        name = str(file.parent if file.name == PREDICTIONS else file)
        returns[name] = portfolio_returns(table, **_scoring(file, changes))
    if len(horizons) > 1:
        raise DataError(
            f"the tables have the headline horizons {choices(sorted(horizons))}; compare equal ones"
        )
    horizon = horizons.pop()
    names, daily = configurations(returns, horizon)
    result = probability_of_overfitting(daily)
    if as_json:
        print_json({**asdict(result), "horizon": horizon, "configurations": names})
        return
    rows = [
        ["Probability of overfitting", f"{result.probability:.0%}"],
        ["Probability of loss on the other days", f"{result.loss:.0%}"],
        ["Sharpe ratio on the selection days", f"{result.chosen:+.2f}"],
        ["Sharpe ratio on the other days", f"{result.outside:+.2f}"],
    ]
    print_table("", ["Selection of the best by net Sharpe ratio", "Result"], rows)
    show(
        f"{result.n_configurations} configurations, {days(horizon)} ahead, {result.n_days} days, "
        f"{result.n_splits:,} splits into halves:"
    )
    for name in names:
        show(name)


def _read(file: Path) -> "pl.DataFrame":
    from gogooku3.files.tables import read_table
    from gogooku3.runs.seal import verify_files

    if file.suffix.lower() != ".parquet":
        raise DataError(f"{file}: expected a prediction table in Parquet (.parquet); convert it first")
    if file.name == PREDICTIONS:
        verify_files(file.parent, PREDICTIONS, RETURNS, CONFIG, METRICS)
    return read_table(file)


def _predictions_file(path: Path) -> Path:
    """Resolve a file or a run's folder to a prediction table."""
    file = path / PREDICTIONS if path.is_dir() else path
    if file.is_file():
        return file
    if path.is_dir():
        raise DataError(
            f"the folder {path} has no {PREDICTIONS}, so it is not a complete run; it has "
            f"{choices(sorted(entry.name for entry in path.iterdir()))}; name the folder of a complete run, "
            "`gogooku3 runs` lists them"
        )
    raise DataError(f"no predictions at {path}; name a {PREDICTIONS} or the folder of a run")


def _scoring(file: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Arguments for scoring: the run's settings or the defaults, with the options' changes."""
    from gogooku3.config import EvaluationConfig, RunConfig, load_config
    from gogooku3.pipeline.scoring_settings import read_returns, scoring_arguments

    config = file.with_name(CONFIG)
    own = load_config(config).evaluation if config.is_file() else EvaluationConfig()
    evaluation = RunConfig.from_mapping({"evaluation": own.model_dump() | changes}).evaluation
    returns = read_returns(file.parent) if config.is_file() else None
    return {**scoring_arguments(evaluation), "daily_returns": returns}


def _earlier_sharpes(file: Path) -> list[float]:
    """Sharpe ratios of earlier trials, as recorded by the run; empty for any other table."""
    metrics = file.with_name(METRICS)
    sharpes = (_read_metrics(metrics).get("trials") or {}).get("earlier_sharpes") or []
    if not isinstance(sharpes, list) or not all(isinstance(sharpe, int | float) for sharpe in sharpes):
        raise DataError(f"{metrics}: its trials.earlier_sharpes are not numbers; copy the run again")
    return sharpes


def _read_metrics(path: Path) -> dict[str, Any]:
    """The recorded scores; empty if there are none, a DataError if they are damaged."""
    content, problem = read_json(path, {"trials": dict})
    if problem:
        raise damaged(path, problem, f"copy the run again, or score a copy of its {PREDICTIONS}")
    return content or {}
