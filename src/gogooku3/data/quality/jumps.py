"""Checks of closes that jump: bad ticks, unadjusted splits with the likely factor, and other lasting jumps.
Looks at the days after a jump, so no feature may use it."""

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import polars as pl

from gogooku3.config.quality import PriceRules
from gogooku3.data.prices import jump_masks
from gogooku3.data.quality.problem import Problem, problem_at, problem_of
from gogooku3.schema import CODE, DATE

FACTORS = (
    *(Fraction(n) for n in (*range(2, 11), 12, 15, 20, 25, 30, 40, 50, 100)),
    *(Fraction(3, 2), Fraction(5, 2), Fraction(5, 3)),
)
"""New shares per old share; a reverse split is one over these."""
LASTING_DAYS = 5
"""Days after the jump whose median close must stay at the new level."""
VOLUME_DAYS = 20
"""Days before and after whose median volumes are compared."""
_STAYED = 0.15
"""Largest relative distance of that median close from the factor."""


def jump_problems(traded: pl.DataFrame, rules: PriceRules) -> Iterator[Problem]:
    """Problems of bad ticks, suspected splits, and other large moves that stay.

    `traded` holds the rows with a close and possible prices, sorted by (code, date).
    """
    ticks, _ = jump_masks(traded, rules.tick, rules.reversion)
    # The day that reverses a tick jumps as far as the tick did.
    reversing = ticks.shift(1, fill_value=False)
    yield from problem_at("bad_tick", traded, ticks, "close")
    splits = suspected_splits(traded, rules)
    splits = splits.filter(~(ticks | reversing).gather(splits["row"]))
    named = {"close": "value", "before": "after", "volume_ratio": "volume ratio"}
    table = splits.rename(named).select(DATE, CODE, "value", "after", "factor", "volume ratio")
    yield from problem_of("suspected_split", "close", table, rows=traded.height)
    _, lasting = jump_masks(traded, rules.jump, rules.reversion)
    explained = np.zeros(traded.height, bool)
    explained[splits["row"].to_numpy()] = True
    yield from problem_at("lasting_jump", traded, lasting & ~reversing & ~pl.Series(explained), "close")


def suspected_splits(traded: pl.DataFrame, rules: PriceRules) -> pl.DataFrame:
    """Days on which prices moved by a split's factor and stayed.

    The open must be near the factor times the previous close; the close may be twice as far off, and the
    median close of the next days must stay there. The day's volume must be calm: real moves come with many
    times the volume of the days that follow. Beyond `rules.jump` volume is not checked, and prices may be
    twice as far off.

    Returns:
        `row, date, code, before, close, factor, volume_ratio`. `factor` is new shares per old share, such as
        2, 3/2 or 1/10; `volume_ratio` is the median volume of the days after over that of the days before,
        near the factor if volume is unadjusted too, null if unknown.

    >>> days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 20), eager=True)
    >>> price, volume = [300.0] * 10 + [101.0] * 10, [10.0] * 10 + [30.0] * 10
    >>> frame = pl.DataFrame({"date": days, "code": "A", "open": price, "close": price, "volume": volume})
    >>> suspected_splits(frame, PriceRules()).select("date", "factor", "volume_ratio").row(0)
    (datetime.date(2024, 1, 11), '3', 3.0)
    """
    before = pl.when(pl.col(CODE) == pl.col(CODE).shift(1)).then(pl.col("close").shift(1))
    ratio = before / pl.col("close")
    large = traded.select(large=ratio.log().abs() >= math.log(rules.smallest_split)).to_series()
    rows = [_surroundings(traded, int(row)) for row in large.fill_null(False).arg_true()]
    numbers = ("before", "close", "ratio", "open_ratio", "later_ratio", "rush", "volume_ratio")
    schema = {"row": pl.UInt32, DATE: pl.Date, CODE: pl.String} | dict.fromkeys(numbers, pl.Float64)
    moves = pl.DataFrame(rows, schema=schema, orient="row")
    log_factor, factor = _nearest_factor(moves["ratio"].to_numpy())
    close_off, open_off, later_off = (
        np.abs(np.log(moves[name].to_numpy()) - log_factor) for name in ("ratio", "open_ratio", "later_ratio")
    )
    far = np.abs(np.log(moves["ratio"].to_numpy())) > math.log(rules.jump)
    allowed = math.log1p(rules.split_tolerance) * np.where(far, 2, 1)
    # The open is closer to the factor than the close, which includes a day's trading; the close stands in
    # where the open is unknown.
    opened = np.where(np.isnan(open_off), close_off, open_off) <= allowed
    fits = opened & (close_off <= 2 * allowed) & ~(later_off > math.log1p(_STAYED))
    calm = (moves["rush"] <= rules.split_calm).fill_null(False).to_numpy()
    splits = moves.with_columns(pl.Series("factor", factor, dtype=pl.String))
    splits = splits.filter(pl.Series(fits & (far | calm)))
    return splits.select("row", DATE, CODE, "before", "close", "factor", "volume_ratio")


def _surroundings(traded: pl.DataFrame, row: int) -> dict[str, object]:
    """Prices and volumes of the stock around one move; price ratios are old over new."""
    code, start = traded[CODE][row], max(0, row - VOLUME_DAYS)
    earlier = traded.slice(start, row - start).filter(pl.col(CODE) == code)
    later = traded.slice(row, 1 + VOLUME_DAYS).filter(pl.col(CODE) == code)
    before, close, first = earlier["close"][-1], later["close"][0], later["open"][0]
    usual, after = earlier["volume"].median(), later["volume"].slice(1).median()
    return {
        "row": row,
        DATE: later[DATE][0],
        CODE: code,
        "before": before,
        "close": close,
        "ratio": before / close,
        "open_ratio": None if first is None else before / first,
        "later_ratio": before / later["close"].head(LASTING_DAYS).median(),
        "rush": _ratio(later["volume"][0], after),
        "volume_ratio": _ratio(after, usual),
    }


def _ratio(top: object, bottom: object) -> float | None:
    if isinstance(top, int | float) and isinstance(bottom, int | float) and bottom > 0:
        return float(top) / float(bottom)
    return None


def _nearest_factor(ratios: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Logarithm and name of the factor nearest to each ratio.

    >>> _nearest_factor(np.array([9.8, 0.49, 1.52]))[1]
    ['10', '1/2', '3/2']
    """
    factors = [*FACTORS, *(1 / factor for factor in FACTORS)]
    logs = np.log([float(factor) for factor in factors])
    nearest = np.abs(np.log(ratios)[:, None] - logs).argmin(axis=1)
    return logs[nearest], [str(factors[index]) for index in nearest]
