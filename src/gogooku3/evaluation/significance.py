"""Standard errors and intervals for the mean or Sharpe ratio of an autocorrelated daily series.

Targets over `h` days overlap in `h - 1` days with the next day's, so plain standard errors are too small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from gogooku3.errors import DataError
from gogooku3.evaluation.metrics import PERIODS_PER_YEAR
from gogooku3.evaluation.portfolio_weights import Floats

_NORMAL = NormalDist()
_MIN_SPREAD = 1e-5
"""Relative spread below which a resample counts as constant; rounding alone gives about 1e-7."""


@dataclass(frozen=True)
class MeanTest:
    """A mean with its Newey-West standard error and t; NaN if the series is too short or constant."""

    mean: float
    standard_error: float
    t: float
    n: int
    lag: int


def newey_west(series: npt.ArrayLike, horizon: int = 1) -> MeanTest:
    """Test a daily series' mean against zero, allowing for autocorrelation (Newey and West, 1987).

    Bartlett weights up to lag `max(horizon - 1, floor(4 (n / 100)^(2/9)))`, at most `n - 1`: the overlap of
    the targets, or the rule of thumb of Newey and West (1994) if that is longer. Missing values are dropped.

    Args:
        series: `[days]` in time order.
        horizon: future days covered by each value.

    >>> test = newey_west([1.0, 3.0, 1.0, 3.0, 2.0])
    >>> test.mean, test.lag
    (2.0, 2)
    """
    values = _finite(series)
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return MeanTest(mean, float("nan"), float("nan"), n, 0)
    lag = min(max(horizon - 1, int(4 * (n / 100) ** (2 / 9))), n - 1)
    centred = values - mean
    variance = float(centred @ centred)
    for shift in range(1, lag + 1):
        weight = 1.0 - shift / (lag + 1)
        variance += 2.0 * weight * float(centred[shift:] @ centred[:-shift])
    error = np.sqrt(max(variance, 0.0)) / n
    is_constant = error <= 1e-12 * float(np.abs(values).max())
    t = float("nan") if is_constant else mean / error
    return MeanTest(mean, float(error), float(t), n, lag)


def bootstrap_interval(
    series: npt.ArrayLike,
    horizon: int = 1,
    statistic: Literal["mean", "sharpe"] = "mean",
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of a daily series' mean or annualised Sharpe ratio from a circular block bootstrap.

    Blocks of `max(horizon, ceil(n^(1/3)))` consecutive days, wrapping at the end of the series, are drawn
    with replacement (Politis and Romano, 1992), which preserves dependence within a block. The interval has
    the percentiles of `draws` resamples. Missing values are dropped; fewer days than two blocks give
    (NaN, NaN).

    Args:
        series: `[days]` in time order.
        horizon: future days covered by each value.
        level: coverage probability.

    >>> low, high = bootstrap_interval([0.01, 0.02, 0.03, 0.02] * 30)
    >>> 0.015 < low < 0.02 < high < 0.025
    True
    """
    values = _finite(series)
    n = len(values)
    block = max(horizon, int(np.ceil(n ** (1 / 3))))
    if n < 2 * block:
        return float("nan"), float("nan")
    means, squares = _resampled_means(np.stack([values, values**2]), block, draws, seed)
    if statistic == "sharpe":
        spread = np.sqrt(np.maximum(squares - means**2, 0.0) * n / (n - 1))
        varies = spread > _MIN_SPREAD * np.abs(means)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(varies, means / spread * np.sqrt(PERIODS_PER_YEAR), np.nan)
        if np.isnan(means).any():
            return float("nan"), float("nan")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled_means(values: Floats, block: int, draws: int, seed: int) -> Floats:
    """Means of circular block resamples of `[series, days]`, by cumulative sums: `[series, draws]`."""
    n = values.shape[1]
    whole, rest = divmod(n, block)
    sums = np.cumsum(np.concatenate([np.zeros((len(values), 1)), values, values], axis=1), axis=1)
    full = sums[:, block : block + n] - sums[:, :n]
    starts = np.random.default_rng(seed).integers(n, size=(draws, whole + 1))
    total = full[:, starts[:, :-1]].sum(axis=2)
    # The last block is shorter, so that every resample has exactly n days.
    cut = sums[:, rest : rest + n] - sums[:, :n]
    means: Floats = (total + cut[:, starts[:, -1]]) / n
    return means


