"""Sentences and rows of text; no claim goes beyond its interval."""

import copy

import polars as pl
import pytest

from gogooku3.evaluation.scores import score_predictions
from gogooku3.reporting.tables import headline_rows, part_rows, portfolio_rows, scoring_notes, verdict


@pytest.fixture(scope="module")
def scores(market):
    return score_predictions(market)


def _with(scores, **values):
    changed = copy.deepcopy(scores)
    for model in ("atft_gat_fan", "lightgbm"):
        changed["models"][model]["horizons"]["5"]["pooled"].update(values)
    return changed


def test_there_is_a_row_for_each_model_and_horizon_with_the_oracle_last(scores):
    rows = headline_rows(scores)
    assert [(row["Model"], row["Horizon"]) for row in rows] == [
        (model, horizon)
        for model in ("atft_gat_fan", "lightgbm", "oracle")
        for horizon in ("1 day", "5 days")
    ]
    assert all(isinstance(cell, str) for row in rows for cell in row.values())
    oracle = scores["models"]["oracle"]["horizons"]["1"]["pooled"]["mean_ic"]
    assert rows[0]["Oracle IC"] == rows[2]["Oracle IC"] == f"{oracle:+.4f}"
    assert rows[-1]["Oracle IC"] == "-"


def test_without_an_oracle_there_is_no_column_for_it(market):
    rows = headline_rows(score_predictions(market.filter(pl.col("model") != "oracle")))
    assert "Oracle IC" not in rows[0]


def test_an_undefined_score_is_a_dash(scores):
    row = headline_rows(_with(scores, sharpe_net=None, ic_interval=None))[1]
    assert (row["Sharpe net"], row["95% interval"]) == ("-", "-")


def test_every_fold_has_its_row(scores):
    assert len(part_rows(scores, "folds")) == 3 * 2 * 2
    assert {row["Fold"] for row in part_rows(scores, "folds")} == {"0", "1"}
    assert {row["Year"] for row in part_rows(scores, "years")} == {"2024"}


def test_both_portfolios_of_every_model_have_a_row_and_unknown_columns_are_omitted(scores):
    rows = portfolio_rows(scores)
    assert len(rows) == 2 * 2 * 2 and {row["Model"] for row in rows} == {"atft_gat_fan", "lightgbm"}
    assert not {"Capacity", "Size tilt", "Sector tilt"} & set(rows[0])
    priced = copy.deepcopy(scores)
    pooled = priced["models"]["lightgbm"]["horizons"]["5"]["pooled"]
    pooled["exposure"]["capacity"] = 12_300_000.0
    row = next(r for r in portfolio_rows(priced) if (r["Model"], r["Horizon"]) == ("lightgbm", "5 days"))
    assert row["Capacity"] == "12.3M" and "Size tilt" not in row
    assert row["Sharpe"] == f"{pooled['sharpe_net']:+.2f}"


def test_the_verdict_claims_what_its_intervals_exclude(scores):
    sure = _with(
        scores, mean_ic=0.05, ic_interval=[0.01, 0.09], sharpe_net=2.0, sharpe_net_interval=[0.5, 3.0]
    )
    assert verdict(sure)[0] == "Evidence of skill, and of profit after costs."
    assert "significant skill 5 days ahead (mean IC +0.0500" in verdict(sure)[2]
    assert "is significantly profitable after costs of 10 bp" in verdict(sure)[2]


def test_profit_that_is_not_significant_is_reported_as_such(scores):
    insignificant = _with(scores, ic_interval=[0.01, 0.09], sharpe_net=2.0, sharpe_net_interval=[-0.5, 3.0])
    assert verdict(insignificant)[0] == "Evidence of skill, but not of profit after costs."
    assert "after costs of 10 bp per trade is not significant" in verdict(insignificant)[2]
    costly = _with(insignificant, sharpe_gross=1.0, sharpe_net=-1.0, sharpe_net_interval=[-3.0, 0.5])
    assert "Costs of 10 bp per trade exceed the profit" in verdict(costly)[2]


def test_an_interval_around_zero_is_no_evidence_of_skill(scores):
    unsure = _with(scores, ic_interval=[-0.01, 0.09])
    assert verdict(unsure)[0] == "No evidence of skill: the results are consistent with chance."
    assert "no significant skill 5 days ahead" in verdict(unsure)[2]
    wrong = verdict(_with(scores, ic_interval=[-0.09, -0.01]))
    assert wrong[0] == "Evidence against the models: they rank the wrong way."
    assert "significantly wrong ranking" in wrong[2]
    losing = verdict(_with(scores, ic_interval=[0.01, 0.09], sharpe_net_interval=[-3.0, -0.5]))
    assert losing[0] == "Evidence of skill, but the portfolios lose money after costs."


