"""Prices that are equal in decimals are equal: no comparison, rank or count depends on their last digits."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from gogooku3.features.catalog import FEATURE_NAMES
from gogooku3.features.compute import compute_features
from gogooku3.schema import OHLCV

PRICES = [name for name in OHLCV if name != "volume"]
FACTORS = [7.0, 1 / 3, 1.1]
DAYS = 270
"""All 139 features are known on the last ones."""


def tick_market(tick: float, seed: int, n_stocks: int = 4, moves: float = 0.6) -> pl.DataFrame:
    """Random walks of a few whole ticks a day around 100 ticks: full of ties."""
    rng = np.random.default_rng(seed)
    shape = (DAYS, n_stocks)
    close = np.maximum(100 + np.cumsum(rng.normal(scale=moves, size=shape).round(), axis=0), 30)
    open_ = close + rng.integers(-2, 3, shape)
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    ticks = (open_, high + rng.integers(0, 3, shape), low - rng.integers(0, 3, shape), close)
    days = np.datetime64("2020-01-01") + np.arange(DAYS)
    columns = {name: (values * tick).round(2).ravel() for name, values in zip(PRICES, ticks, strict=True)}
    return pl.DataFrame(
        {
            "date": np.repeat(days, n_stocks),
            "code": [f"S{stock}" for stock in range(n_stocks)] * DAYS,
            **columns,
            "volume": 100.0 * rng.integers(0, 6, shape).ravel(),
            "sector": ["one"] * close.size,
        }
    )


def rescaled(prices: pl.DataFrame, factor: float) -> pl.DataFrame:
    """The same market after the prices of S1 were multiplied, and its volume divided."""
    scale = pl.when(pl.col("code") == "S1").then(factor).otherwise(1.0)
    return prices.with_columns(pl.col(PRICES) * scale, pl.col("volume") / scale)


@pytest.mark.parametrize("tick", [1.0, 0.1, 0.05])
@pytest.mark.parametrize("seed", [2, 5])
def test_rescaling_prices_of_whole_ticks_moves_none_of_the_139_features(tick, seed) -> None:
    prices = tick_market(tick, seed)
    expected = compute_features(prices)
    assert all(expected[name].count() for name in FEATURE_NAMES)
    for factor in FACTORS:
        assert_frame_equal(compute_features(rescaled(prices, factor)), expected, rel_tol=1e-5, abs_tol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_rescaling_float32_prices_moves_features_by_their_rounding_only(seed) -> None:
    prices = tick_market(0.1, seed, n_stocks=8, moves=1.2)
    narrow = pl.col(PRICES).cast(pl.Float32)
    expected = compute_features(prices)
    for factor in (1.0, *FACTORS):
        rounded = compute_features(rescaled(prices, factor).with_columns(narrow))
        # Float32 prices have seven digits, and an indicator of 0 to 100 divides by moves of a tick.
        assert_frame_equal(rounded, expected, rel_tol=1e-4, abs_tol=2e-3)


def candles(rows: list[tuple[float, float, float]]) -> pl.DataFrame:
    """One stock from high, low and close of each day, with a volume of 100, 200, 300, ..."""
    high, low, close = (pl.Series(values, dtype=pl.Float64) for values in zip(*rows, strict=True))
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=day) for day in range(len(rows))]
    volume = pl.Series([100.0 * (day + 1) for day in range(len(rows))])
    return pl.DataFrame(
        {"date": days, "code": "A", "open": close, "high": high, "low": low, "close": close, "volume": volume}
    )


def last(prices: pl.DataFrame) -> dict[str, float | None]:
    return compute_features(prices).row(-1, named=True)


def test_an_upward_and_a_downward_move_of_one_tick_cancel() -> None:
    # In binary, 10.3 - 10.2 is more than 10.1 - 10.0 and 10.2 - 10.1 less.
    rows = [(10.2 + 0.1 * (day % 2), 10.1 - 0.1 * (day % 2), 10.15) for day in range(40)]
    got = last(candles(rows))
    assert (got["plus_di_14d"], got["minus_di_14d"], got["adx_14d"]) == (0.0, 0.0, 0.0)


def test_a_typical_price_that_is_equal_in_decimals_moves_no_money() -> None:
    # Typical prices: 10.2, 10.2, then up to 10.3; in binary, the sums of the first two differ.
    rows = [(10.3, 10.1, 10.2), (10.4, 10.0, 10.2)] * 10 + [(10.4, 10.2, 10.3)]
    assert last(candles(rows))["mfi_14d"] == 100.0
    assert last(candles(rows[:-1]))["mfi_14d"] is None


@pytest.fixture(name="adjusted")
def adjusted_fixture() -> pl.DataFrame:
    """One stock whose price of 100 never changed, adjusted with factors that round in float32."""
    noise = np.random.default_rng(0).uniform(-1e-7, 1e-7, (90, 4))
    flat = candles([(100.0, 100.0, 100.0)] * 90)
    return flat.with_columns(
        pl.Series(name, 100 * (1 + noise[:, number])) for number, name in enumerate(PRICES)
    )


def test_a_price_unchanged_but_for_rounding_is_unchanged(adjusted) -> None:
    got = last(adjusted)
    assert got["zero_return_share_60d"] == 1 and got["up_share_20d"] == 0 and got["streak_10d"] == 0
    assert got["signed_volume_20d"] == 0 and got["ret_1d"] == 0 and got["vol_60d"] == 0
    assert got["aroon_up_25d"] == got["aroon_down_25d"] == 100


def test_rounding_is_no_range_no_spread_and_no_denominator(adjusted) -> None:
    got = last(adjusted)
    names = ["rsi_14d", "stoch_k_14d", "williams_r_14d", "cci_20d", "plus_di_14d", "ultimate_28d", "mfi_14d",
             "bollinger_b_20d", "close_z_10d", "gap_z_20d", "ret_z_1d_20d", "body_1d", "range_position_5d",
             "range_ratio_1d_20d", "skew_60d", "efficiency_20d", "amihud_20d", "info_ratio_60d"]  # fmt: skip
    assert [got[name] for name in names] == [None] * len(names)


def test_a_market_that_moves_only_by_rounding_neither_falls_nor_is_beaten() -> None:
    # One stock rises 1 % a day, one falls 1 %: the mean of the three returns is 0 in decimals only.
    frames = []
    for code, growth in {"A": 1.01, "B": 0.99, "C": 1.0}.items():
        rows = [(price, price, price) for price in (100 * growth**day for day in range(62))]
        frames.append(candles(rows).with_columns(code=pl.lit(code)))
    got = compute_features(pl.concat(frames)).tail(3)
    assert got["beat_market_share_20d"].to_list() == [1.0, 0.0, 0.0]
    assert got["down_capture_60d"].to_list() == [None, None, None]


def test_returns_equal_in_decimals_share_the_rank_in_their_sector() -> None:
    # 1 % in four ways; in float32 prices they differ in the last digits.
    pairs = {
        "A": (100.0, 101.0),
        "B": (0.3, 0.303),
        "C": (7.1, 7.171),
        "D": (123.4, 124.634),
        "E": (1.0, 2.0),
    }
    frames = [
        candles([(p, p, p) for p in pair]).with_columns(code=pl.lit(code)) for code, pair in pairs.items()
    ]
    prices = pl.concat(frames).with_columns(pl.col(PRICES).cast(pl.Float32))
    ranks = compute_features(prices)["sector_rank_ret_1d"].to_list()[5:]
    assert ranks == pytest.approx([0.4, 0.4, 0.4, 0.4, 0.9])