def paired_difference(
    first: npt.ArrayLike, second: npt.ArrayLike, horizon: int = 1, seed: int = 0
) -> tuple[MeanTest, tuple[float, float]]:
    """Newey-West test and 95 % bootstrap interval of the mean of `first - second`.

    Both series have the same days in the same order; a day missing in either is dropped. Common variation
    cancels, so this is more powerful than comparing two intervals.

    Raises:
        DataError: the series differ in length.

    >>> test, _ = paired_difference([0.2, 0.3, 0.1], [0.1, 0.1, 0.1])
    >>> round(test.mean, 3)
    0.1
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise DataError(
            f"paired series have {a.shape[0]} and {b.shape[0]} days; join them by date before comparing"
        )
    difference = a - b
    return newey_west(difference, horizon), bootstrap_interval(difference, horizon, seed=seed)


def probabilistic_sharpe(returns: npt.ArrayLike, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds a benchmark, allowing for skewness and fat tails.

    `Phi((SR - SR*) sqrt(n - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2))`, all per period
    (Bailey and Lopez de Prado, 2012). Missing returns are dropped. NaN for fewer than 3 returns or
    constant returns.

    Args:
        returns: `[days]`.
        benchmark: Sharpe ratio per period (an annual one divided by sqrt(252)).

    >>> round(probabilistic_sharpe([0.02, -0.01, 0.01, 0.0, 0.01]), 3)
    0.831
    """
    values = _finite(returns)
    spread = float(values.std(ddof=1)) if len(values) > 2 else 0.0
    if spread <= 1e-12 * float(np.abs(values).max(initial=0.0)):
        return float("nan")
    sharpe = float(values.mean()) / spread
    z = (values - values.mean()) / values.std()
    skew, kurtosis = float((z**3).mean()), float((z**4).mean())
    error = np.sqrt((1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe**2) / (len(values) - 1))
    return _NORMAL.cdf((sharpe - benchmark) / float(error))


def deflated_sharpe(returns: npt.ArrayLike, trial_sharpes: Sequence[float]) -> float:
    """Probability that the true Sharpe ratio exceeds the expected best of trials without skill.

    The benchmark of `probabilistic_sharpe` is the expected maximum of `N` trials without skill,
    `sd ((1 - g) Phi^-1(1 - 1/N) + g Phi^-1(1 - 1/(N e)))`, with the Euler-Mascheroni constant `g`
    (Bailey and Lopez de Prado, 2014). With one trial, the benchmark is 0.

    Args:
        returns: `[days]` of the selected strategy.
        trial_sharpes: Sharpe ratios per period of all trials, including the selected one.

    >>> returns = [0.02, -0.01, 0.01, 0.0, 0.01]
    >>> deflated_sharpe(returns, [0.5]) == probabilistic_sharpe(returns)
    True
    >>> deflated_sharpe(returns, [0.1, 0.5]) < probabilistic_sharpe(returns)
    True
    """
    trials = _finite(trial_sharpes)
    if len(trials) < 2:
        return probabilistic_sharpe(returns)
    n, g = len(trials), np.euler_gamma
    expected = (1 - g) * _NORMAL.inv_cdf(1 - 1 / n) + g * _NORMAL.inv_cdf(1 - 1 / (n * np.e))
    return probabilistic_sharpe(returns, float(trials.std(ddof=1)) * expected)


def _finite(series: npt.ArrayLike) -> Floats:
    values = np.asarray(series, dtype=np.float64)
    finite: Floats = values[np.isfinite(values)]
    return finite
