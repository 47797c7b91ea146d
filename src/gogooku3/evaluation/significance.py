"""Standard errors and intervals for the mean or Sharpe ratio of an autocorrelated daily series.

Targets over `h` days overlap in `h - 1` days with the next day's, and signals persist, so plain standard
errors are too small.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from gogooku3.errors import DataError
from gogooku3.evaluation.metrics import PERIODS_PER_YEAR
from gogooku3.evaluation.portfolio_weights import Floats

_NORMAL = NormalDist()
_LEVEL = 0.95
_MIN_DAYS = 16
"""Fewest values for a standard error."""
_MIN_TERMS, _MAX_TERMS = 4, 8
"""Cosine terms, the degrees of freedom: fewer where the series is short for its horizon."""


@dataclass(frozen=True)
class MeanTest:
    """A mean with its standard error, t and 95 % interval; NaN if the series is too short or constant."""

    mean: float
    standard_error: float
    t: float
    interval: tuple[float, float]
    n: int
    terms: int
    """Degrees of freedom of `t`."""


def mean_test(series: npt.ArrayLike, horizon: int = 1) -> MeanTest:
    """Test a daily series' mean against zero, allowing for autocorrelation.

    The long-run variance is the mean square of the first `B` cosine transforms of the series (equal-weighted
    cosine estimator), `(1/B) sum_j (sqrt(2/n) sum_t x_t cos(pi j (t - 1/2) / n))^2`, and `t` has `B` degrees
    of freedom (Lazarus, Lewis, Stock and Watson, 2018). `B` is `n / (4 horizon)`, at least 4 and at most 8.
    Unlike Newey-West with normal quantiles, the interval covers 95 % for persistent series too; its coverage
    in simulated worlds is in the documentation of the report.

    Args:
        series: `[days]` in time order; missing values are dropped.
        horizon: future days covered by each value.

    >>> test = mean_test([0.01, 0.02, 0.03, 0.02] * 30)
    >>> round(test.mean, 3), test.terms, 0.015 < test.interval[0] < 0.02 < test.interval[1] < 0.025
    (0.02, 8, True)
    """
    values = _finite(series)
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < max(_MIN_DAYS, 2 * horizon):
        return MeanTest(mean, float("nan"), float("nan"), (float("nan"), float("nan")), n, 0)
    terms = min(max(n // (4 * horizon), _MIN_TERMS), _MAX_TERMS)
    error = _standard_error(values - mean, terms)
    if error <= 1e-12 * float(np.abs(values).max()):
        return MeanTest(mean, error, float("nan"), (float("nan"), float("nan")), n, terms)
    return MeanTest(mean, error, mean / error, _interval(mean, error, terms), n, terms)


def sharpe_interval(
    returns: npt.ArrayLike, horizon: int = 1, periods_per_year: float = PERIODS_PER_YEAR
) -> tuple[float, float]:
    """95 % interval of the annualised Sharpe ratio `S`, allowing for autocorrelation, skewness and fat tails.

    By the delta method, the error of `S` per period is that of the mean of `z - S (z^2 - 1) / 2`, where `z`
    are the standardised returns (Lo, 2002); `mean_test` gives that error. (NaN, NaN) if the series is too
    short or constant.

    Args:
        returns: `[days]` in time order; missing values are dropped.
        horizon: days each position is held.
        periods_per_year: returns per year.

    >>> low, high = sharpe_interval([0.02] * 40 + [-0.01] * 40 + [0.01, -0.01] * 20)
    >>> low < 252**0.5 * 0.2 < high
    True
    """
    values = _finite(returns)
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if spread <= 1e-12 * float(np.abs(values).max(initial=0.0)):
        return float("nan"), float("nan")
    z = (values - values.mean()) / spread
    sharpe = float(values.mean()) / spread
    test = mean_test(z - sharpe * (z**2 - 1.0) / 2.0, horizon)
    low, high = _interval(sharpe, test.standard_error, max(test.terms, 1))
    return low * periods_per_year**0.5, high * periods_per_year**0.5


def paired_difference(first: npt.ArrayLike, second: npt.ArrayLike, horizon: int = 1) -> MeanTest:
    """`mean_test` of `first - second`.

    Both series have the same days in the same order; a day missing in either is dropped. Common variation
    cancels, so this is more powerful than comparing two intervals.

    Raises:
        DataError: the series differ in length.

    >>> round(paired_difference([0.2, 0.3, 0.1], [0.1, 0.1, 0.1]).mean, 3)
    0.1
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise DataError(
            f"paired series have {a.shape[0]} and {b.shape[0]} days; join them by date before comparing"
        )
    return mean_test(a - b, horizon)


def _standard_error(centred: Floats, terms: int) -> float:
    """Standard error of the mean of a centred series from its first cosine transforms."""
    n = len(centred)
    time = (np.arange(n) + 0.5) / n
    cosines = np.cos(np.pi * np.outer(np.arange(1, terms + 1), time))
    transforms = np.sqrt(2.0 / n) * cosines @ centred
    return float(np.sqrt((transforms**2).mean() / n))


def _interval(middle: float, error: float, terms: int) -> tuple[float, float]:
    half = float(stdtrit(terms, (1.0 + _LEVEL) / 2.0)) * error
    return middle - half, middle + half


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
