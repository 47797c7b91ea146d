"""Rolling kernels against a slow, obvious implementation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gogooku3.features.rolling import (
    days_since_max,
    ema_terms,
    exponential_sum,
    rolling_max,
    rolling_sum,
    seeded_ema,
    shift,
)


def column(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 2))


@given(n=st.integers(1, 40), window=st.integers(1, 50))
def test_sums_and_maxima_equal_the_slow_implementation(n: int, window: int) -> None:
    values = column(n)
    slices = [values[max(0, day - window + 1) : day + 1] for day in range(n)]
    np.testing.assert_allclose(rolling_sum(values, window), [s.sum(axis=0) for s in slices], atol=1e-12)
    np.testing.assert_array_equal(rolling_max(values, window), [s.max(axis=0) for s in slices])


@given(window=st.integers(1, 30))
def test_a_window_depends_only_on_its_own_days(window: int) -> None:
    values = column(60)
    changed = values.copy()
    changed[:20] = 1e300
    np.testing.assert_array_equal(
        rolling_sum(changed, window)[20 + window :], rolling_sum(values, window)[20 + window :]
    )
    np.testing.assert_array_equal(
        rolling_sum(values[10:], window)[window:], rolling_sum(values, window)[10 + window :]
    )


@given(n=st.integers(1, 30), window=st.integers(1, 12))
def test_days_since_the_maximum_equal_the_slow_implementation(n: int, window: int) -> None:
    values = column(n).round(0)
    for day in range(n):
        got = days_since_max(values, window)[day]
        if day < window - 1:
            assert np.isnan(got).all()
        else:
            backwards = values[day - window + 1 : day + 1][::-1]
            np.testing.assert_array_equal(got, backwards.argmax(axis=0))


def test_an_exponential_sum_equals_the_recursion_up_to_its_tolerance() -> None:
    values, alpha = column(900), 1 / 14
    slow = np.zeros_like(values)
    for day in range(len(values)):
        slow[day] = values[day] + (1 - alpha) * slow[day - 1] if day else values[day]
    np.testing.assert_allclose(exponential_sum(values, alpha), slow, rtol=1e-10, atol=1e-12)


def test_an_exponential_mean_drops_days_after_its_terms() -> None:
    values = column(800)
    changed = values.copy()
    changed[:100] = 1e200
    alpha = 2 / 27
    after = 100 + ema_terms(alpha)
    np.testing.assert_array_equal(
        exponential_sum(changed, alpha)[after:], exponential_sum(values, alpha)[after:]
    )


def test_an_exponential_mean_needs_its_first_bars() -> None:
    assert np.isnan(seeded_ema(column(5), 14, 13)).all()


@pytest.mark.parametrize("days", [0, 1, 5, 9])
def test_a_shift_beyond_the_data_is_all_nan(days: int) -> None:
    got = shift(column(5), days)
    assert got.shape == (5, 2) and np.isnan(got[:days]).all()
