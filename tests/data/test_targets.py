"""Forward returns: by hand, against a slow reference, and at the edges."""

import datetime as dt
import math
import time

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogooku3.data.targets import add_targets
from gogooku3.errors import DataError
from gogooku3.evaluation.daily_ic import daily_ic

DAYS = [dt.date(2024, 1, 4) + dt.timedelta(days=d) for d in (0, 1, 5, 6, 7)]


def table(rows: list[tuple[dt.date, str, float | None]]) -> pl.DataFrame:
    schema = {"date": pl.Date, "code": pl.String, "close": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_targets_by_hand_count_the_markets_trading_days() -> None:
    frame = table(
        [(day, "A", close) for day, close in zip(DAYS, (100.0, 110.0, 121.0, 60.5, 66.55), strict=True)]
        + [(DAYS[0], "B", 10.0), (DAYS[2], "B", 20.0)]  # B did not trade on the second day
    )
    result = add_targets(frame, [1, 2])
    assert result.schema["target_1d"] == pl.Float32
    # The fifth is beyond the data; where B has no close, its last one before counts.
    assert result["target_1d"].to_list() == pytest.approx([0.1, 0.1, -0.5, 0.1, None, 0.0, 0.0])
    assert result["target_2d"].to_list() == pytest.approx([0.21, -0.45, -0.45, None, None, 1.0, 0.0])


def test_rows_keep_their_order_and_other_columns() -> None:
    frame = table([(DAYS[1], "A", 2.0), (DAYS[0], "B", 5.0), (DAYS[0], "A", 1.0), (DAYS[1], "B", 10.0)])
    result = add_targets(frame.with_columns(x=pl.lit(7)), [1])
    assert result.select(frame.columns).equals(frame)
    assert result["target_1d"].to_list() == [None, 1.0, 1.0, None]
    assert result["x"].to_list() == [7] * 4


@pytest.mark.parametrize("bad", [None, 0.0, -1.0, math.nan, math.inf])
def test_an_invalid_close_gives_no_target_on_its_day_and_is_no_close_later(bad: float | None) -> None:
    frame = table([(DAYS[0], "A", 1.0), (DAYS[1], "A", bad), (DAYS[2], "A", 3.0)])
    result = add_targets(frame, [1, 2])
    assert result["target_1d"].to_list() == [0.0, None, None]
    assert result["target_2d"].to_list() == [2.0, None, None]


def test_a_horizon_longer_than_the_data_is_null_throughout() -> None:
    frame = table([(DAYS[0], "A", 1.0), (DAYS[1], "A", 2.0)])
    assert add_targets(frame, [500])["target_500d"].null_count() == 2


def test_an_empty_table_stays_empty() -> None:
    assert add_targets(table([]), [1]).columns == ["date", "code", "close", "target_1d"]


def test_wrong_tables_and_horizons_are_refused() -> None:
    frame = table([(DAYS[0], "A", 1.0)])
    with pytest.raises(DataError, match="close"):
        add_targets(frame.drop("close"))
    with pytest.raises(DataError, match=r"1 rows repeat .*2024-01-04, A"):
        add_targets(pl.concat([frame, frame]))
    with pytest.raises(DataError, match="no date or no code"):
        add_targets(frame.with_columns(code=pl.lit(None, pl.String)))
    for horizons in ([], [0], [-1], [1, 1], [1.5]):
        with pytest.raises(DataError, match="whole numbers of trading days"):
            add_targets(frame, horizons)  # type: ignore[arg-type]


def slow_twin(frame: pl.DataFrame, horizon: int) -> list[float | None]:
    calendar = sorted(set(frame["date"]))
    close = {(day, code): price for day, code, price in frame.select("date", "code", "close").rows()}
    result: list[float | None] = []
    for day, code in frame.select("date", "code").rows():
        first, later = calendar.index(day), calendar.index(day) + horizon
        known = [close.get((calendar[at], code)) for at in range(first, min(later + 1, len(calendar)))]
        now = close[day, code]
        then = [price for price in known if price is not None][-1] if now and later < len(calendar) else None
        result.append(None if now is None or then is None else float(np.float32(then / now - 1)))
    return result


cells = st.tuples(st.integers(0, 30), st.sampled_from("ABCD"))


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(cells, st.one_of(st.none(), st.floats(0.5, 1000)), min_size=1, max_size=60),
    st.integers(1, 8),
)
def test_any_table_agrees_with_the_slow_twin(
    prices: dict[tuple[int, str], float | None], horizon: int
) -> None:
    start = dt.date(2024, 1, 1)
    frame = table([(start + dt.timedelta(days=day), code, close) for (day, code), close in prices.items()])
    assert add_targets(frame, [horizon])[f"target_{horizon}d"].to_list() == slow_twin(frame, horizon)


def test_stocks_that_die_count_in_the_rank_ic() -> None:
    """A fifth of the stocks falls by 8 % a day and is delisted after ten days; a score foresees it."""
    rng = np.random.default_rng(0)
    n_days, n_stocks = 60, 100
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=day) for day in range(n_days)]
    rows = []
    for stock in range(n_stocks):
        dies = int(rng.integers(15, 50)) if stock % 5 == 0 else n_days
        close = 100.0
        for day in days[:dies]:
            falls = dies < n_days and days.index(day) >= dies - 10
            close *= 1 + rng.normal(0, 0.01) - 0.08 * falls
            rows.append((day, f"{stock:03}", close, -float(falls)))
    frame = pl.DataFrame(rows, schema=["date", "code", "close", "prediction"], orient="row")
    scored = add_targets(frame, [20]).rename({"target_20d": "target"})
    ic = daily_ic(scored.with_columns(fold=0, model=pl.lit("m"), horizon=20))["rank_ic"]
    # Where the dying stocks are dropped, nothing is left to foresee.
    alive = scored.filter(pl.col("date").max().over("code") == days[-1])
    assert alive["prediction"].n_unique() == 1
    assert ic.mean() > 0.3


def test_a_quarter_of_a_million_rows_take_well_under_a_second() -> None:
    days = pl.date_range(dt.date(2020, 1, 1), dt.date(2021, 5, 14), eager=True).alias("date").to_frame()
    codes = pl.DataFrame({"code": [str(1000 + i) for i in range(500)]})
    frame = days.join(codes, how="cross").with_columns(close=pl.lit(10.0))
    started = time.process_time()
    add_targets(frame)
    assert frame.height == 250_000
    assert time.process_time() - started < 0.8
