"""Values worked out by hand, or by a slow, obvious implementation."""

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest

from gogooku3.errors import DataError
from gogooku3.features.compute import compute_features


def days(n: int) -> list[dt.date]:
    return [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(n)]


def one_stock(close: list[float | None], **columns: list[float | None]) -> pl.DataFrame:
    price = pl.Series("close", close, dtype=pl.Float64)
    frame = pl.DataFrame({"date": days(len(close)), "code": ["A"] * len(close), "open": price, "high": price,
                          "low": price, "close": price, "volume": [100.0] * len(close)})  # fmt: skip
    return frame.with_columns(pl.Series(name, values, dtype=pl.Float64) for name, values in columns.items())


def with_calendar(prices: pl.DataFrame) -> pl.DataFrame:
    """Add a second stock that trades every day, so that the first stock's missing days are market days."""
    every = one_stock([50.0] * 40).with_columns(code=pl.lit("Z"))
    return pl.concat([prices, every])


def values(prices: pl.DataFrame, name: str, code: str = "A") -> list[float | None]:
    return compute_features(prices).filter(pl.col("code") == code)[name].to_list()


def approx(expected: list[float | None]) -> list[object]:
    return [None if e is None else pytest.approx(e, rel=1e-6, abs=1e-7) for e in expected]


def test_a_return_is_close_over_close() -> None:
    prices = one_stock([100.0, 110.0, 99.0, 99.0])
    assert values(prices, "ret_1d") == approx([None, 0.1, -0.1, 0.0])
    assert values(prices, "ret_2d") == approx([None, None, -0.01, -0.1])
    assert values(prices, "ret_1d_lag1") == approx([None, None, 0.1, -0.1])


def test_a_gap_of_up_to_five_days_is_bridged_by_the_last_close() -> None:
    close = [100.0, *[None] * 4, 110.0, *[None] * 5, 121.0]
    prices = with_calendar(one_stock([1.0] * 12).with_columns(close=pl.Series(close)).drop_nulls("close"))
    assert values(prices, "ret_1d") == approx([None, 0.1, None])


def test_a_lookback_counts_the_markets_days_not_the_stocks() -> None:
    prices = with_calendar(one_stock([100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0])).filter(
        ~((pl.col("code") == "A") & (pl.col("date") == dt.date(2024, 1, 3)))
    )
    assert values(prices, "ret_5d") == approx([None, None, None, None, 105 / 100 - 1, 106 / 101 - 1])


def test_gap_and_intraday_make_up_the_return() -> None:
    prices = one_stock([100.0, 110.0], open=[90.0, 105.0], high=[101.0, 111.0], low=[89.0, 104.0])
    assert values(prices, "gap_1d") == approx([None, 0.05])
    assert values(prices, "intraday_1d") == approx([100 / 90 - 1, 110 / 105 - 1])


def test_candle_parts_are_shares_of_the_range() -> None:
    prices = one_stock([14.0], open=[12.0], high=[20.0], low=[10.0])
    got = compute_features(prices).row(0, named=True)
    assert got["body_1d"] == pytest.approx(0.2)
    assert got["upper_shadow_1d"] == pytest.approx(0.6)
    assert got["lower_shadow_1d"] == pytest.approx(0.2)
    assert got["close_location_1d"] == pytest.approx(-0.2)
    assert got["range_1d"] == pytest.approx(math.log(2))


def test_a_rolling_statistic_needs_two_thirds_of_its_window() -> None:
    prices = one_stock([100.0 * 1.01 ** (i % 3) for i in range(25)])
    known = [value is not None for value in values(prices, "vol_20d")]
    assert known.index(True) == 14 and all(known[14:])


def test_volatility_is_the_sample_standard_deviation_of_clipped_returns() -> None:
    rng = np.random.default_rng(0)
    close = 100 * np.cumprod(1 + 0.02 * rng.normal(size=30))
    close[20:] *= 10
    returns = np.clip(close[1:] / close[:-1] - 1, -0.5, 1.0)
    assert values(one_stock(close.tolist()), "vol_20d")[-1] == pytest.approx(
        returns[-20:].std(ddof=1), rel=1e-6
    )
    assert values(one_stock(close.tolist()), "max_ret_20d")[-1] == 1.0


