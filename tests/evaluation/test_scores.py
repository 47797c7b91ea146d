"""Scores of tables with and without a planted signal, in any row order, and in JSON."""

import json

import numpy as np
import polars as pl
import pytest

from gogooku3.errors import ConfigError, DataError
from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.evaluation.metrics import annualised_sharpe, compute_max_drawdown
from gogooku3.evaluation.portfolio import one_day_returns, portfolio_returns
from gogooku3.evaluation.scores import score_predictions


@pytest.fixture(scope="module")
def scores(market):
    return score_predictions(market)


def test_the_scores_survive_json_unchanged(scores):
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_the_order_of_rows_changes_no_score(market, scores):
    assert score_predictions(market.sample(fraction=1.0, shuffle=True, seed=2)) == scores


def test_a_planted_signal_is_significant_and_ordered_by_strength(scores):
    by_model = {name: entry["horizons"]["5"]["pooled"] for name, entry in scores["models"].items()}
    for block in by_model.values():
        assert block["ic_interval"][0] > 0 and block["ic_tstat"] > 3 and block["positive_days"] > 0.6
    assert (
        by_model["oracle"]["mean_ic"] > by_model["atft_gat_fan"]["mean_ic"] > by_model["lightgbm"]["mean_ic"]
    )


def test_noise_is_seldom_significant(make_table):
    claims = []
    for seed in range(7):
        table = make_table(n_days=80, n_folds=1, strengths={"a": 0.0, "b": 0.0}, signal=0.0, seed=seed)
        for entry in score_predictions(table)["models"].values():
            low, high = entry["horizons"]["5"]["pooled"]["ic_interval"]
            claims.append(low > 0 or high < 0)
    assert np.mean(claims) <= 0.25


def test_pooled_and_fold_scores_are_those_of_their_daily_series(market, scores):
    returns = portfolio_returns(market).filter(model="lightgbm", horizon=5)
    daily = daily_ic(market).filter(model="lightgbm", horizon=5)
    blocks = scores["models"]["lightgbm"]["horizons"]["5"]
    for block, folds in [(blocks["pooled"], [0, 1]), (blocks["folds"]["1"], [1])]:
        net = returns.filter(pl.col("fold").is_in(folds))["net"]
        ic = daily.filter(pl.col("fold").is_in(folds))["ic"]
        assert block["sharpe_net"] == pytest.approx(annualised_sharpe(net), abs=1e-9)
        assert block["max_drawdown_net"] == pytest.approx(compute_max_drawdown(net), abs=1e-12)
        assert block["annual_return_net"] == pytest.approx((1 + net).product() ** (252 / len(net)) - 1)
        assert block["mean_ic"] == pytest.approx(ic.mean())
        assert block["icir"] == pytest.approx(ic.mean() / ic.std())
        assert block["n_days"] == len(ic) and block["portfolio_days"] == len(net)
        assert block["sharpe_gross"] > block["sharpe_net"] and block["turnover"] > 0


def test_the_headline_is_the_pooled_net_sharpe_next_to_the_best_fold(scores):
    entry = scores["models"]["lightgbm"]
    blocks = entry["horizons"]["5"]
    assert scores["settings"]["headline_horizon"] == 5
    assert entry["pooled_sharpe_net"] == blocks["pooled"]["sharpe_net"]
    assert entry["best_fold_sharpe"] == max(fold["sharpe_net"] for fold in blocks["folds"].values())
    assert blocks["folds"][str(entry["best_fold"])]["sharpe_net"] == entry["best_fold_sharpe"]
    assert entry["best_fold_sharpe_gross"] == max(fold["sharpe_gross"] for fold in blocks["folds"].values())


def test_all_models_are_scored_on_the_same_rows(market):
    missing = (pl.col("model") == "lightgbm") & (pl.col("code") < "1305")
    result = score_predictions(market.filter(~missing))
    assert result["rows"]["lost_by_model"]["atft_gat_fan"] == 120 * 5 * 2
    assert result["rows"]["lost_by_model"]["lightgbm"] == 0
    n_rows = {entry["horizons"]["5"]["pooled"]["n_rows"] for entry in result["models"].values()}
    assert n_rows == {115 * 15}
    assert result["rows"]["shared"] == 120 * 15 * 2


def test_the_difference_of_two_models_is_tested_day_by_day(market, scores):
    pair = next(each for each in scores["comparisons"] if each["horizon"] == 1)
    assert (pair["first"], pair["second"]) == ("atft_gat_fan", "lightgbm")
    ics = daily_ic(market).filter(horizon=1)
    means = [ics.filter(model=name)["ic"].mean() for name in ("atft_gat_fan", "lightgbm")]
    assert pair["ic"]["difference"] == pytest.approx(means[0] - means[1])
    assert pair["ic"]["interval"][0] < pair["ic"]["difference"] < pair["ic"]["interval"][1]
    assert {each["horizon"] for each in scores["comparisons"]} == {1, 5}