def test_models_without_scores_have_a_sentence(scores):
    blank = _with(scores, mean_ic=None, ic_interval=None, sharpe_gross=None, sharpe_net=None)
    assert "too few scored days" in verdict(blank)[2]
    assert "no Sharpe ratio" in verdict(blank)[2]


@pytest.mark.parametrize(
    ("difference", "interval", "claim"),
    [
        (0.02, [0.01, 0.03], "atft_gat_fan is significantly better than lightgbm"),
        (-0.02, [-0.03, -0.01], "lightgbm is significantly better than atft_gat_fan"),
        (0.02, [-0.01, 0.05], "do not differ significantly"),
    ],
)
def test_two_models_are_ranked_only_if_their_difference_is_significant(scores, difference, interval, claim):
    changed = copy.deepcopy(scores)
    for pair in changed["comparisons"]:
        pair["ic"].update(difference=difference, interval=interval)
    assert claim in verdict(changed)[-1]


@pytest.fixture(scope="module")
def averaged(make_table):
    strengths = {"lightgbm": 0.9, "oracle": 1e6, "linear": 0.8, "rank_average": 1.1, "atft_gat_fan": 1.0}
    return score_predictions(make_table(strengths=strengths))


def test_the_rank_average_follows_the_models_and_the_oracle_is_last(averaged):
    order = ["atft_gat_fan", "lightgbm", "linear", "rank_average", "oracle"]
    assert list(dict.fromkeys(row["Model"] for row in headline_rows(averaged))) == order
    assert list(dict.fromkeys(row["Model"] for row in part_rows(averaged, "folds"))) == order
    assert [sentence.split(":")[0] for sentence in verdict(averaged)[2:6]] == order[:4]


def test_the_rank_average_is_compared_last_and_only_if_significant(averaged):
    changed = copy.deepcopy(averaged)
    for pair in changed["comparisons"]:
        pair["ic"].update(difference=-0.02, interval=[-0.05, 0.01])
    first, *others = verdict(changed)[6:]
    assert len(others) == 2 and all("rank_average" not in sentence for sentence in others)
    assert first.startswith("lightgbm and atft_gat_fan do not differ significantly at 5 days")
    for pair in changed["comparisons"]:
        if (pair["first"], pair["second"]) == ("lightgbm", "rank_average"):
            pair["ic"].update(difference=-0.02, interval=[-0.03, -0.01])
    *models, average = verdict(changed)[6:]
    assert len(models) == 3 and all("do not differ significantly" in sentence for sentence in models)
    assert average.startswith("rank_average is significantly better than lightgbm at 5 days: mean IC")
    assert "difference of +0.0200 (95% interval +0.0100 to +0.0300)" in average


def test_the_oracle_is_summarised_only_if_it_is_the_only_model(market, scores):
    assert not any(sentence.startswith("oracle") for sentence in verdict(scores))
    only_oracle = score_predictions(market.filter(model="oracle"))
    assert verdict(only_oracle)[2].startswith("oracle: ")


def test_a_synthetic_market_is_named_right_after_the_summary(market, scores):
    assert "not evidence for a real market" in verdict(scores)[1]
    real = score_predictions(market.filter(pl.col("model") != "oracle"))
    assert not any("synthetic" in sentence for sentence in verdict(real))


def test_constant_predictions_are_called_constant(market):
    flat = market.filter(model="lightgbm").with_columns(prediction=pl.lit(0.5))
    summary, model = verdict(score_predictions(flat))
    assert summary == "No ranking to score: the predictions are constant."
    assert "constant predictions on 115 days and a ranking on 0, 5 days ahead" in model


def test_what_the_portfolios_assume_is_noted(scores):
    # The last day of the market has no row, and every other return is known.
    assert scoring_notes(scores) == []
    some = _with(scores, unknown_returns=3, delisted_positions=2)
    some["settings"] |= {"delisting_return": -0.3, "periods_per_year": 50.4, "spacing_days": 5}
    some["prices"] = {"predictions": 100, "without_price": 5, "compared": 90, "different": 1}
    assert scoring_notes(some) == [
        "6 positions had no known return on a day and earn 0 there; prices may have it.",
        "4 positions were held when their stock traded for the last time; they earn -30% from its last close "
        "(evaluation.delisting_return).",
        "5 of 100 predictions have no price.",
        "1 of 90 returns differ between prices and targets; those positions are traded at the close and earn "
        "the targets.",
        "The table has a date every 5 trading days: portfolios are held in periods of that length, 50.4 a "
        "year.",
    ]
