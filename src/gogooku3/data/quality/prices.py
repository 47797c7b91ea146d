"""One row's prices, and runs of equal ones: impossible, contradictory, or standing still."""

from collections.abc import Iterator, Sequence

import polars as pl

from gogooku3.config.quality import PriceRules
from gogooku3.data.prices import PRICES, contradictions
from gogooku3.data.quality.problem import EXAMPLES, Problem, at_rows, problem
from gogooku3.schema import CODE, DATE


def impossible_values(frame: pl.DataFrame, names: Sequence[str]) -> Iterator[Problem]:
    """Prices and volumes that reading makes unknown."""
    for name in names:
        bad = frame[name].is_infinite() | frame[name].is_nan()
        if name == "volume":
            bad |= frame[name] < 0
            yield from at_rows("bad_volume", frame, bad, name, "read as unknown")
            yield from at_rows("no_volume", frame, frame[name] == 0, name, "fine for days without trade")
        else:
            advice = "read as not traded" if name == "close" else "read as unknown"
            yield from at_rows("bad_price", frame, bad | (frame[name] <= 0), name, advice)


def possible_only(names: Sequence[str]) -> list[pl.Expr]:
    """The columns with impossible prices as null."""
    return [pl.when((pl.col(n) > 0) & pl.col(n).is_finite()).then(pl.col(n)) for n in names if n != "volume"]


def contradictory_rows(frame: pl.DataFrame) -> Iterator[Problem]:
    """Rows whose open, high, low and close can't all be right. Expects possible prices."""
    for reason, (broken, columns) in contradictions().items():
        mask = frame.select(broken.alias("broken")).to_series()
        advice = f"{' and '.join(columns)} read as unknown there"
        yield from at_rows("ohlc", frame, mask, columns[0], advice, reason)


def wicks(traded: pl.DataFrame, rules: PriceRules) -> Iterator[Problem]:
    """Highs and lows far from the day's open and close and from the close before: ticks that were no trades.

    Args:
        traded: rows with a close and possible prices, sorted by (code, date).
    """
    before = pl.when(pl.col(CODE) == pl.col(CODE).shift(1)).then(pl.col("close").shift(1))
    others = ("open", "close", before)
    far = {
        "high": pl.col("high") > rules.wick * pl.max_horizontal(*others),
        "low": pl.col("low") * rules.wick < pl.min_horizontal(*others),
    }
    for name, mask in far.items():
        check = f"{name} over {rules.wick:g} times beyond open, close and the close before"
        marked = traded.select(mask.alias("far")).to_series()
        yield from at_rows("wick", traded, marked, name, "likely a bad tick: correct it", check)


def stale_prices(traded: pl.DataFrame, rules: PriceRules) -> Iterator[Problem]:
    """Runs of days with the same four prices: with volume nobody's market, without it a stock at rest.

    Args:
        traded: rows with a close and possible prices, sorted by (code, date), with `volume`.
    """
    same_stock = pl.col(CODE) == pl.col(CODE).shift(1)
    # An unknown price equals an unknown one: a copied row copies what it lacks.
    same = pl.all_horizontal(same_stock, *(pl.col(n).eq_missing(pl.col(n).shift(1)) for n in PRICES))
    runs = (
        traded.lazy()
        .with_columns(run=(~same).fill_null(True).cum_sum())
        .group_by("run")
        .agg(
            pl.col(CODE, DATE).first(),
            pl.col(DATE).last().alias("last"),
            days=pl.len(),
            traded=(pl.col("volume") > 0).sum(),
            close=pl.col("close").first(),
        )
        .filter(pl.col("days") >= rules.stale_days)
        .sort("days", CODE, DATE, descending=[True, False, False])
        .collect()
    )
    # The first day of a run is an honest one, so a run counts as traded if a later one was.
    moving = pl.col("traded") >= rules.stale_days
    for name, found in (("stale_price", runs.filter(moving)), ("untraded_run", runs.filter(~moving))):
        if found.is_empty():
            continue
        examples = [
            {DATE: day, CODE: code, "value": close, "until": str(last), "days": days}
            for day, code, close, last, days in found.head(EXAMPLES)
            .select(DATE, CODE, "close", "last", "days")
            .rows()
        ]
        longest = found["days"][0]
        usual = (
            "likely filled up or frozen: check the source"
            if name == "stale_price"
            else "fine for thin stocks"
        )
        check = (
            f"{rules.stale_days} days and more at the same four prices, {_trade(name)} (longest {longest:,})"
        )
        rows = int(found["days"].sum())
        yield problem(name, "close", rows, usual, *examples, check=check, rows=traded.height)


def _trade(name: str) -> str:
    return "with volume" if name == "stale_price" else "without volume"
