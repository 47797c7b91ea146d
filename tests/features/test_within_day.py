"""Comparisons within a day and group, against slow implementations."""

import numpy as np
import pytest

from gogooku3.features.within_day import group_quantile, less_group_mean

SOME = np.float32([0, -0.0, 1, -1, 2.5, -3, np.nan, np.inf, -np.inf, 6e-7, -6e-7, 1e-5, 3e38])


def each_group(values: np.ndarray, group: np.ndarray):
    """The cells of each day and group."""
    for day in range(len(values)):
        for number in range(group.max() + 1):
            cells = np.flatnonzero((group[day] == number) & np.isfinite(values[day]))
            if len(cells):
                yield day, cells


def slow_quantiles(own: np.ndarray) -> np.ndarray:
    """Neighbours within 1e-6 are ties, and so are their neighbours."""
    tie = np.empty(len(own))
    tie[np.argsort(own)] = np.cumsum(np.diff(np.sort(own), prepend=own.min()) > 1e-6)
    below = (tie[None] < tie[:, None]).sum(axis=1)
    return (below + (tie[None] == tie[:, None]).sum(axis=1) / 2) / len(own)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (37, 9)])
def test_ranks_and_means_depend_only_on_the_day_and_group(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, group = rng.choice(SOME, shape), rng.integers(-1, 3, shape).astype(np.int32)
    ranks, means = np.full(shape, np.nan), np.full(shape, np.nan)
    for day, cells in each_group(values, group):
        own = values[day, cells].astype(np.float64)
        ranks[day, cells] = slow_quantiles(own)
        # Added in order, since the bits must match.
        means[day, cells] = own - np.cumsum(own)[-1] / len(own)
    np.testing.assert_array_equal(group_quantile(values, group), ranks)
    np.testing.assert_array_equal(less_group_mean(values, group), means)


def test_values_that_differ_by_rounding_share_their_rank() -> None:
    equal = 101.3 / 100.3 - 1
    scaled = np.float32(101.3) * np.float32(7) / (np.float32(100.3) * np.float32(7)) - np.float32(1)
    assert np.float32(equal) != scaled
    values = np.float32([[equal, scaled, 0.5, -0.5, np.nan]])
    np.testing.assert_array_equal(
        group_quantile(values, np.zeros((1, 5), np.int32)), [[0.5, 0.5, 0.875, 0.125, np.nan]]
    )


def test_returns_within_a_millionth_of_the_next_share_one_rank() -> None:
    one_tick = [101 / 100 - 1, 707 / 700 - 1, float(np.float32(0.01)), 0.01 + 4e-7]
    values = np.float32([[*one_tick, 0.02, 0.0]])
    ranks = group_quantile(values, np.zeros((1, 6), np.int32))
    np.testing.assert_allclose(ranks, [[0.5, 0.5, 0.5, 0.5, 11 / 12, 1 / 12]])


def test_a_tie_ends_where_the_group_or_the_known_values_end() -> None:
    values = np.float32([[0.01, 0.01, np.nan, 0.01], [0.01, np.nan, 0.03, 0.02]])
    group = np.int32([[0, 1, 0, 0], [0, 0, 0, -1]])
    ranks = group_quantile(values, group)
    np.testing.assert_array_equal(ranks, [[0.5, 0.5, np.nan, 0.5], [0.25, np.nan, 0.75, np.nan]])
