"""IC decay of a signal that lasts one day, and of one that lasts ten."""

import numpy as np
import polars as pl
import pytest

from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.evaluation.daily_series import DECAY_LAGS, daily_series, ic_decay


def test_the_decay_at_lag_one_is_the_daily_rank_ic(market):
    series = daily_series(market)
    decay = ic_decay(series, 1).filter(model="lightgbm", lag=1)
    expected = daily_ic(market).filter(model="lightgbm", horizon=1)
    assert decay["rank_ic"].to_list() == expected["rank_ic"].to_list()


def test_a_perfect_one_day_prediction_has_no_ic_at_longer_lags(make_table):
    table = make_table(strengths={"m": 1.0}, horizons=(1,), n_stocks=60)
    perfect = table.with_columns(pl.col("target").fill_null(0.0).alias("prediction"))
    decay = ic_decay(daily_series(perfect), 1)
    means = {lag: decay.filter(lag=lag)["rank_ic"].mean() for lag in DECAY_LAGS}
    assert means[1] == pytest.approx(1.0, abs=0.02)
    assert all(abs(means[lag]) < 0.1 for lag in DECAY_LAGS[1:])
    # The signal changes every ten days, so a prediction is good for five of them on average.
    noisy = ic_decay(daily_series(table), 1)
    assert noisy.filter(lag=5)["rank_ic"].mean() > 0.04 > noisy.filter(lag=20)["rank_ic"].mean()


def test_a_lag_counts_trading_days_and_ends_with_the_data(make_table):
    table = make_table(strengths={"m": 1.0}, horizons=(1,), n_days=30, n_folds=1)
    decay = ic_decay(daily_series(table), 1)
    days = table["date"].unique().sort()
    for lag in DECAY_LAGS:
        # The last day has no return yet.
        assert decay.filter(lag=lag)["date"].to_list() == days[: 30 - lag].to_list()
    targets = {(row["date"], row["code"]): row["target"] for row in table.iter_rows(named=True)}
    first = table.filter(date=days[0]).sort("code")
    later = [targets[days[4], code] for code in first["code"]]
    ranks = [np.argsort(np.argsort(values)) for values in (first["prediction"], later)]
    assert decay.filter(lag=5)["rank_ic"][0] == pytest.approx(np.corrcoef(*ranks)[0, 1])
