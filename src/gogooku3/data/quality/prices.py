"""Checks of one row's prices and of runs of equal prices: impossible, contradictory or stale."""

from collections.abc import Iterator, Sequence

import polars as pl

from gogooku3.config.quality import PriceRules
from gogooku3.data.prices import PRICES, contradictions
from gogooku3.data.quality.problem import Problem, problem_at, problem_of
from gogooku3.schema import CODE, DATE

_REPEATED = 0.8
"""Share of distinct volumes in a run of equal prices, up to which the volumes repeat."""


def impossible_values(frame: pl.DataFrame, names: Sequence[str]) -> Iterator[Problem]:
    """Problems of prices and volumes that `data build` sets to null."""
    for name in names:
        values = frame[name]
        bad = values.is_infinite() | values.is_nan()
        if name == "volume":
            yield from problem_at("bad_volume", frame, bad | (values < 0), name)
            yield from problem_at("no_volume", frame, values == 0, name)
        else:
            yield from problem_at("bad_price", frame, bad | (values <= 0), name)


def possible_only(names: Sequence[str]) -> list[pl.Expr]:
    """The price columns with impossible values as null."""
    return [pl.when((pl.col(n) > 0) & pl.col(n).is_finite()).then(pl.col(n)) for n in names if n != "volume"]


def contradictory_rows(frame: pl.DataFrame) -> Iterator[Problem]:
    """Problems of rows whose open, high, low and close can't all be right. Expects possible prices."""
    for reason, (broken, columns) in contradictions().items():
        mask = frame.select(broken=broken).to_series()
        advice = f"correct it at the source; set to null there: {' and '.join(columns)}"
        yield from problem_at("ohlc", frame, mask, columns[0], reason, advice)


def wicks(traded: pl.DataFrame, rules: PriceRules) -> Iterator[Problem]:
    """Problems of highs and lows far from open, close and the previous close: quotes without trades.

    A stock's first row has no previous close, and some exchanges have no limits on that day.

    `traded` holds the rows with a close and possible prices, sorted by (code, date).
    """
    before = pl.when(pl.col(CODE) == pl.col(CODE).shift(1)).then(pl.col("close").shift(1))
    others = ("open", "close", before)
    far = {
        "high": pl.col("high") > rules.wick * pl.max_horizontal(*others),
        "low": pl.col("low") * rules.wick < pl.min_horizontal(*others),
    }
    for name, mask in far.items():
        check = f"{name} more than {rules.wick:g} times beyond open, close and previous close"
        far_off = traded.select(far=mask & before.is_not_null()).to_series()
        yield from problem_at("wick", traded, far_off, name, check)


def stale_prices(traded: pl.DataFrame, rules: PriceRules) -> Iterator[Problem]:
    """Problems of runs of days with the same four prices, with and without volume.

    `traded` holds the rows with a close and possible prices, sorted by (code, date), with `volume`.
    """
    same_stock = pl.col(CODE) == pl.col(CODE).shift(1)
    # A missing price equals a missing price: a filled row copies the gaps too.
    same = pl.all_horizontal(same_stock, *(pl.col(n).eq_missing(pl.col(n).shift(1)) for n in PRICES))
    runs = (
        traded.lazy()
        .with_columns(run=(~same).fill_null(True).cum_sum())
        .group_by("run")
        .agg(
            pl.col(DATE, CODE).first(),
            pl.col("close").first().alias("value"),
            pl.col(DATE).last().cast(pl.String).alias("until"),
            days=pl.len(),
            traded=(pl.col("volume") > 0).sum(),
            volumes=pl.col("volume").filter(pl.col("volume") > 0).n_unique(),
        )
        .filter(pl.col("days") >= rules.stale_days)
        .sort("days", CODE, DATE, descending=[True, False, False])
        .collect()
    )
    # The first day of a run is a real quote, so a run has volume only if a later day has. Volumes that differ
    # every day are real: the price of a large stock can stay at one step for days.
    has_volume = pl.col("traded") >= rules.stale_days
    repeated = pl.col("volumes") <= _REPEATED * pl.col("traded")
    for name, volume, kind in (
        ("stale_price", "with repeated", runs.filter(has_volume & repeated)),
        ("untraded_run", "without", runs.filter(~has_volume)),
    ):
        check = f"same four prices for {rules.stale_days} days or more, {volume} volume"
        check += f" (longest {kind['days'][0]:,})" if kind.height else ""
        examples, count = kind.drop("run", "traded", "volumes"), int(kind["days"].sum())
        yield from problem_of(name, "close", examples, check, count=count, rows=traded.height)
