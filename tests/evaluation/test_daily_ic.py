"""Daily correlations against the array functions and scipy."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.evaluation.metrics import information_coefficient, rank_information_coefficient


def test_every_day_equals_scipy_on_its_known_pairs(market):
    result = daily_ic(market.with_columns(pl.col("prediction").round(1)))
    rows = market.filter(model="lightgbm", horizon=5).with_columns(pl.col("prediction").round(1))
    assert result.columns == [
        "model",
        "horizon",
        "fold",
        "date",
        "ic",
        "rank_ic",
        "hit_rate",
        "n",
        "is_constant",
    ]
    for day in result.filter(model="lightgbm", horizon=5).iter_rows(named=True):
        pairs = rows.filter(date=day["date"]).drop_nulls("target")
        x, y = pairs["prediction"].to_numpy(), pairs["target"].to_numpy().astype(float)
        assert day["ic"] == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-10)
        assert day["rank_ic"] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-10)
        assert day["n"] == len(pairs)


def test_the_average_day_equals_the_array_functions(market):
    rows = market.filter(model="atft_gat_fan", horizon=1)
    result = daily_ic(rows)
    arrays = rows["prediction"].to_numpy(), rows["target"].to_numpy(), rows["date"].to_numpy()
    assert result["ic"].mean() == pytest.approx(information_coefficient(*arrays), abs=1e-12)
    assert result["rank_ic"].mean() == pytest.approx(rank_information_coefficient(*arrays), abs=1e-12)


def test_days_without_a_target_have_no_row_and_small_or_constant_days_are_null(market):
    rows = market.filter(model="lightgbm", horizon=1)
    days = rows["date"].unique().sort()
    first, second, last = pl.col("date") == days[0], pl.col("date") == days[1], days[-1]
    altered = rows.filter(~first | pl.col("code").is_in(["1300", "1301"])).with_columns(
        pl.when(second).then(0.1).otherwise("prediction").alias("prediction")
    )
    result = daily_ic(altered)
    assert last not in result["date"].to_list()
    assert result.head(2).select("ic", "rank_ic", "n").rows() == [(None, None, 2), (None, None, 20)]
    assert result["ic"][2:].null_count() == 0


def test_the_order_of_rows_changes_nothing(market):
    assert_frame_equal(daily_ic(market), daily_ic(market.sample(fraction=1.0, shuffle=True, seed=3)))


def test_horizons_models_and_folds_are_kept_apart(market):
    result = daily_ic(market)
    assert result.group_by("model", "horizon", "fold").len().height == 3 * 2 * 2
    assert np.all(result["n"].to_numpy() == 20)