def test_the_rank_average_is_compared_last_and_costs_no_row(market, make_table):
    names = {"atft_gat_fan": 1.0, "zoo": 0.5, "rank_average": 0.8}
    table = make_table(strengths=names)
    result = score_predictions(table)
    pairs = [(each["first"], each["second"]) for each in result["comparisons"] if each["horizon"] == 5]
    assert pairs == [("atft_gat_fan", "zoo"), ("atft_gat_fan", "rank_average"), ("zoo", "rank_average")]
    fewer = table.filter((pl.col("model") == "atft_gat_fan") | (pl.col("code") != "1300"))
    assert score_predictions(fewer)["rows"]["lost_by_model"] == {
        "atft_gat_fan": 120 * 2,
        "rank_average": 0,
        "zoo": 0,
    }


def test_costs_change_only_the_net_figures(market, scores):
    free = score_predictions(market, cost_bps=0.0)["models"]["lightgbm"]["horizons"]["5"]["pooled"]
    costly = scores["models"]["lightgbm"]["horizons"]["5"]["pooled"]
    assert free["sharpe_net"] == free["sharpe_gross"] == costly["sharpe_gross"]
    assert costly["sharpe_net"] < free["sharpe_net"]


def test_constant_predictions_have_no_score_and_no_profit(market):
    flat = market.filter(model="lightgbm").with_columns(prediction=pl.lit(0.0))
    block = score_predictions(flat)["models"]["lightgbm"]["horizons"]["5"]["pooled"]
    assert block["mean_ic"] is None and block["ic_interval"] is None and block["sharpe_net"] is None
    assert block["turnover"] == 0.0 and block["n_days"] == 0


def test_a_table_without_any_target_has_null_scores(market):
    unknown = market.with_columns(pl.lit(None, pl.Float32).alias("target"))
    entry = score_predictions(unknown)["models"]["lightgbm"]
    assert entry["pooled_sharpe_net"] is None and entry["best_fold"] is None


def test_the_headline_horizon_follows_a_fixed_rule(market):
    assert score_predictions(market.filter(horizon=1))["settings"]["headline_horizon"] == 1
    assert score_predictions(market, headline_horizon=1)["settings"]["headline_horizon"] == 1
    with pytest.raises(ConfigError, match="headline_horizon is 7, but the predictions have 1, 5"):
        score_predictions(market, headline_horizon=7)


def test_daily_returns_replace_missing_one_day_targets(market, scores):
    only = market.filter(horizon=5)
    with pytest.raises(DataError, match="daily_returns"):
        score_predictions(only)
    result = score_predictions(only, daily_returns=one_day_returns(market))
    assert result["models"]["lightgbm"]["horizons"]["5"] == scores["models"]["lightgbm"]["horizons"]["5"]


def test_years_are_scored_like_folds(make_table):
    table = make_table(n_days=300, n_folds=1)
    blocks = score_predictions(table)["models"]["lightgbm"]["horizons"]["5"]
    assert list(blocks["years"]) == ["2024", "2025"]
    first_year = score_predictions(table.filter(pl.col("date").dt.year() == 2024))["models"]["lightgbm"]
    assert blocks["years"]["2024"]["mean_ic"] == first_year["horizons"]["5"]["pooled"]["mean_ic"]
    assert blocks["years"]["2024"]["n_days"] + blocks["years"]["2025"]["n_days"] == 295
    assert blocks["folds"]["0"]["mean_ic"] == blocks["pooled"]["mean_ic"]


def test_earlier_trials_lower_the_deflated_sharpe_and_duplicates_count_once(market, scores):
    own = scores["models"]["lightgbm"]
    assert scores["trials"]["n"] == 2
    again = [entry["pooled_sharpe_net"] / np.sqrt(252) for entry in scores["models"].values()][:2]
    assert score_predictions(market, earlier_sharpes=again)["trials"]["n"] == 2
    tried = score_predictions(market, earlier_sharpes=[-0.3, 0.0, 0.3])
    assert tried["trials"]["n"] == 5
    deflated = tried["models"]["lightgbm"]["deflated_sharpe"]
    assert deflated < own["deflated_sharpe"] <= own["horizons"]["5"]["pooled"]["probabilistic_sharpe"]
    assert tried["models"]["oracle"]["deflated_sharpe"] is None


def test_the_long_leg_is_compared_with_holding_every_stock(market, scores):
    block = scores["models"]["oracle"]["horizons"]["5"]["pooled"]
    long = portfolio_returns(market, side="long_only").filter(model="oracle", horizon=5)
    average = one_day_returns(market).group_by("date").agg(pl.col("return").mean())
    both = long.join(average, on="date")
    excess = both["net"] - both["return"]
    annual = [(1 + both[name]).product() ** (252 / len(both)) - 1 for name in ("net", "return")]
    assert block["long_only"]["annual_excess_net"] == pytest.approx(annual[0] - annual[1])
    assert block["long_only"]["information_ratio"] == pytest.approx(annualised_sharpe(excess))
    assert abs(block["exposure"]["market_beta"]) < 0.3, "long and short cancel the market"


def test_the_hit_rate_rises_with_the_strength_of_the_signal(market, scores):
    by_model = {
        name: entry["horizons"]["5"]["pooled"]["hit_rate"] for name, entry in scores["models"].items()
    }
    assert by_model["oracle"] > by_model["atft_gat_fan"] > by_model["lightgbm"] > 0.5
