"""No feature depends on a later day, another stock's rows or the price level."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from gogooku3.features import compute
from gogooku3.features.catalog import CATALOG, FEATURE_NAMES
from gogooku3.features.compute import compute_features
from gogooku3.features.price_grid import STALE_DAYS

PRICES = ["open", "high", "low", "close"]
OWN = [f.name for f in CATALOG if f.family not in ("sector", "market", "beta", "calendar")]
LOGGED = ("volume_change_1d", "volume_z_60d", "ret_volume_corr_20d", "ret_volume_1d_20d")
VARIANTS = [{}, {"sectors": 2}, {"sectors": 3, "index": True}]


def same_bits(left: pl.DataFrame, right: pl.DataFrame) -> None:
    assert_frame_equal(left, right, check_exact=True)


def rescaled(prices: pl.DataFrame, code: str, factor: float) -> pl.DataFrame:
    here = pl.col("code") == code
    return prices.with_columns(
        *(pl.when(here).then(pl.col(c) * factor).otherwise(pl.col(c)).alias(c) for c in PRICES),
        pl.when(here).then(pl.col("volume") / factor).otherwise(pl.col("volume")).alias("volume"),
    )


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10**6), cut=st.integers(5, 155))
def test_changing_or_removing_every_later_row_changes_no_bit(make_prices, variant, seed, cut) -> None:
    prices = make_prices(seed=seed, **variant)
    day = prices["date"].unique().sort()[cut]
    past = pl.col("date") <= day
    expected = compute_features(prices).filter(past)
    other = make_prices(seed=seed + 1, **variant).with_columns(pl.col("close") * 7)
    same_bits(compute_features(prices.filter(past)), expected)
    altered = pl.concat([prices.filter(past), other.filter(~past)])
    same_bits(compute_features(altered).filter(past), expected)


def test_a_later_listing_changes_no_earlier_value(make_prices) -> None:
    prices = make_prices(n_stocks=5)
    day = prices["date"].unique().sort()[80]
    newcomer = prices.filter((pl.col("code") == "S00") & (pl.col("date") > day)).with_columns(
        code=pl.lit("A")
    )
    past = pl.col("date") <= day
    same_bits(
        compute_features(pl.concat([prices, newcomer])).filter(past), compute_features(prices).filter(past)
    )


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("factor", [2.0**-7, 2.0**10])
def test_rescaling_a_history_by_a_power_of_two_changes_no_bit_of_scale_free_arithmetic(
    make_prices, variant, factor
) -> None:
    prices = make_prices(seed=3, **variant)
    # Logs of rescaled volumes round differently; everything else is exact.
    exact = [name for name in FEATURE_NAMES if name not in LOGGED]
    columns = ["date", "code", *exact]
    left, right = compute_features(prices), compute_features(rescaled(prices, "S02", factor))
    same_bits(right.select(columns), left.select(columns))
    assert_frame_equal(right, left, rel_tol=1e-5, abs_tol=1e-6)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.floats(0.001, 1000))
def test_rescaling_a_history_changes_features_only_by_rounding(make_prices, seed, factor) -> None:
    prices = make_prices(seed=seed, sectors=2)
    assert_frame_equal(
        compute_features(rescaled(prices, "S01", factor)),
        compute_features(prices),
        rel_tol=1e-5,
        abs_tol=1e-6,
    )


@pytest.mark.parametrize("factor", [7.0, 1 / 3, 1.1])
@pytest.mark.parametrize("dtype", [pl.Float64, pl.Float32])
def test_prices_of_whole_ticks_may_be_rescaled_although_equal_moves_then_differ_in_binary(
    make_prices, factor, dtype
) -> None:
    # A tick is about 1 % of the price, so that equal moves and equal returns are frequent.
    prices = make_prices(seed=5, sectors=2).with_columns(pl.col(PRICES).mul(0.1).round(1))
    ticks = prices.with_columns(pl.col(PRICES).cast(dtype))
    scaled = rescaled(prices, "S01", factor).with_columns(pl.col(PRICES).cast(dtype))
    assert_frame_equal(compute_features(scaled), compute_features(ticks), rel_tol=1e-3, abs_tol=1e-4)


def test_a_stock_affects_others_only_through_market_and_sector(make_prices) -> None:
    prices = make_prices()
    factor = pl.when(pl.col("code") == "S00").then(1 + pl.col("date").dt.day() % 3).otherwise(1)
    changed = compute_features(prices.with_columns(pl.col("close") * factor))
    others, columns = pl.col("code") != "S00", ["date", "code", *OWN]
    same_bits(changed.filter(others).select(columns), compute_features(prices).filter(others).select(columns))


def test_with_an_index_and_separate_sectors_a_stock_affects_no_other(make_prices) -> None:
    prices = make_prices(index=True, sectors=6)
    one = prices.filter(pl.col("code") == "S00")
    calendar = compute_features(one)
    same_bits(calendar, compute_features(prices).filter(pl.col("code") == "S00"))


def test_the_order_of_rows_changes_nothing(make_prices) -> None:
    prices = make_prices(sectors=2)
    same_bits(compute_features(prices.sample(fraction=1, shuffle=True, seed=1)), compute_features(prices))


def test_the_block_size_changes_nothing(make_prices, monkeypatch) -> None:
    prices = make_prices()
    expected = compute_features(prices)
    monkeypatch.setattr(compute, "BLOCK_CELLS", 1)
    same_bits(compute_features(prices), expected)


def test_no_feature_looks_further_back_than_its_lookback(make_prices) -> None:
    longest = max(feature.lookback for feature in CATALOG) + STALE_DAYS
    prices = make_prices(n_days=longest + 60, n_stocks=2, dirt=0.0)
    days = prices["date"].unique().sort()
    tail = prices.filter(pl.col("date") >= days[-longest - 1])
    last = pl.col("date") == days[-1]
    same_bits(compute_features(tail).filter(last), compute_features(prices).filter(last))


def test_a_bad_tick_leaves_no_trace_after_the_window_or_the_decay(
    make_prices,
) -> None:
    prices = make_prices(n_days=700, n_stocks=2, dirt=0.0)
    days = prices["date"].unique().sort()
    tick = (pl.col("code") == "S01") & (pl.col("date") == days[60])
    ticked = prices.with_columns(
        pl.when(tick).then(pl.col(c) * 1000).otherwise(pl.col(c)).alias(c) for c in PRICES
    )
    clean, dirty = compute_features(prices), compute_features(ticked)
    rolling = [f.name for f in CATALOG if f.family != "technical"]
    later = pl.col("date") > days[60 + 260]
    same_bits(dirty.filter(later).select(rolling), clean.filter(later).select(rolling))
    much_later = pl.col("date") > days[680]
    assert_frame_equal(dirty.filter(much_later), clean.filter(much_later), rel_tol=1e-5, abs_tol=1e-6)


def test_the_clip_limits_the_effect_of_a_bad_tick_on_volatility(make_prices) -> None:
    prices = make_prices(n_stocks=1, dirt=0.0)
    days = prices["date"].unique().sort()
    ticked = prices.with_columns(
        pl.when(pl.col("date") == days[100])
        .then(pl.col("close") * 1e6)
        .otherwise(pl.col("close"))
        .alias("close")
    )
    volatility = compute_features(ticked)["vol_20d"].drop_nulls()
    assert volatility.max() < 0.3


def test_indicators_skip_missing_days(make_prices) -> None:
    prices = make_prices(n_days=120, n_stocks=2, dirt=0.0)
    days = prices["date"].unique().sort()
    hole = (pl.col("code") == "S01") & pl.col("date").is_between(days[60], days[62])
    squeezed = prices.filter(~hole)
    dense = squeezed.filter(pl.col("code") == "S01")
    technical = [f.name for f in CATALOG if f.family == "technical"]
    alone = compute_features(
        dense.with_columns(date=pl.lit(dt.date(2020, 1, 1)) + pl.duration(days=pl.int_range(pl.len())))
    )
    same_bits(
        compute_features(squeezed).filter(pl.col("code") == "S01").select(technical), alone.select(technical)
    )


def test_no_value_is_infinite_or_nan(make_prices) -> None:
    flat = make_prices(n_stocks=2, dirt=0.0).with_columns(
        pl.when(pl.col("code") == "S01").then(10.0).otherwise(pl.col(c)).alias(c) for c in PRICES
    )
    for prices in (
        make_prices(seed=9),
        flat,
        flat.with_columns(volume=pl.lit(0.0)),
        flat.with_columns(volume=None),
    ):
        values = compute_features(prices).select(FEATURE_NAMES)
        for column in values:
            assert column.is_finite().all(ignore_nulls=True), column.name
            assert column.dtype == pl.Float32
            assert not np.isinf(column.to_numpy()).any()
