"""`gogooku3 predict`: ranks a day's stocks with a trained run."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from gogooku3.cli.options import RunFolder, parse_day
from gogooku3.cli.output import print_table, say, show
from gogooku3.errors import ConfigError, choices
from gogooku3.files.atomic import atomic_path, check_output

if TYPE_CHECKING:
    import polars as pl

    from gogooku3.inference.prepare_days import DayInputs
    from gogooku3.inference.saved_fold import SavedFold

_RECENT_DAYS, _THIN = 20, 0.8
"""Days before a day that give its usual number of stocks, and the share of it that draws a warning."""
MOST_DRIFTED = 8
"""Differences from training that are printed."""
_BOUNDS = {"low": "at least", "high": "at most"}


def predict(
    run: RunFolder,
    data: Annotated[Path, Option(metavar="FILE", help="Data set; targets may be missing.")],
    out: Annotated[Path, Option(metavar="FILE", help="Ranking to write: .csv or .parquet.")],
    date: Annotated[str | None, Option(metavar="YYYY-MM-DD", help="Day to rank; default: newest.")] = None,
    fold: Annotated[int | None, Option(help="Fold whose models predict; the newest by default.")] = None,
    horizon: Annotated[
        int | None, Option(help="Sort and explain the ranking this many trading days ahead; 5 by default.")
    ] = None,
    top: Annotated[int, Option(min=0, metavar="N", help="Stocks to print and explain at each end.")] = 10,
    explain_all: Annotated[bool, Option("--explain-all", help="Explain every stock; much slower.")] = False,
) -> None:
    """Rank the stocks of one day with a trained run, and explain the ranking.

    Writes one row per stock: rank and score by horizon, the network's and LightGBM's own scores, their
    disagreement, and the features that set the stock apart. Prints both ends of the ranking and the inputs
    whose distribution has drifted since training. The data set must have the run's features.

    Example: `gogooku3 predict --run runs/train/20250101-090000 --data data/mine.parquet --out tomorrow.csv`
    """
    _check_out(out, run, data)
    day = parse_day("--date", date) if date is not None else None

    from gogooku3.files.tables import write_csv
    from gogooku3.inference.prepare_days import prepare_days, read_days
    from gogooku3.inference.saved_fold import SavedFold

    saved = SavedFold.open(run, fold)
    inputs = prepare_days(saved, read_days(saved, data, day, day))
    leading, table = _rank(saved, inputs, horizon, None if explain_all else top)
    with atomic_path(out) as temporary:
        if out.suffix.lower() == ".csv":
            write_csv(table, temporary)
        else:
            table.write_parquet(temporary, compression="zstd")
    _print_ends(table, leading, top)
    _warn_of_a_thin_day(inputs)
    _warn_of_age(saved, table["date"][0])
    _warn_of_drift(saved, inputs)
    show(f"{table.height:,} stocks, fold {saved.number}: {out}")


def _check_out(out: Path, run: Path, data: Path) -> None:
    """Refuse a file that can't be written or that would replace an input."""
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"--out is {out}; expected a name that ends in .csv or .parquet")
    check_output(out, out.suffix)
    target = out.resolve()
    if target == data.resolve():
        raise ConfigError(f"--out is {out}, the data set itself; write the ranking elsewhere")
    if run.resolve() in target.parents and target.is_file() and target.suffix == ".parquet":
        raise ConfigError(f"--out is {out}, a file of the run; write the ranking elsewhere")