def test_shape_statistics_equal_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    close = 100 * np.cumprod(1 + 0.02 * np.random.default_rng(1).standard_t(4, size=70))
    returns = np.clip(close[1:] / close[:-1] - 1, -0.5, 1)[-60:]
    got = compute_features(one_stock(close.tolist())).row(-1, named=True)
    assert got["skew_60d"] == pytest.approx(stats.skew(returns), rel=1e-5)
    assert got["kurt_60d"] == pytest.approx(stats.kurtosis(returns), rel=1e-5)
    longer = close[1:] / close[:-1] - 1
    assert got["autocorr_lag2_60d"] == pytest.approx(
        np.corrcoef(longer[-60:], longer[-62:-2])[0, 1], rel=1e-5
    )


def test_a_constant_price_has_no_volatility_and_no_correlation() -> None:
    got = compute_features(one_stock([10.0] * 80)).row(-1, named=True)
    assert got["vol_60d"] == 0 and got["up_share_20d"] == 0 and got["zero_return_share_60d"] == 1
    assert got["skew_60d"] is None and got["autocorr_lag1_60d"] is None and got["rsi_14d"] is None


def test_a_streak_is_signed_ends_at_a_turn_and_is_capped_at_ten() -> None:
    close = [100.0, 101.0, 102.0, 101.0, 100.0, 100.0, *[100.0 + i for i in range(1, 14)]]
    assert values(one_stock(close), "streak_10d") == approx(
        [None, 1, 2, -1, -2, 0, *range(1, 11), 10, 10, 10]
    )


def test_a_day_without_volume_has_ratio_zero_and_no_log() -> None:
    volume = [100.0] * 19 + [0.0]
    got = compute_features(one_stock([10.0 + 0.1 * i for i in range(20)], volume=volume)).row(-1, named=True)
    assert got["volume_ratio_1d_20d"] == 0
    assert got["volume_change_1d"] is None and got["dollar_volume_1d"] is None
    assert got["dollar_volume_20d"] == pytest.approx(
        math.log(sum((10 + 0.1 * i) * 100 for i in range(19)) / 20)
    )
    assert got["signed_volume_5d"] == 1


def test_beta_is_the_regression_slope_on_the_index() -> None:
    rng = np.random.default_rng(2)
    market = 0.01 * rng.normal(size=70)
    close = 100 * np.cumprod(1 + 1.5 * market + 0.005 * rng.normal(size=70))
    index = 1000 * np.cumprod(1 + market)
    got = compute_features(one_stock(close.tolist(), index_close=index.tolist())).row(-1, named=True)
    own = close[1:] / close[:-1] - 1
    slope = np.cov(own[-60:], market[-60:])[0, 1] / market[-60:].var(ddof=1)
    assert got["beta_60d"] == pytest.approx(slope, rel=1e-5)
    assert got["market_corr_60d"] == pytest.approx(np.corrcoef(own[-60:], market[-60:])[0, 1], rel=1e-5)
    residual = own[-60:] - slope * market[-60:]
    assert got["idio_vol_60d"] == pytest.approx(residual.std(), rel=1e-5)
    assert got["idio_ret_5d"] == pytest.approx(residual[-5:].sum(), rel=1e-4)
    assert got["market_rel_ret_5d"] == pytest.approx(close[-1] / close[-6] - index[-1] / index[-6], rel=1e-5)


def test_without_an_index_the_market_is_the_mean_return_of_all_stocks() -> None:
    up, down = one_stock([100.0, 104.0]), one_stock([100.0, 98.0]).with_columns(code=pl.lit("B"))
    assert values(pl.concat([up, down]), "market_rel_ret_1d") == approx([None, 0.04 - 0.01])


def sector_market(sectors: list[str | None]) -> pl.DataFrame:
    closes = [101.0, 102.0, 102.0, 108.0]
    return pl.concat(
        one_stock([100.0, close]).with_columns(code=pl.lit(f"S{i}"), sector=pl.lit(sector, dtype=pl.String))
        for i, (close, sector) in enumerate(zip(closes, sectors, strict=True))
    )


def test_sector_features_compare_with_the_sector_that_day() -> None:
    got = compute_features(sector_market(["x", "x", "x", "y"])).filter(pl.col("date") == dt.date(2024, 1, 2))
    assert got["sector_rank_ret_1d"].to_list() == approx([1 / 6, 2 / 3, 2 / 3, 0.5])
    mean = (0.01 + 0.02 + 0.02) / 3
    assert got["sector_rel_ret_1d"].to_list() == approx([0.01 - mean, 0.02 - mean, 0.02 - mean, 0.0])


