"""Closes that jump: bad ticks, splits nobody adjusted for (with the likely factor), and what is left.

It looks at the days after a jump, so nothing may be computed from it.
"""

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import polars as pl

from gogooku3.config.quality import PriceRules
from gogooku3.data.prices import jump_masks
from gogooku3.data.quality.problem import EXAMPLES, Problem, at_rows, problem
from gogooku3.schema import CODE, DATE

FACTORS = (
    *(Fraction(n) for n in (*range(2, 11), 12, 15, 20, 25, 30, 40, 50, 100)),
    *(Fraction(3, 2), Fraction(5, 2), Fraction(5, 3)),
)
"""New shares for one old one; a reverse split is one over these."""
LASTING_DAYS = 5
"""Days after the jump whose median close must have stayed at the new level."""
VOLUME_DAYS = 20
"""Days before and after whose median volumes are compared."""
_STAYED = 0.15
"""How far that median may lie from the factor, relatively."""
_SHARE = "share"


def jump_problems(traded: pl.DataFrame, rules: PriceRules) -> Iterator[Problem]:
    """Bad ticks, suspected splits, and other large moves that stay.

    Args:
        traded: rows with a close and possible prices, sorted by (code, date).
    """
    ticks, _ = jump_masks(traded, rules.tick, rules.reversion)
    # The day that undoes a tick jumps as far as the tick did.
    undoing = ticks.shift(1, fill_value=False)
    yield from at_rows("bad_tick", traded, ticks, "close", "likely a bad tick: correct it")
    splits = suspected_splits(traded, rules)
    splits = splits.filter(~(ticks | undoing).gather(splits["row"]))
    if splits.height:
        examples = [
            {
                DATE: row[DATE],
                CODE: row[CODE],
                "value": row["close"],
                "after": row["before"],
                "factor": row["factor"],
                "volume ratio": row["volume_ratio"],
            }
            for row in splits.head(EXAMPLES).iter_rows(named=True)
        ]
        advice = "likely a split without adjustment: adjust the prices before"
        rows = traded.height
        yield problem("suspected_split", "close", splits.height, advice, *examples, rows=rows)
    _, lasting = jump_masks(traded, rules.jump, rules.reversion)
    explained = np.zeros(traded.height, bool)
    explained[splits["row"].to_numpy()] = True
    left = lasting & ~undoing & ~pl.Series(explained)
    advice = "no usual split factor: a real move, a long hole, or a change of units; look at it"
    yield from at_rows("lasting_jump", traded, left, "close", advice)


def suspected_splits(traded: pl.DataFrame, rules: PriceRules) -> pl.DataFrame:
    """Days on which prices moved by a split's factor and stayed: `row, date, code, before, close, factor,
    volume_ratio`.

    The open must lie near the factor from the close before, the close half as near, and the median close of
    the next days too. The day must be a calm one: real falls and rises come with many times the volume of the
    days that follow. Beyond `jump` that isn't asked, and the prices may lie twice as far off. `factor` is
    new shares for an old one, as in 2, 3/2 or 1/10; `volume_ratio` is the median volume of the days after
    over that of the days before, near the factor if volume wasn't adjusted either; null where unknown.

    >>> days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 20), eager=True)
    >>> price, volume = [300.0] * 10 + [101.0] * 10, [10.0] * 10 + [30.0] * 10
    >>> frame = pl.DataFrame({"date": days, "code": "A", "open": price, "close": price, "volume": volume})
    >>> suspected_splits(frame, PriceRules()).select("date", "factor", "volume_ratio").row(0)
    (datetime.date(2024, 1, 11), '3', 3.0)
    """
    moved = _large_moves(traded, rules)
    near, factor = _nearest_factor(moved["ratio"].to_numpy())
    far = np.abs(np.log(moved["ratio"].to_numpy())) > math.log(rules.jump)
    allowed = math.log1p(rules.split_tolerance) * np.where(far, 2, 1)
    off = [np.abs(np.log(moved[name].to_numpy()) - near) for name in ("ratio", "gap", _SHARE)]
    # The open tells more than the close, which has a day's trading in it; unknown, the close must do.
    opened = np.where(np.isnan(off[1]), off[0], off[1]) <= allowed
    fits = opened & (off[0] <= 2 * allowed) & ~(off[2] > math.log1p(_STAYED))
    calm = (moved["rush"] <= rules.split_calm).fill_null(False).to_numpy()
    whole = moved.with_columns(pl.Series("factor", factor, dtype=pl.String))
    columns = ("row", DATE, CODE, "before", "close", "factor", "volume_ratio")
    return whole.filter(pl.Series(fits & (far | calm))).select(columns)


def _large_moves(traded: pl.DataFrame, rules: PriceRules) -> pl.DataFrame:
    """Rows that moved far enough, with what surrounds them; ratios are old price over new."""
    same_stock = pl.col(CODE) == pl.col(CODE).shift(1)
    before = pl.when(same_stock).then(pl.col("close").shift(1))
    ratio = before / pl.col("close")
    rows = traded.select((ratio.log().abs() >= math.log(rules.smallest_split)).alias("far")).to_series()
    found = [_surroundings(traded, int(row)) for row in rows.fill_null(False).arg_true()]
    numbers = ("before", "close", "ratio", "gap", _SHARE, "rush", "volume_ratio")
    schema = {"row": pl.UInt32, DATE: pl.Date, CODE: pl.String} | dict.fromkeys(numbers, pl.Float64)
    return pl.DataFrame(found, schema=schema, orient="row")


def _surroundings(traded: pl.DataFrame, row: int) -> dict[str, object]:
    """The days around one move, of the same stock."""
    code = traded[CODE][row]
    around = traded.slice(max(0, row - VOLUME_DAYS), min(row, VOLUME_DAYS) + 1 + VOLUME_DAYS)
    start = max(0, row - VOLUME_DAYS)
    earlier = around.slice(0, row - start).filter(pl.col(CODE) == code)
    later = around.slice(row - start).filter(pl.col(CODE) == code)
    before, close, first = earlier["close"][-1], later["close"][0], later["open"][0]
    usual, after = earlier["volume"].median(), later["volume"].slice(1).median()
    return {
        "row": row,
        DATE: later[DATE][0],
        CODE: code,
        "before": before,
        "close": close,
        "ratio": before / close,
        "gap": None if first is None else before / first,
        _SHARE: before / later["close"].head(LASTING_DAYS).median(),
        "rush": _over(later["volume"][0], after),
        "volume_ratio": _over(after, usual),
    }


def _over(top: object, bottom: object) -> float | None:
    if isinstance(top, int | float) and isinstance(bottom, int | float) and bottom > 0:
        return float(top) / float(bottom)
    return None


def _nearest_factor(ratios: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Logarithm of the factor nearest to each ratio, and its name.

    >>> _nearest_factor(np.array([9.8, 0.49, 1.52]))[1]
    ['10', '1/2', '3/2']
    """
    every = [*FACTORS, *(1 / factor for factor in FACTORS)]
    logs = np.log([float(factor) for factor in every])
    nearest = np.abs(np.log(ratios)[:, None] - logs).argmin(axis=1)
    return logs[nearest], [str(every[place]) for place in nearest]
