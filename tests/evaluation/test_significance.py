"""Standard errors and intervals against slow reimplementations, formulas and simulations."""

import numpy as np
import pytest
from scipy import stats

from gogooku3.errors import DataError
from gogooku3.evaluation.significance import (
    bootstrap_interval,
    deflated_sharpe,
    newey_west,
    paired_difference,
    probabilistic_sharpe,
)

NAN = float("nan")
RNG = np.random.default_rng(11)


def _overlapping(n: int, horizon: int, mean: float, rng: np.random.Generator) -> np.ndarray:
    """Means of `horizon` consecutive draws, with the autocorrelation of overlapping targets."""
    noise = rng.normal(size=n + horizon - 1)
    return mean + np.convolve(noise, np.ones(horizon) / horizon, mode="valid")


def test_newey_west_equals_its_formula_written_out():
    series = RNG.normal(size=60).cumsum() * 0.01
    result = newey_west(series, horizon=8)
    centred = series - series.mean()
    gamma = [sum(centred[i] * centred[i - k] for i in range(k, 60)) / 60 for k in range(8)]
    variance = gamma[0] + 2 * sum((1 - k / 8) * gamma[k] for k in range(1, 8))
    assert (result.lag, result.n) == (7, 60)
    assert result.standard_error == pytest.approx(np.sqrt(variance / 60), rel=1e-12)
    assert result.t == pytest.approx(series.mean() / np.sqrt(variance / 60), rel=1e-12)


@pytest.mark.parametrize(("n", "horizon", "lag"), [(100, 1, 4), (500, 1, 5), (500, 20, 19), (10, 20, 9)])
def test_the_lag_covers_the_overlap_and_the_rule_of_thumb(n, horizon, lag):
    assert newey_west(RNG.normal(size=n), horizon).lag == lag


def test_the_error_of_independent_days_is_close_to_the_plain_one():
    series = np.random.default_rng(3).normal(size=5000)
    plain = series.std(ddof=1) / np.sqrt(5000)
    assert newey_west(series).standard_error == pytest.approx(plain, rel=0.1)


def test_the_error_of_overlapping_days_is_far_larger_than_the_plain_one():
    series = _overlapping(2000, 20, 0.0, np.random.default_rng(4))
    plain = series.std(ddof=1) / np.sqrt(2000)
    assert newey_west(series, 20).standard_error > 3 * plain


@pytest.mark.parametrize("series", [[], [1.0], [0.3] * 10])
def test_too_few_days_or_no_spread_have_no_t(series):
    assert np.isnan(newey_west(series).t)


def test_missing_days_are_dropped():
    assert newey_west([1.0, NAN, 2.0, 4.0]) == newey_west([1.0, 2.0, 4.0])


def test_the_interval_equals_that_of_a_slow_resampling():
    series = RNG.normal(size=50)
    starts = np.random.default_rng(9).integers(50, size=(200, 50 // 7 + 1))
    means = []
    for draw in starts:
        days = [(start + step) % 50 for start in draw for step in range(7)][:50]
        means.append(series[days].mean())
    expected = np.quantile(means, [0.025, 0.975])
    result = bootstrap_interval(series, horizon=7, draws=200, seed=9)
    assert result == pytest.approx(tuple(expected), abs=1e-12)


def test_the_sharpe_interval_contains_the_sharpe_ratio_and_is_seeded():
    series = np.random.default_rng(5).normal(0.001, 0.01, size=800)
    low, high = bootstrap_interval(series, statistic="sharpe", seed=1)
    point = series.mean() / series.std(ddof=1) * np.sqrt(252)
    assert low < point < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(252 / 800), rel=0.25)
    assert (low, high) == bootstrap_interval(series, statistic="sharpe", seed=1)
    assert (low, high) != bootstrap_interval(series, statistic="sharpe", seed=2)


def test_the_interval_has_about_the_nominal_coverage():
    rng = np.random.default_rng(6)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_interval(_overlapping(400, 5, 0.1, rng), 5, draws=400, seed=trial)
        covered += low <= 0.1 <= high
    assert 0.85 <= covered / 200 <= 0.99


def test_fewer_than_two_blocks_or_no_spread_have_no_interval():
    assert np.isnan(bootstrap_interval(RNG.normal(size=39), horizon=20)).all()
    assert np.isnan(bootstrap_interval([], horizon=1)).all()
    for constant in (0.0, 0.1, -1 / 3):
        assert np.isnan(bootstrap_interval([constant] * 100, statistic="sharpe")).all()


def test_a_paired_difference_is_more_powerful_than_two_intervals():
    rng = np.random.default_rng(8)
    common = rng.normal(size=300)
    first, second = common + 0.05 + 0.1 * rng.normal(size=300), common + 0.1 * rng.normal(size=300)
    test, (low, high) = paired_difference(first, second)
    assert test.mean == pytest.approx((first - second).mean())
    assert test.t > 3 and 0 < low < test.mean < high
    assert abs(newey_west(first).t) < 2


def test_series_of_different_lengths_are_refused():
    with pytest.raises(DataError, match="3 and 2 days; join them by date"):
        paired_difference([1, 2, 3], [1, 2])


def test_the_probabilistic_sharpe_equals_its_formula():
    series = RNG.standard_t(5, size=250) * 0.01 + 0.001
    sharpe = series.mean() / series.std(ddof=1)
    skew, kurtosis = stats.skew(series), stats.kurtosis(series, fisher=False)
    error = np.sqrt((1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2) / 249)
    expected = stats.norm.cdf((sharpe - 0.05) / error)
    assert probabilistic_sharpe(series, 0.05) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(probabilistic_sharpe([0.01, 0.01, 0.01]))
    assert np.isnan(probabilistic_sharpe([0.01, 0.02]))


def test_the_deflated_sharpe_expects_the_best_of_many_trials():
    series = np.random.default_rng(2).normal(0.001, 0.01, size=500)
    trials = np.random.default_rng(3).normal(0.0, 0.05, size=40)
    g, e = 0.5772156649015329, np.e
    best = trials.std(ddof=1) * ((1 - g) * stats.norm.ppf(1 - 1 / 40) + g * stats.norm.ppf(1 - 1 / (40 * e)))
    assert deflated_sharpe(series, trials) == pytest.approx(probabilistic_sharpe(series, best), rel=1e-9)
    # The formula is close to the simulated maximum of 40 trials without skill.
    maxima = np.random.default_rng(4).normal(size=(2000, 40)).max(axis=1).mean()
    assert best / trials.std(ddof=1) == pytest.approx(maxima, rel=0.03)
