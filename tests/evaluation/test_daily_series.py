"""How long predictions stay good: a signal that lives one day, and one that lives ten."""

import numpy as np
import polars as pl
import pytest

from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.evaluation.daily_series import DECAY_LAGS, daily_series, decay


def test_the_first_day_of_the_decay_is_the_daily_rank_ic(market):
    series = daily_series(market)
    fading = decay(series, 1).filter(model="lightgbm", lag=1)
    expected = daily_ic(market).filter(model="lightgbm", horizon=1)
    assert fading["rank_ic"].to_list() == expected["rank_ic"].to_list()


def test_a_prediction_of_tomorrow_alone_says_nothing_about_the_day_after(make_table):
    table = make_table(strengths={"m": 1.0}, horizons=(1,), n_stocks=60)
    told = table.with_columns(pl.col("target").fill_null(0.0).alias("prediction"))
    fading = decay(daily_series(told), 1)
    means = {lag: fading.filter(lag=lag)["rank_ic"].mean() for lag in DECAY_LAGS}
    assert means[1] == pytest.approx(1.0, abs=0.02)
    assert all(abs(means[lag]) < 0.1 for lag in DECAY_LAGS[1:])
    # The table's signal is drawn anew every ten days: a prediction is good for five of them on average.
    noisy = decay(daily_series(table), 1)
    assert noisy.filter(lag=5)["rank_ic"].mean() > 0.04 > noisy.filter(lag=20)["rank_ic"].mean()


def test_a_lag_counts_trading_days_and_ends_with_the_data(make_table):
    table = make_table(strengths={"m": 1.0}, horizons=(1,), n_days=30, n_folds=1)
    fading = decay(daily_series(table), 1)
    days = table["date"].unique().sort()
    for lag in DECAY_LAGS:
        # The last day has no return yet.
        assert fading.filter(lag=lag)["date"].to_list() == days[: 30 - lag].to_list()
    targets = {(row["date"], row["code"]): row["target"] for row in table.iter_rows(named=True)}
    first = table.filter(date=days[0]).sort("code")
    later = [targets[days[4], code] for code in first["code"]]
    ranks = [np.argsort(np.argsort(values)) for values in (first["prediction"], later)]
    assert fading.filter(lag=5)["rank_ic"][0] == pytest.approx(np.corrcoef(*ranks)[0, 1])
