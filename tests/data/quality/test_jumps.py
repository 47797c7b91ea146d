"""Splits, bad ticks and reused codes, as real markets show them."""

import datetime as dt

import polars as pl
import pytest

from gogooku3.config.quality import PriceRules
from gogooku3.data.quality.findings import price_findings
from gogooku3.data.quality.jumps import jump_problems, reused_codes, suspected_splits

RULES = PriceRules()
FIRST = dt.date(2024, 1, 1)


def stock(
    closes: list[float], opens: list[float] | None = None, code: str = "A", spread: float = 0.01
) -> pl.DataFrame:
    """A stock with these closes on consecutive days, calm volume and highs above its lows."""
    frame = pl.DataFrame({"close": closes, "open": opens or closes}).cast(pl.Float64)
    return frame.select(
        date=pl.Series([FIRST + dt.timedelta(day) for day in range(len(closes))]),
        code=pl.lit(code),
        open="open",
        high=pl.max_horizontal("open", "close") * 1.01,
        low=pl.min_horizontal("open", "close") * 0.99,
        close="close",
        volume=pl.lit(100.0),
    )


def factors(frame: pl.DataFrame) -> list[str]:
    return suspected_splits(frame, RULES)["factor"].to_list()


def checks(frame: pl.DataFrame) -> list[str]:
    return [problem.name for problem in jump_problems(frame, RULES)]


def wave(level: float, n: int = 30) -> list[float]:
    """Prices around a level, all different."""
    return [level * (1 + 0.0013 * (day * 7 % 11)) for day in range(n)]


@pytest.mark.parametrize(
    ("new", "factor"), [(25.3, "4"), (20.2, "5"), (50.4, "2"), (66.9, "3/2"), (400.0, "1/4")]
)
def test_a_split_is_named_by_its_factor(new: float, factor: str) -> None:
    assert factors(stock(wave(100.0) + wave(new))) == [factor]


@pytest.mark.parametrize(
    ("open_", "close", "factor"),
    [(1040.0, 1120.0, "1/10"), (100.0, 500.0, "1/5"), (27.4, 26.5, "4"), (23.2, 21.9, "4")],
    ids=[
        "a rise on the day",
        "an open before the split",
        "just below the limit of jumps",
        "a fall on the day",
    ],
)
def test_a_split_with_a_move_on_its_day_is_no_unusual_factor(open_: float, close: float, factor: str) -> None:
    before, after = [100.0] * 30, wave(close)
    frame = stock(before + after, [*before, open_, *after[1:]])
    assert factors(frame) == [factor]
    assert "lasting_jump" not in checks(frame)


def test_a_move_across_a_hole_is_no_split() -> None:
    frame = stock(wave(100.0) + wave(50.0))
    late = pl.when(pl.col("close") < 90).then(pl.col("date") + pl.duration(days=31)).otherwise("date")
    assert factors(frame) == ["2"] and factors(frame.with_columns(date=late)) == []


def test_a_code_that_returns_after_a_long_hole_at_another_level_is_a_finding() -> None:
    frame = stock(wave(100.0) + wave(15.0))
    late = pl.when(pl.col("close") < 90).then(pl.col("date") + pl.duration(days=400)).otherwise("date")
    reused = frame.with_columns(date=late)
    assert reused_codes(reused, RULES).select("code", "hole").rows() == [("A", 401)]
    assert checks(reused) == ["reused_code"]
    assert "1 codes return after a long hole" in next(
        price_findings(reused.with_columns(pl.col("close").round(1)))
    )
    assert checks(frame) != ["reused_code"]


def test_one_step_of_a_penny_stock_is_neither_a_bad_tick_nor_a_split() -> None:
    hops = [3.0, 3, 2, 3, 3, 2, 2, 3, 3, 3, 2, 3, 2, 2, 2, 3] * 3
    assert checks(stock(hops)) == []
    assert checks(stock([9.80737 * price for price in hops])) == []  # Adjusted prices.


def test_a_bad_tick_of_a_price_that_never_moves_stays_a_bad_tick() -> None:
    assert checks(stock([100.0] * 20 + [200.0] + [100.0] * 20)) == ["bad_tick"]


def test_a_split_of_a_price_that_never_moves_stays_a_split() -> None:
    assert factors(stock([100.0] * 30 + [50.0] * 30)) == ["2"]


def test_a_fall_with_the_whole_market_is_no_split() -> None:
    calm = [stock(wave(100.0) + wave(90.0), code=f"{code}") for code in range(12)]
    victim = stock(wave(100.0) + wave(61.0), code="X")
    assert factors(pl.concat([*calm, victim])) == []
    assert factors(victim) == ["5/3"]
    halved = stock(wave(100.0) + wave(50.0), code="X")
    assert factors(pl.concat([*calm, halved])) == ["2"]


def test_a_day_at_the_limit_is_no_split_below_two() -> None:
    closes = [*wave(100.0), 150.0, *wave(150.0)]
    frame = stock(closes)
    locked = pl.when(pl.col("date") == FIRST + dt.timedelta(30)).then(150.0)
    frame_at_limit = frame.with_columns(
        locked.otherwise(pl.col(name)).alias(name) for name in ("high", "low")
    )
    assert factors(frame) == ["2/3"] and factors(frame_at_limit) == []


def test_build_findings_name_suspected_splits() -> None:
    findings = list(price_findings(stock(wave(100.0) + wave(50.0), code="7203")))
    assert findings == ["1 suspected splits without adjustment: 7203 on 2024-01-31 (2)"]
