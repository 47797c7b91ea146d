"""A small market with a known signal, as a prediction table."""

import datetime as dt
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
import pytest

MakeTable = Callable[..., pl.DataFrame]
STRENGTHS = {"atft_gat_fan": 1.0, "lightgbm": 0.5, "oracle": 1e6}


def weekdays(n_days: int, start: dt.date = dt.date(2024, 1, 1)) -> list[dt.date]:
    days = (start + dt.timedelta(days=offset) for offset in range(2 * n_days + 7))
    return [day for day in days if day.weekday() < 5][:n_days]


def _make_table(
    n_stocks: int = 20,
    n_days: int = 120,
    n_folds: int = 2,
    horizons: tuple[int, ...] = (1, 5),
    strengths: Mapping[str, float] = STRENGTHS,
    signal: float = 0.004,
    seed: int = 0,
) -> pl.DataFrame:
    """Predictions are `strength x signal + noise` of a lasting cross-sectional signal; returns are
    `signal x 0.004 + noise`. Targets past the last day are null."""
    rng = np.random.default_rng(seed)
    shape = (n_days, n_stocks)
    score = np.repeat(rng.normal(size=(-(-n_days // 10), n_stocks)), 10, axis=0)[:n_days]
    returns = signal * score + 0.02 * rng.normal(size=shape)
    level = np.vstack([np.zeros(n_stocks), np.cumsum(np.log1p(returns), axis=0)])
    folds = np.arange(n_days) * n_folds // n_days
    frames = []
    for horizon in horizons:
        target = np.full(shape, np.nan)
        known = n_days - horizon
        target[:known] = np.expm1(level[horizon : horizon + known] - level[:known])
        for model, strength in strengths.items():
            frames.append(
                pl.DataFrame(
                    {
                        "date": np.repeat(np.array(weekdays(n_days), dtype="datetime64[D]"), n_stocks),
                        "code": [f"{1300 + stock}" for stock in range(n_stocks)] * n_days,
                        "fold": np.repeat(folds, n_stocks).astype(np.int32),
                        "model": model,
                        "horizon": np.full(n_days * n_stocks, horizon, dtype=np.int32),
                        "prediction": (strength * score + rng.normal(size=shape)).ravel(),
                        "target": target.ravel().astype(np.float32),
                    }
                )
            )
    return pl.concat(frames).with_columns(pl.col("target").fill_nan(None))


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    return _make_table


@pytest.fixture(scope="session")
def market(make_table: MakeTable) -> pl.DataFrame:
    """Two models and an oracle, horizons 1 and 5, two folds of 60 days, 20 stocks."""
    return make_table()
