"""Standard errors and intervals against slow reimplementations, formulas and simulations."""

import numpy as np
import pytest
from scipy import stats

from gogooku3.errors import DataError
from gogooku3.evaluation.significance import (
    deflated_sharpe,
    mean_test,
    paired_difference,
    probabilistic_sharpe,
    sharpe_interval,
)

NAN = float("nan")
RNG = np.random.default_rng(11)


def _overlapping(n: int, horizon: int, mean: float, rng: np.random.Generator) -> np.ndarray:
    """Means of `horizon` consecutive draws, with the autocorrelation of overlapping targets."""
    noise = rng.normal(size=n + horizon - 1)
    return mean + np.convolve(noise, np.ones(horizon) / horizon, mode="valid")


def test_the_standard_error_equals_the_cosine_estimator_written_out():
    series = RNG.normal(size=200).cumsum() * 0.01
    result = mean_test(series, horizon=5)
    transforms = [
        sum(np.sqrt(2 / 200) * series[t] * np.cos(np.pi * j * (t + 0.5) / 200) for t in range(200))
        for j in range(1, 9)
    ]
    error = np.sqrt(sum(value**2 for value in transforms) / 8 / 200)
    half = stats.t.ppf(0.975, 8) * error
    assert (result.terms, result.n) == (8, 200)
    assert result.standard_error == pytest.approx(error, rel=1e-9)
    assert result.t == pytest.approx(series.mean() / error, rel=1e-9)
    assert result.interval == pytest.approx((series.mean() - half, series.mean() + half), rel=1e-9)


@pytest.mark.parametrize(("n", "horizon", "terms"), [(100, 1, 8), (500, 20, 6), (155, 20, 4), (40, 5, 4)])
def test_series_that_are_short_for_their_horizon_have_fewer_terms(n, horizon, terms):
    assert mean_test(RNG.normal(size=n), horizon).terms == terms


def test_the_error_of_overlapping_days_is_far_larger_than_the_plain_one():
    series = _overlapping(2000, 20, 0.0, np.random.default_rng(4))
    plain = series.std(ddof=1) / np.sqrt(2000)
    assert mean_test(series, 20).standard_error > 3 * plain


@pytest.mark.parametrize("series", [[], [1.0], [0.3] * 100, [1.0, 2.0] * 7])
def test_too_few_days_or_no_spread_have_no_t_and_no_interval(series):
    test = mean_test(series)
    assert np.isnan(test.t) and np.isnan(test.interval).all()


def test_missing_days_are_dropped():
    values = RNG.normal(size=40)
    assert mean_test([*values[:20], NAN, *values[20:]]) == mean_test(values)


def test_the_sharpe_interval_of_independent_returns_has_the_width_of_lo():
    widths = []
    for seed in range(40):
        series = np.random.default_rng(seed).normal(0.001, 0.01, size=800)
        low, high = sharpe_interval(series)
        assert low < series.mean() / series.std(ddof=1) * np.sqrt(252) < high
        widths.append(high - low)
    assert np.mean(widths) == pytest.approx(2 * stats.t.ppf(0.975, 8) * np.sqrt(252 / 800), rel=0.1)


def test_too_few_returns_or_no_spread_have_no_sharpe_interval():
    assert np.isnan(sharpe_interval(RNG.normal(size=39), horizon=20)).all()
    for constant in ([], [0.0] * 100, [0.1] * 100, [-1 / 3] * 100):
        assert np.isnan(sharpe_interval(constant)).all()


def _persistent(n: int, rng: np.random.Generator) -> np.ndarray:
    """Autoregressive days around 0 with a coefficient of 0.9."""
    noise = rng.normal(size=n + 100)
    for day in range(1, n + 100):
        noise[day] += 0.9 * noise[day - 1]
    return noise[100:]


WORLDS = {
    "independent days": lambda rng: (rng.normal(size=500), 1),
    "targets of 5 days": lambda rng: (_overlapping(500, 5, 0.0, rng), 5),
    "targets of 20 days": lambda rng: (_overlapping(500, 20, 0.0, rng), 20),
    "a persistent signal": lambda rng: (_persistent(500, rng), 1),
    "a persistent signal, targets of 20 days": lambda rng: (
        np.convolve(_persistent(519, rng), np.ones(20) / 20, mode="valid"),
        20,
    ),
}


@pytest.mark.parametrize("name", WORLDS)
def test_intervals_of_95_percent_cover_between_92_and_98_percent_of_worlds(name):
    rng = np.random.default_rng(6)
    tests = [mean_test(*WORLDS[name](rng)) for _ in range(600)]
    covered = np.mean([test.interval[0] <= 0.0 <= test.interval[1] for test in tests])
    assert 0.92 <= covered <= 0.98


def test_a_paired_difference_is_more_powerful_than_two_intervals():
    rng = np.random.default_rng(8)
    common = rng.normal(size=300)
    first, second = common + 0.05 + 0.1 * rng.normal(size=300), common + 0.1 * rng.normal(size=300)
    test = paired_difference(first, second)
    low, high = test.interval
    assert test.mean == pytest.approx((first - second).mean())
    assert test.t > 3 and 0 < low < test.mean < high
    assert abs(mean_test(first).t) < 2


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
