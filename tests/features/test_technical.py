"""Indicators agree with TA-Lib from its first value on."""

import numpy as np
import polars as pl
import pytest

from gogooku3.features.catalog import CATALOG
from gogooku3.features.price_grid import build_grid

talib = pytest.importorskip("talib", reason="TA-Lib, the reference for indicators, is not installed")

INDICATORS = {
    "rsi_6d": lambda o, h, lo, c, v: talib.RSI(c, 6),
    "rsi_14d": lambda o, h, lo, c, v: talib.RSI(c, 14),
    "macd_12d_26d": lambda o, h, lo, c, v: talib.MACD(c)[0] / c,
    "macd_signal_9d": lambda o, h, lo, c, v: talib.MACD(c)[1] / c,
    "macd_hist_9d": lambda o, h, lo, c, v: talib.MACD(c)[2] / c,
    "trix_15d": lambda o, h, lo, c, v: talib.TRIX(c, 15),
    "bollinger_b_20d": lambda o, h, lo, c, v: _bands(c)[0],
    "bollinger_width_20d": lambda o, h, lo, c, v: _bands(c)[1],
    "atr_14d": lambda o, h, lo, c, v: talib.ATR(h, lo, c, 14) / c,
    "stoch_k_14d": lambda o, h, lo, c, v: talib.STOCH(h, lo, c, 14, 3, 0, 3, 0)[0],
    "stoch_d_14d": lambda o, h, lo, c, v: talib.STOCH(h, lo, c, 14, 3, 0, 3, 0)[1],
    "williams_r_14d": lambda o, h, lo, c, v: talib.WILLR(h, lo, c, 14),
    "cci_20d": lambda o, h, lo, c, v: talib.CCI(h, lo, c, 20),
    "plus_di_14d": lambda o, h, lo, c, v: talib.PLUS_DI(h, lo, c, 14),
    "minus_di_14d": lambda o, h, lo, c, v: talib.MINUS_DI(h, lo, c, 14),
    "adx_14d": lambda o, h, lo, c, v: talib.ADX(h, lo, c, 14),
    "mfi_14d": lambda o, h, lo, c, v: talib.MFI(h, lo, c, v, 14),
    "aroon_up_25d": lambda o, h, lo, c, v: talib.AROON(h, lo, 25)[1],
    "aroon_down_25d": lambda o, h, lo, c, v: talib.AROON(h, lo, 25)[0],
    "ultimate_28d": lambda o, h, lo, c, v: talib.ULTOSC(h, lo, c, 7, 14, 28),
}


def _bands(close):
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2)
    return (close - lower) / (upper - lower), (upper - lower) / middle


@pytest.fixture(scope="module")
def bars(make_prices):
    return make_prices(n_days=1200, n_stocks=1, dirt=0.0, seed=4)


def test_every_indicator_has_a_reference() -> None:
    assert set(INDICATORS) == {f.name for f in CATALOG if f.family == "technical"}


@pytest.mark.parametrize("name", INDICATORS)
def test_an_indicator_agrees_with_talib(name, bars) -> None:
    feature = next(f for f in CATALOG if f.name == name)
    grid = build_grid(bars)
    ours = feature.compute(grid.block(slice(0, 1)))[:, 0]
    columns = [bars[c].to_numpy().copy() for c in ("open", "high", "low", "close", "volume")]
    theirs = INDICATORS[name](*columns)
    known = np.isfinite(theirs)
    assert known.sum() > 1100
    # Our MACD line starts before TA-Lib's, which waits for its signal; no value of ours is missing.
    assert np.isfinite(ours[known]).all()
    np.testing.assert_allclose(ours[known], theirs[known], rtol=1e-9, atol=1e-9)


def test_a_day_with_only_a_close_counts_for_close_indicators_only(bars) -> None:
    part = bars.head(100)
    gone = part.with_columns(
        pl.when(pl.int_range(pl.len()) == 90).then(None).otherwise(pl.col(c)).alias(c)
        for c in ("high", "low")
    )
    block = build_grid(gone).block(slice(0, 1))
    by_name = {f.name: f for f in CATALOG}
    assert np.isfinite(by_name["rsi_14d"].compute(block)[90, 0])
    atr = by_name["atr_14d"].compute(block)[:, 0]
    assert np.isnan(atr[90]) and np.isfinite(atr[91:]).all()
