"""Comparisons within a day and group, against slow implementations."""

import numpy as np
import pytest

from gogooku3.features.within_day import group_quantile, less_group_mean

SOME = np.float32([0, -0.0, 1, -1, 2.5, -3, np.nan, np.inf, -np.inf, 1e-5, -1e-5, 3e38])


def each_group(values: np.ndarray, group: np.ndarray):
    """The cells of each day and group."""
    for day in range(len(values)):
        for number in range(group.max() + 1):
            cells = np.flatnonzero((group[day] == number) & np.isfinite(values[day]))
            if len(cells):
                yield day, cells


def test_values_that_differ_by_rounding_share_their_rank() -> None:
    equal = 101.3 / 100.3 - 1
    scaled = np.float32(101.3) * np.float32(7) / (np.float32(100.3) * np.float32(7)) - np.float32(1)
    assert np.float32(equal) != scaled
    values = np.float32([[equal, scaled, 0.5, -0.5, np.nan]])
    np.testing.assert_array_equal(
        group_quantile(values, np.zeros((1, 5), np.int32)), [[0.5, 0.5, 0.875, 0.125, np.nan]]
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (37, 9)])
def test_ranks_and_means_depend_only_on_the_day_and_group(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, group = rng.choice(SOME, shape), rng.integers(-1, 3, shape).astype(np.int32)
    ranks, means = np.full(shape, np.nan), np.full(shape, np.nan)
    for day, cells in each_group(values, group):
        own = values[day, cells].astype(np.float64)
        below = (own[None] < own[:, None]).sum(axis=1)
        ranks[day, cells] = (below + (own[None] == own[:, None]).sum(axis=1) / 2) / len(own)
        # Added in order, since the bits must match.
        means[day, cells] = own - np.cumsum(own)[-1] / len(own)
    np.testing.assert_array_equal(group_quantile(values, group), ranks)
    np.testing.assert_array_equal(less_group_mean(values, group), means)