def _rank(
    saved: "SavedFold", inputs: "DayInputs", horizon: int | None, top: int | None
) -> "tuple[int, pl.DataFrame]":
    """The horizon that sorts, and the ranking with reasons for `top` stocks at each end (None: all)."""
    import numpy as np

    from gogooku3.inference.predict import constant_forecasts, predict_days
    from gogooku3.inference.ranking import day_ranking, ranking_horizon, with_reasons

    leading = ranking_horizon(saved.horizons, horizon)
    predictions = predict_days(saved, inputs)
    if constant := constant_forecasts(predictions):
        say(f"warning: one forecast for all stocks, which ranks nothing: {choices(constant)}; train again")
    table = day_ranking(predictions, saved.horizons, leading)
    rows = np.arange(table.height)
    explained = rows if top is None else rows[(rows < top) | (rows >= len(rows) - top)]
    return leading, with_reasons(table, saved, inputs, leading, explained) if len(explained) else table


def _print_ends(table: "pl.DataFrame", horizon: int, top: int) -> None:
    """Print the `top` stocks at each end of the ranking."""
    columns = {
        "Rank": (f"rank_{horizon}d", "d"),
        "Score": (f"score_{horizon}d", "+.2f"),
        "Network": (f"network_rank_{horizon}d", "d"),
        "LightGBM": (f"lightgbm_rank_{horizon}d", "d"),
        "Disagree ment": (f"disagreement_{horizon}d", ".0%"),
    }
    ends = table if table.height <= 2 * top else table[:top].vstack(table[-top:])
    rows = [
        [
            row["code"],
            row.get(f"reasons_{horizon}d") or "",
            *("-" if row[name] is None else format(row[name], form) for name, form in columns.values()),
        ]
        for row in ends.iter_rows(named=True)
    ]
    if 0 < 2 * top < table.height:
        rows.insert(top, ["..."] + [""] * (len(columns) + 1))
    if rows:
        title = f"{table['date'][0]}, {horizon} trading days ahead; ranks among {table.height:,} stocks"
        print_table(title, ["Code", "Why", *columns], rows, text=2, wrapped={"Why"})


def _warn_of_a_thin_day(inputs: "DayInputs") -> None:
    """Warn if the day has far fewer stocks than the days before: the data may not be complete."""
    stocks = inputs.panel.mask.sum(axis=1)
    today, before = int(stocks[inputs.days[-1]]), stocks[: inputs.days[-1]][-_RECENT_DAYS:]
    if len(before) and today < _THIN * (usual := float(sorted(before)[len(before) // 2])):
        say(
            f"warning: {inputs.panel.dates[inputs.days[-1]]} has {today:,} stocks, the days before have "
            f"{usual:,.0f}; is the data complete?"
        )


def _warn_of_age(saved: "SavedFold", day: dt.date) -> None:
    """Warn if the fold was trained on the day, or a year or more before it."""
    if day <= saved.known_until:
        say(
            f"warning: fold {saved.number} was trained and chosen on days up to {saved.known_until}, so its "
            f"prediction of {day} is not out of sample; try an earlier fold (--fold)"
        )
    elif (months := (day - saved.known_until).days // 30) >= 12:
        say(f"warning: the fold's training ended {months} months before {day}; train again on newer data")


def _warn_of_drift(saved: "SavedFold", inputs: "DayInputs") -> None:
    """Name the inputs whose distribution differs from that of training."""
    from gogooku3.inference.drift import drift

    if saved.feature_statistics is None:
        say("the run has no statistics of its inputs, so drift can't be checked; train again")
        return
    drifted = drift(saved.feature_statistics, inputs.panel, inputs.statistics, inputs.days[-1])
    if drifted.is_empty():
        return
    count, total = drifted["feature"].n_unique(), len(inputs.panel.features)
    say(f"warning: {count} of {total} inputs do not look like those of training:")
    for row in drifted.head(MOST_DRIFTED).iter_rows(named=True):
        bounds = [f"{bound} {row[key]:.4g}" for key, bound in _BOUNDS.items() if row[key] is not None]
        what = row["what"].replace("_", " ")
        say(f"  {row['feature']}: {what} {row['value']:.4g}, expected {', '.join(bounds)}")
    if drifted.height > MOST_DRIFTED:
        say(f"  and {drifted.height - MOST_DRIFTED} more differences; an input may have several")
