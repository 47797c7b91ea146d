"""Probability of overfitting against a slow reimplementation, and on noise, skill and overfitting."""

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata

from gogooku3.errors import DataError
from gogooku3.evaluation.overfitting import configurations, probability_of_overfitting
from gogooku3.evaluation.portfolio import portfolio_returns


def _slow_twin(returns: np.ndarray, blocks: int) -> tuple[float, float]:
    """The paper's procedure, split by split."""
    parts = np.split(returns, blocks)
    logits, losses = [], []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.vstack([parts[block] for block in chosen])
        outside = np.vstack([part for block, part in enumerate(parts) if block not in chosen])
        best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1)))
        sharpe = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        share = rankdata(sharpe)[best] / (returns.shape[1] + 1)
        logits.append(np.log(share / (1 - share)))
        losses.append(sharpe[best] < 0)
    return float(np.mean(np.array(logits) <= 0)), float(np.mean(losses))


@pytest.mark.parametrize(("n", "blocks"), [(2, 4), (7, 8), (10, 10)])
def test_it_equals_the_procedure_of_the_paper(n, blocks):
    returns = np.random.default_rng(n).normal(0.0003, 0.01, size=(blocks * 12, n))
    result = probability_of_overfitting(returns, blocks)
    assert (result.probability, result.loss) == pytest.approx(_slow_twin(returns, blocks))


def test_noise_has_a_probability_of_about_one_half():
    probabilities = [
        probability_of_overfitting(np.random.default_rng(seed).normal(size=(160, 10)), 8).probability
        for seed in range(40)
    ]
    assert np.mean(probabilities) == pytest.approx(0.5, abs=0.1)


def test_lasting_skill_has_a_probability_near_zero():
    returns = np.random.default_rng(1).normal(0.0, 0.01, size=(480, 10))
    returns[:, 3] += 0.004
    result = probability_of_overfitting(returns)
    assert result.probability < 0.01 and result.loss < 0.01
    assert result.n_splits == 12_870 and result.outside > 3


def test_profit_on_single_blocks_has_a_probability_near_one():
    # Each configuration profits in one block and loses in the others.
    returns = 0.001 * np.random.default_rng(2).normal(size=(80, 8)) - 0.01
    for block in range(8):
        returns[block * 10 : block * 10 + 10, block] += 0.08
    result = probability_of_overfitting(returns, 8)
    assert result.probability > 0.95 and result.chosen > result.outside


def test_equal_configurations_share_their_rank():
    # All ranks are (3 + 1) / 2 = 2 of 4, the median, which the paper counts as overfitted.
    same = np.repeat(np.random.default_rng(3).normal(size=(40, 1)), 3, axis=1)
    assert probability_of_overfitting(same, 4).probability == 1.0


@pytest.mark.parametrize(
    ("returns", "blocks", "match"),
    [
        (np.ones((40, 1)), 4, "2 or more"),
        (np.ones(40), 4, "2 or more"),
        (np.full((40, 2), np.nan), 4, "missing on some day"),
        (np.ones((40, 2)), 5, "even number"),
        (np.ones((7, 2)), 4, "7 days are too few"),
    ],
)
def test_invalid_returns_or_blocks_are_refused(returns, blocks, match):
    with pytest.raises(DataError, match=match):
        probability_of_overfitting(returns, blocks)


def test_every_model_of_every_run_is_a_configuration_and_duplicates_count_once(market):
    books = portfolio_returns(market)
    changed = books.with_columns(
        pl.when(pl.col("model") == "atft_gat_fan").then(pl.col("net") * 0.5).otherwise("net").alias("net")
    )
    later = changed.filter(pl.col("date") > books["date"].min())
    names, returns = configurations({"first": books, "second": later}, 5)
    assert names == ["first: atft_gat_fan", "first: lightgbm", "second: atft_gat_fan"]
    expected = books.filter(model="lightgbm", horizon=5).sort("date")["net"][1:]
    assert returns[:, 1].tolist() == expected.to_list()
    assert np.allclose(returns[:, 0], 2 * returns[:, 2])


def test_runs_without_a_common_day_cannot_be_compared(market):
    books = portfolio_returns(market)
    with pytest.raises(DataError, match="share no test day"):
        configurations({"a": books.filter(fold=0), "b": books.filter(fold=1)}, 5)
    with pytest.raises(DataError, match="predicts 7 days ahead"):
        configurations({"a": books}, 7)
