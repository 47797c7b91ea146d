"""Ranks of a day equal scipy's average ranks, scaled to one byte, and depend on that day only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from gogooku3.preprocessing.day_ranks import MIDDLE_RANK, TOP_RANK, day_ranks


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000), stocks=st.integers(1, 12), present=st.floats(0.1, 1), levels=st.integers(1, 9)
)
def test_they_equal_scipys_average_ranks_with_ties_and_absent_stocks(
    seed: int, stocks: int, present: float, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, levels, size=(4, stocks, 3)).astype(np.float32)
    mask = rng.random((4, stocks)) < present
    found = day_ranks(values, mask)
    assert found.dtype == np.uint8 and (found[~mask] == MIDDLE_RANK).all()
    for day in range(4):
        own = values[day, mask[day]]
        if len(own) == 1:
            assert (found[day, mask[day]] == MIDDLE_RANK).all()
        elif len(own):
            scaled = (rankdata(own, axis=0) - 1) * TOP_RANK / (len(own) - 1)
            np.testing.assert_allclose(found[day, mask[day]], scaled, atol=0.5 + 1e-9)


def test_many_stocks_use_the_whole_byte_in_order() -> None:
    values = np.random.default_rng(0).normal(size=(1, 2000, 1))
    ranks = day_ranks(values, np.ones((1, 2000), dtype=bool))[0, :, 0]
    assert (np.diff(ranks[values[0, :, 0].argsort()].astype(int)) >= 0).all()
    assert (np.bincount(ranks) > 0).all() and len(np.bincount(ranks)) == TOP_RANK + 1


@pytest.mark.parametrize("days", [None, range(2, 4), range(0)])
def test_each_day_is_ranked_by_itself(days: range | None) -> None:
    rng = np.random.default_rng(1)
    values, mask = rng.normal(size=(5, 9, 2)), rng.random((5, 9)) < 0.8
    whole = day_ranks(values, mask)
    chosen = range(5) if days is None else days
    np.testing.assert_array_equal(day_ranks(values, mask, days), whole[chosen.start : chosen.stop])
    values[3], mask[3] = 9 * rng.normal(size=(9, 2)), True
    others = [0, 1, 2, 4]
    np.testing.assert_array_equal(day_ranks(values, mask)[others], whole[others])
