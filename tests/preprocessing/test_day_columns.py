"""A day's columns less their means, against a slow implementation in double precision."""

import numpy as np
import pytest

from gogooku3.preprocessing.day_columns import DayColumns


def block(share_missing: float, level: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = level + rng.standard_t(4, size=(50, 9))
    values[rng.random(values.shape) < share_missing] = np.nan
    values[0, 0] = np.inf
    return values.astype(np.float32)


@pytest.mark.parametrize("share_missing", [0.0, 0.02, 0.6])
@pytest.mark.parametrize("level", [0.0, 3000.0])
def test_counts_means_variances_and_scores_equal_the_slow_implementation(
    share_missing: float, level: float
) -> None:
    values = block(share_missing, level)
    exact = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    day = DayColumns.of(values.copy())
    np.testing.assert_array_equal(day.count, np.isfinite(exact).sum(axis=0))
    np.testing.assert_allclose(day.mean.astype(np.float64) + day.drift, np.nanmean(exact, axis=0), atol=1e-5)
    np.testing.assert_allclose(day.variance, np.nanvar(exact, axis=0), rtol=1e-4)
    scores = day.standardize()
    slow = (exact - np.nanmean(exact, axis=0)) / np.nanstd(exact, axis=0)
    np.testing.assert_allclose(scores, np.nan_to_num(slow), atol=2e-4)
    np.testing.assert_array_equal(np.sort(day.cells), np.flatnonzero(~np.isfinite(values)))


def test_a_strided_block_is_not_modified_and_gives_the_same_bits() -> None:
    values = block(0.02, 10.0)
    wide = np.full((50, 20), np.nan, np.float32)
    wide[:, 3:12] = values
    before = wide.copy()
    one, other = DayColumns.of(values), DayColumns.of(wide[:, 3:12])
    np.testing.assert_array_equal(wide, before)
    assert np.shares_memory(one.values, values)
    np.testing.assert_array_equal(one.values, other.values)


def test_a_column_without_values_has_count_and_mean_0() -> None:
    day = DayColumns.of(np.full((4, 1), np.nan, np.float32))
    assert (day.count[0], day.mean[0], day.variance[0]) == (0, 0, 0)
    assert not day.standardize().any()


@pytest.mark.parametrize("value", [1e20, 3.4e38])
def test_a_column_whose_squares_overflow_counts_as_constant(value: float) -> None:
    values = block(0.02, 10.0)
    plain = DayColumns.of(values.copy())
    values[3:5, 4] = value
    day = DayColumns.of(values)
    assert (day.count[4], day.mean[4], day.variance[4]) == (plain.count[4], 0, 0)
    scores, others = day.standardize(), np.arange(9) != 4
    assert not scores[:, 4].any()
    np.testing.assert_array_equal(scores[:, others], plain.standardize()[:, others])
