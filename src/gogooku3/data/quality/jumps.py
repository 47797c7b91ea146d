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
from gogooku3.schema import CODE, DATE, MIN_STOCKS

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
_STEP_DAYS = 20
"""Days before and after in which the levels of a move of one price step recur."""
_SAME = 1e-3
"""Relative distance of prices that are equal but for rounding."""
_MARKET_DAYS = 7
"""Calendar days since the previous close within which a move belongs to the day's market."""


def jump_problems(traded: pl.DataFrame, rules: PriceRules) -> Iterator[Problem]:
    """Problems of bad ticks, suspected splits, other large moves that stay, and reused codes.

    `traded` holds the rows with a close and possible prices, sorted by (code, date).
    """
    ticks, _ = jump_masks(traded, rules.tick, rules.reversion)
    # The day that reverses a tick jumps as far as the tick did.
    reversing = ticks.shift(1, fill_value=False)
    steps = [row for row in ticks.arg_true() if _is_price_step(traded, row)]
    real = ticks.scatter(steps, False) if steps else ticks
    yield from problem_at("bad_tick", traded, real, "close")
    splits = suspected_splits(traded, rules)
    splits = splits.filter(~(ticks | reversing).gather(splits["row"]))
    named = {"close": "value", "before": "after", "volume_ratio": "volume ratio"}
    table = splits.rename(named).select(DATE, CODE, "value", "after", "factor", "volume ratio")
    yield from problem_of("suspected_split", "close", table, rows=traded.height)
    _, lasting = jump_masks(traded, rules.jump, rules.reversion)
    reused = reused_codes(traded, rules)
    yield from problem_of("reused_code", CODE, reused.drop("row"), rows=None)
    explained = np.zeros(traded.height, bool)
    explained[splits["row"].to_numpy()] = True
    explained[reused["row"].to_numpy()] = True
    yield from problem_at("lasting_jump", traded, lasting & ~reversing & ~pl.Series(explained), "close")


def reused_codes(traded: pl.DataFrame, rules: PriceRules) -> pl.DataFrame:
    """Rows where a code returns after a long hole at another price level: another company, or a missed split.

    Returns:
        `row, date, code, value, after, hole`: the close, the close before the hole, and its calendar days.
    """
    same = pl.col(CODE) == pl.col(CODE).shift(1)
    hole = pl.when(same).then((pl.col(DATE) - pl.col(DATE).shift(1)).dt.total_days())
    table = traded.select(
        DATE, CODE, value=pl.col("close"), after=pl.col("close").shift(1), hole=hole
    ).with_row_index("row")
    level = (pl.col("value") / pl.col("after")).log().abs() >= math.log(rules.reuse_level)
    return table.filter((pl.col("hole") > rules.reuse_hole) & level)


def suspected_splits(traded: pl.DataFrame, rules: PriceRules) -> pl.DataFrame:
    """Days on which prices moved by a split's factor and stayed.

    The open must be near the factor times the previous close; the close may be twice as far off, and the
    median close of the next days must stay there. The day's volume must be calm: real moves come with many
    times the volume of the days that follow. From about `rules.jump` volume is not checked, prices may be
    twice as far off, and the close suffices if it is as near as the open should be and the next open agrees.
    Not splits are: moves after a hole (`rules.split_hole`), moves of one price step between prices that
    recur, and moves by a factor below 2 with one price all day (a limit), or on a day on which the median
    stock moved too (`rules.market_move`).

    Returns:
        `row, date, code, before, close, factor, volume_ratio`. `factor` is new shares per old share, such as
        2, 3/2 or 1/10; `volume_ratio` is the median volume of the days after over that of the days before,
        near the factor if volume is unadjusted too, null if unknown.

    >>> days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 20), eager=True)
    >>> price, volume = [300.0] * 10 + [101.0] * 10, [10.0] * 10 + [30.0] * 10
    >>> prices = dict.fromkeys(("open", "high", "low", "close"), price)
    >>> frame = pl.DataFrame({"date": days, "code": "A", **prices, "volume": volume})
    >>> suspected_splits(frame, PriceRules()).select("date", "factor", "volume_ratio").row(0)
    (datetime.date(2024, 1, 11), '3', 3.0)
    """
    rows = [row for row in _large_moves(traded, rules) if not _is_price_step(traded, row)]
    numbers = ("before", "close", "ratio", "open_ratio", "next_open", "later_ratio", "rush", "volume_ratio")
    schema = {"row": pl.UInt32, DATE: pl.Date, CODE: pl.String} | dict.fromkeys(numbers, pl.Float64)
    moves = pl.DataFrame([_surroundings(traded, row) for row in rows], schema=schema, orient="row")
    split, factor = _fitting_factors(moves, rules)
    splits = moves.with_columns(pl.Series("factor", factor, dtype=pl.String)).filter(pl.Series(split))
    return splits.select("row", DATE, CODE, "before", "close", "factor", "volume_ratio")


