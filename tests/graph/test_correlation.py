"""Pairwise-complete correlation: by hand, against a slow implementation, and where it is undefined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gogooku3.graph import correlation
from gogooku3.graph.correlation import default_min_overlap, masked_correlation

NAN = float("nan")


def slow_correlation(returns: NDArray[np.float64], min_overlap: int) -> NDArray[np.float64]:
    """np.corrcoef, one pair at a time."""
    n_stocks = returns.shape[1]
    result = np.full((n_stocks, n_stocks), np.nan)
    for i in range(n_stocks):
        for j in range(i + 1):
            both = np.isfinite(returns[:, i]) & np.isfinite(returns[:, j])
            x, y = returns[both, i], returns[both, j]
            if both.sum() >= min_overlap and np.ptp(x) > 0 and np.ptp(y) > 0:
                result[i, j] = result[j, i] = np.corrcoef(x, y)[0, 1]
    return result


def noise(seed: int, n_days: int, n_stocks: int, missing: float = 0.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    returns = 0.01 * rng.normal(size=(n_days, 1)) + 0.02 * rng.normal(size=(n_days, n_stocks))
    returns[rng.random(returns.shape) < missing] = np.nan
    return returns


def test_three_days_by_hand() -> None:
    # x = -1, 0, 1; y = -2, 1, 1: cov = 3, variances 2 and 6, so r = 3 / sqrt(12).
    returns = np.array([[-1.0, -2.0], [0.0, 1.0], [1.0, 1.0]])
    r = 3 / np.sqrt(12)
    np.testing.assert_allclose(masked_correlation(returns), [[1, r], [r, 1]], rtol=1e-6)


def test_a_missing_day_is_ignored_for_both_stocks_of_the_pair() -> None:
    # The fourth day would break the perfect correlation, but the first stock did not trade on it.
    returns = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [NAN, -90.0]])
    assert masked_correlation(returns)[0, 1] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("missing", "dtype"), [(0.0, np.float32), (0.01, np.float64), (0.3, np.float32)])
def test_correlations_equal_corrcoef_for_each_pair(missing: float, dtype: type) -> None:
    returns = noise(1, 60, 70, missing)
    returns[:, 7] = np.nan
    returns[:, 8] = 0.25
    returns = returns.astype(dtype)
    expected = slow_correlation(returns.astype(np.float64), 40)
    np.testing.assert_allclose(masked_correlation(returns), expected, atol=2e-7)


@given(seed=st.integers(0, 10_000), n_days=st.integers(3, 30), missing=st.floats(0, 0.6))
@settings(max_examples=40, deadline=None)
def test_correlations_equal_corrcoef_at_any_size(seed: int, n_days: int, missing: float) -> None:
    returns = noise(seed, n_days, 6, missing)
    expected = slow_correlation(returns, default_min_overlap(n_days))
    np.testing.assert_allclose(masked_correlation(returns), expected, atol=1e-6)


@given(seed=st.integers(0, 10_000), missing=st.sampled_from([0.0, 0.1, 0.4]))
@settings(max_examples=25, deadline=None)
def test_the_matrix_is_exactly_symmetric_and_within_one(seed: int, missing: float) -> None:
    result = masked_correlation(noise(seed, 20, 70, missing))
    np.testing.assert_array_equal(result, result.T)
    assert np.nanmax(np.abs(result)) <= 1.0


def test_neither_level_nor_scale_of_the_returns_matters() -> None:
    returns = noise(2, 60, 8, 0.1)
    scale = np.array([1e-6, 1e6, 1, 3, 1e-3, 50, 2, 1e4])
    np.testing.assert_allclose(
        masked_correlation(returns * scale + 7 * scale), masked_correlation(returns), atol=1e-6
    )


def test_a_pair_with_too_few_common_days_is_nan() -> None:
    returns = noise(3, 60, 2)
    returns[:10, 0] = np.nan
    returns[50:, 1] = np.nan
    assert np.isfinite(masked_correlation(returns)[0, 1])
    returns[10, 0] = np.nan
    assert np.isnan(masked_correlation(returns)[0, 1])
    assert np.isfinite(masked_correlation(returns, min_overlap=39)[0, 1])
    assert masked_correlation(returns).diagonal().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e-9, 3.7e5])
def test_a_constant_stock_has_no_correlations(constant: float) -> None:
    returns = noise(4, 60, 3)
    returns[:, 1] = constant
    result = masked_correlation(returns)
    assert np.isnan(result[1]).all() and np.isnan(result[:, 1]).all()
    assert result[0, 0] == 1.0 and np.isfinite(result[0, 2])


def test_a_stock_that_is_constant_on_the_common_days_is_nan_for_that_pair() -> None:
    returns = noise(5, 60, 3)
    returns[:45, 0] = 0.003
    returns[45:, 1] = np.nan
    result = masked_correlation(returns)
    assert np.isnan(result[0, 1]) and np.isnan(result[1, 0])
    assert np.isfinite(result[0, 2]) and np.isfinite(result[1, 2])


def test_infinite_returns_count_as_missing() -> None:
    returns = noise(6, 60, 4)
    missing = returns.copy()
    returns[3, 1], returns[4, 2] = np.inf, -np.inf
    missing[3, 1] = missing[4, 2] = np.nan
    np.testing.assert_array_equal(masked_correlation(returns), masked_correlation(missing))


@pytest.mark.parametrize("n_days", [0, 1, 2])
def test_fewer_than_three_days_give_no_correlation(n_days: int) -> None:
    assert np.isnan(masked_correlation(noise(7, n_days, 3))).all()


def test_the_input_is_not_modified() -> None:
    returns = noise(8, 30, 5, 0.2)
    before = returns.copy()
    masked_correlation(returns)
    np.testing.assert_array_equal(returns, before)


def test_the_block_size_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = noise(8, n_days=30, n_stocks=23)
    returns[3, [0, 5, 11]] = np.nan
    whole = masked_correlation(returns)
    monkeypatch.setattr(correlation, "_BLOCK", 2)
    monkeypatch.setattr(correlation, "_COMPLETE_BLOCK", 3)
    blocked = masked_correlation(returns)
    np.testing.assert_allclose(blocked, whole, atol=1e-6)
    assert np.array_equal(blocked, blocked.T)
