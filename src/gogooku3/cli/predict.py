"""`gogooku3 predict`: what a trained run says of a day's stocks."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gogooku3.cli.lean import load_prediction, never_garbage, quick_turns
from gogooku3.cli.output import print_table, say
from gogooku3.errors import ConfigError
from gogooku3.files.atomic import atomic_path, check_output
from gogooku3.system import freed_memory_kept, one_heap

if TYPE_CHECKING:
    import polars as pl

    from gogooku3.inference.prepare_days import DayInputs
    from gogooku3.inference.saved_fold import SavedFold

LISTED = 8
"""Drifted inputs that are named."""
_SIDES = {"low": "at least", "high": "at most"}


def predict(
    run: Annotated[Path, typer.Option(metavar="DIR", help="Folder of a run that `gogooku3 train` wrote.")],
    data: Annotated[Path, typer.Option(metavar="FILE", help="Data set; it may lack targets.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the ranking goes: .csv or .parquet.")],
    date: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Day to rank; the newest of the data by default.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(help="Fold whose models predict; the newest by default.")
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(help="Trading days ahead by which rows are sorted and explained; 5 by default."),
    ] = None,
    top: Annotated[
        int, typer.Option(min=0, metavar="N", help="Stocks shown and explained at each end of the ranking.")
    ] = 10,
    explain_all: Annotated[
        bool, typer.Option("--explain-all", help="Give reasons for every stock; takes several times as long.")
    ] = False,
) -> None:
    """Rank a day's stocks with a trained run, and say why.

    Writes a row a stock: rank and score by horizon, the network's and LightGBM's own, how far they disagree,
    and the features that set a stock apart. Prints both ends of the ranking, and which inputs no longer look
    like those of training. A data set with other features than the run's is refused.

    Example: `gogooku3 predict --run runs/train/20250101-090000 --data data/mine.parquet --out tomorrow.csv`
    """
    _check_out(out, run, data)
    day = _day(date)
    one_heap()
    with ThreadPoolExecutor(1) as beside, freed_memory_kept():
        saved, inputs = _read(run, fold, data, day)

        import numpy as np

        from gogooku3.inference.predict import predict_days
        from gogooku3.inference.ranking import day_ranking, ranking_horizon, with_reasons

        leading = ranking_horizon(saved.horizons, horizon)
        table = day_ranking(predict_days(saved, inputs), saved.horizons, leading)
        ends = np.arange(table.height)
        if not explain_all:
            ends = np.unique(np.concatenate([ends[:top], ends[max(0, len(ends) - top) :]]))
        drifted = beside.submit(_drift, saved, inputs)
        if len(ends):
            table = with_reasons(table, saved, inputs, leading, ends)
        _write(table, out)
        _print_ends(table, leading, top)
    _warn_of_age(saved, table["date"][0])
    _warn_of_drift(drifted.result(), len(inputs.panel.features))
    typer.echo(f"{table.height:,} stocks, fold {saved.number}: {out}")


def _check_out(out: Path, run: Path, data: Path) -> None:
    """Refuse what can't be written, or would be written over what is read."""
    if out.suffix.lower() not in (".csv", ".parquet"):
        raise ConfigError(f"--out is {out}; expected a name that ends in .csv or .parquet")
    check_output(out, out.suffix)
    place = out.resolve()
    if place == data.resolve():
        raise ConfigError(f"--out is {out}, the data set itself; write the ranking elsewhere")
    if run.resolve() in place.parents and place.is_file() and place.suffix == ".parquet":
        raise ConfigError(f"--out is {out}, a file of the run; write the ranking elsewhere")


def _read(run: Path, fold: int | None, data: Path, day: dt.date | None) -> "tuple[SavedFold, DayInputs]":
    """A fold, and a day's inputs, which are read while the libraries that predict are loaded."""
    with never_garbage():
        from gogooku3.inference.prepare_days import prepare_days, read_days
        from gogooku3.inference.saved_fold import SavedFold
    saved = SavedFold.open(run, fold)
    with quick_turns(), ThreadPoolExecutor(1) as beside:
        reading = beside.submit(read_days, saved, data, day, day)
        load_prediction()
        preparing = beside.submit(prepare_days, saved, reading.result())
        return saved.load_models(), preparing.result()


def _day(text: str | None) -> dt.date | None:
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--date is {text!r}; write a day as 2024-01-31") from None


def _write(table: "pl.DataFrame", out: Path) -> None:
    with atomic_path(out) as temporary:
        if out.suffix.lower() == ".csv":
            table.write_csv(temporary)
        else:
            table.write_parquet(temporary, compression="zstd")


def _print_ends(table: "pl.DataFrame", horizon: int, top: int) -> None:
    """Print the stocks at both ends of the ranking."""
    columns = {
        "Rank": (f"rank_{horizon}d", "d"),
        "Score": (f"score_{horizon}d", "+.2f"),
        "Network": (f"network_rank_{horizon}d", "d"),
        "LightGBM": (f"lightgbm_rank_{horizon}d", "d"),
        "Disagree ment": (f"disagreement_{horizon}d", ".0%"),
    }
    shown = table if table.height <= 2 * top else table[:top].vstack(table[-top:])
    rows = [
        [
            row["code"],
            row.get(f"reasons_{horizon}d") or "",
            *("-" if row[name] is None else format(row[name], form) for name, form in columns.values()),
        ]
        for row in shown.iter_rows(named=True)
    ]
    if 0 < 2 * top < table.height:
        rows.insert(top, ["..."] + [""] * (len(columns) + 1))
    if rows:
        title = f"{table['date'][0]}, {horizon} trading days ahead; ranks among {table.height:,} stocks"
        print_table(title, ["Code", "Why", *columns], rows, text=2, wrapped={"Why"})


def _warn_of_age(saved: "SavedFold", day: dt.date) -> None:
    """Say when a day is no test of the fold, or long after it."""
    if day <= saved.known_until:
        say(
            f"warning: fold {saved.number} was trained and chosen on days up to {saved.known_until}, so its "
            f"prediction of {day} is not out of sample; an earlier fold may be (--fold)"
        )
    elif (months := (day - saved.known_until).days // 30) >= 12:
        say(f"warning: the fold's training ended {months} months before {day}; markets move on, train anew")


def _drift(saved: "SavedFold", inputs: "DayInputs") -> "pl.DataFrame | None":
    """The inputs that no longer look like those of training; None where the run did not say how those did."""
    from gogooku3.inference.drift import drift

    if saved.feature_statistics is None:
        return None
    return drift(saved.feature_statistics, inputs.panel, inputs.statistics, inputs.days[-1])


def _warn_of_drift(found: "pl.DataFrame | None", n_features: int) -> None:
    """Name the inputs that no longer look like those of training."""
    if found is None:
        say("the run did not write what its inputs looked like, so that drift can't be told; train anew")
        return
    if found.is_empty():
        return
    features = found["feature"].n_unique()
    say(f"warning: {features} of {n_features} inputs do not look like those of training:")
    for row in found.head(LISTED).iter_rows(named=True):
        bounds = [f"{side} {row[key]:.4g}" for key, side in _SIDES.items() if row[key] is not None]
        what = row["what"].replace("_", " ")
        say(f"  {row['feature']}: {what} {row['value']:.4g}, expected {', '.join(bounds)}")
    if found.height > LISTED:
        say(f"  and {found.height - LISTED} more differences; an input may have several")