def _large_moves(traded: pl.DataFrame, rules: PriceRules) -> list[int]:
    """Rows whose move is large enough for a split, on their day."""
    size = _ratios(traded, rules.split_hole).log().abs()
    below_two = size < math.log(2) - 2 * math.log1p(rules.split_tolerance)
    wild = traded[DATE].is_in(_wild_days(traded, rules.market_move).implode())
    at_limit = (traded["high"] == traded["low"]).fill_null(False)
    large = (size >= math.log(rules.smallest_split)) & ~(below_two & (wild | at_limit))
    return large.fill_null(False).arg_true().to_list()


def _fitting_factors(moves: pl.DataFrame, rules: PriceRules) -> tuple[np.ndarray, np.ndarray]:
    """Mask of moves that fit the factor of a split, and the name of that factor."""
    ratio, later = moves["ratio"].to_numpy(), moves["later_ratio"].to_numpy()
    # The open is closer to the factor than the close, which includes a day's trading; the close stands in
    # where the open is unknown.
    opened = moves["open_ratio"].fill_null(moves["ratio"]).to_numpy()
    log_open, by_open = _nearest_factor(opened)
    log_close, by_close = _nearest_factor(ratio)
    tolerance = math.log1p(rules.split_tolerance)
    far = np.abs(np.log(ratio)) > math.log(rules.jump) - 2 * tolerance
    allowed = tolerance * np.where(far, 2, 1)
    at_open = (_off(opened, log_open) <= allowed) & (_off(ratio, log_open) <= 2 * allowed)
    next_opened = _off(moves["next_open"].to_numpy(), log_close) <= math.log1p(_STAYED)
    at_close = far & (_off(ratio, log_close) <= tolerance) & next_opened
    stayed = _off(later, np.where(at_open, log_open, log_close)) <= math.log1p(_STAYED)
    calm = (moves["rush"] <= rules.split_calm).fill_null(False).to_numpy()
    return (at_open | at_close) & stayed & (far | calm), np.where(at_open, by_open, by_close)


def _ratios(traded: pl.DataFrame, hole: int) -> pl.Series:
    """Previous close over close; null for a stock's first row and after a hole of more calendar days."""
    same = (pl.col(CODE) == pl.col(CODE).shift(1)) & (
        (pl.col(DATE) - pl.col(DATE).shift(1)).dt.total_days() <= hole
    )
    return traded.select(pl.when(same).then(pl.col("close").shift(1) / pl.col("close"))).to_series()


def _wild_days(traded: pl.DataFrame, move: float) -> pl.Series:
    """Days on which the median stock moved by at least `move`."""
    moves = traded.select(DATE, move=_ratios(traded, _MARKET_DAYS).log())
    medians = moves.group_by(DATE).agg(pl.col("move").median(), stocks=pl.col("move").count())
    return medians.filter(pl.col("stocks") >= MIN_STOCKS, pl.col("move").abs() >= math.log1p(move))[DATE]


def _is_price_step(traded: pl.DataFrame, row: int) -> bool:
    """Return True if a close moved by one price step, such as from 3 to 2, between prices that recur.

    The step is the smallest difference between the closes of the days around; both closes are few steps.
    """
    code, start = traded[CODE][row], max(0, row - _STEP_DAYS)
    around = traded.slice(start, row - start + _STEP_DAYS + 1)
    own = (around[CODE] == code).to_numpy()
    closes, at = around["close"].to_numpy(), row - start
    before, after = closes[:at][own[:at]], closes[at:][own[at:]]
    old, new = before[-1], after[0]
    levels = np.unique(np.concatenate([before, after]))
    gaps = np.diff(levels)
    step = gaps[gaps > _SAME * new].min(initial=math.inf)
    few = [price / step for price in (old, new)]
    if abs(few[0] - few[1]) > 1.1 or max(few) > 3.1 or max(abs(n - round(n)) for n in few) > 0.05:
        return False
    earlier, returns = (np.isclose(prices, level, _SAME) for prices, level in ((before, new), (after, old)))
    return bool(earlier.any() or (returns.any() and np.isclose(after, new, _SAME).sum() > 1))


def _off(ratios: np.ndarray, log_factor: np.ndarray) -> np.ndarray:
    return np.abs(np.log(ratios) - log_factor)


def _surroundings(traded: pl.DataFrame, row: int) -> dict[str, object]:
    """Prices and volumes of the stock around one move; price ratios are old over new."""
    code, start = traded[CODE][row], max(0, row - VOLUME_DAYS)
    earlier = traded.slice(start, row - start).filter(pl.col(CODE) == code)
    later = traded.slice(row, 1 + VOLUME_DAYS).filter(pl.col(CODE) == code)
    before, close, opens = earlier["close"][-1], later["close"][0], later["open"].head(2).to_list()
    usual, after = earlier["volume"].median(), later["volume"].slice(1).median()
    return {
        "row": row,
        DATE: later[DATE][0],
        CODE: code,
        "before": before,
        "close": close,
        "ratio": before / close,
        "open_ratio": _ratio(before, opens[0]),
        "next_open": _ratio(before, opens[-1]) if len(opens) > 1 else None,
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