def test_a_stock_without_a_sector_has_no_sector_features() -> None:
    got = compute_features(sector_market(["x", "x", None, "y"])).filter(pl.col("date") == dt.date(2024, 1, 2))
    assert got["sector_rank_ret_1d"].to_list() == approx([0.25, 0.75, None, 0.5])


def test_calendar_features_depend_only_on_the_date() -> None:
    got = compute_features(one_stock([1.0] * 31))
    assert got["weekday"].to_list()[:7] == [0, 1, 2, 3, 4, 5, 6]
    # The stock trades every day; January 2024 begins on a Monday and ends on a Wednesday.
    assert got["turn_of_month"].to_list() == [1.0] * 3 + [0.0] * 25 + [1.0] * 3
    assert got["month_sin"][0] == 0 and got["month_cos"][0] == 1


def test_the_turn_of_month_counts_trading_days_and_expects_weekdays() -> None:
    # Tokyo around New Year 2024: no sessions on weekends, from 30 December to 3 January, and on 8 January.
    december, january = (
        (25, 26, 27, 28, 29),
        (4, 5, 9, 10, 11, 12, *range(15, 20), *range(22, 27), 29, 30, 31),
    )
    dates = [dt.date(2023, 12, day) for day in december] + [dt.date(2024, 1, day) for day in january]
    dates += [dt.date(2024, 2, day) for day in (1, 2, 5, 6)]
    got = compute_features(one_stock([1.0] * len(dates)).with_columns(date=pl.Series(dates)))
    turn = [f"{day:%m-%d}" for day in got.filter(pl.col("turn_of_month") == 1)["date"]]
    assert turn == ["12-27", "12-28", "12-29", "01-04", "01-05", "01-09", "01-29", "01-30", "01-31",
                    "02-01", "02-02", "02-05"]  # fmt: skip


@pytest.mark.parametrize(("start", "first"), [(3, [1, 1, 1, 0]), (5, [1, 0, 0, 0]), (6, [0, 0, 0, 0])])
def test_where_prices_begin_within_a_month_its_weekdays_count(start, first) -> None:
    # June 2024 begins on a Saturday: its first three weekdays are the 3rd to the 5th.
    dates = [day for day in (dt.date(2024, 6, start + i) for i in range(8)) if day.weekday() < 5]
    got = compute_features(one_stock([1.0] * len(dates)).with_columns(date=pl.Series(dates)))
    assert got["turn_of_month"].to_list()[:4] == first


def test_a_month_after_the_first_day_of_the_prices_counts_trading_days() -> None:
    # Tokyo's first sessions of 2024, after one or two of 2023; by weekdays, 4 January is the fourth.
    for december in ([29], [28, 29]):
        dates = [dt.date(2023, 12, day) for day in december]
        dates += [dt.date(2024, 1, day) for day in (4, 5, 9, 10)]
        got = compute_features(one_stock([1.0] * len(dates)).with_columns(date=pl.Series(dates)))
        assert got["turn_of_month"].to_list() == [*[1.0] * len(december), 1.0, 1.0, 1.0, 0.0]


def test_zero_and_negative_prices_count_as_missing() -> None:
    prices = with_calendar(one_stock([100.0, 0.0, 110.0, -5.0, 121.0]))
    assert values(prices, "ret_1d") == approx([None, None, 0.1, None, 0.1])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda p: p.drop("high"), "high"),
        (lambda p: p.clear(), "no rows"),
        (lambda p: pl.concat([p, p]), "repeat"),
        (lambda p: p.with_columns(code=pl.lit(None, pl.String)), "no code"),
    ],
)
def test_a_table_without_valid_prices_is_refused(broken, message) -> None:
    with pytest.raises(DataError, match=message):
        compute_features(broken(one_stock([1.0, 2.0])))


def test_an_index_with_two_closes_on_one_day_is_refused() -> None:
    one = one_stock([1.0, 2.0], index_close=[10.0, 11.0])
    two = one_stock([1.0, 2.0], index_close=[10.0, 12.0]).with_columns(code=pl.lit("B"))
    with pytest.raises(DataError, match="2024-01-02"):
        compute_features(pl.concat([one, two]))


def test_progress_ends_at_one() -> None:
    seen: list[tuple[str, float]] = []
    compute_features(one_stock([1.0, 2.0]), progress=lambda step, share: seen.append((step, share)))
    assert seen[-1] == ("features", 1.0)
