"""The market state: what day-wise normalisation removes, scaled by training days only."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import make_panel

from gogooku3.errors import DataError
from gogooku3.preprocessing.cross_section import PanelNormalizer
from gogooku3.preprocessing.day_columns import DayStatistics
from gogooku3.preprocessing.market_state import MarketState
from gogooku3.schema import MIN_STOCKS

E2 = math.e**2


def statistics(mean: list[list[float]], variance: list[list[float]], count: int = 50) -> DayStatistics:
    """`[days][features]`, every feature known for `count` stocks."""
    return DayStatistics(
        np.full(np.shape(mean), float(count)), np.array(mean, dtype=float), np.array(variance, dtype=float)
    )


def noise(days: int = 40, features: int = 3, seed: int = 0) -> DayStatistics:
    rng = np.random.default_rng(seed)
    count = np.where(rng.random((days, features)) < 0.9, 50.0, MIN_STOCKS - 1)
    return DayStatistics(count, rng.normal(size=(days, features)), rng.lognormal(size=(days, features)))


def test_mean_and_log_deviation_by_hand() -> None:
    # Training days have means 1 and 3 (centre 2, spread 1), and log deviations 0 and 2 (centre 1, spread 1).
    observed = statistics([[1.0], [3.0], [2.5], [9.0]], [[1.0], [E2**2], [E2], [1 / E2**2]])
    state = MarketState.fit(observed, range(2))
    np.testing.assert_allclose(state.centre, [2, 1])
    np.testing.assert_allclose(state.spread, [1, 1])
    transformed = state.transform(observed)
    assert transformed.dtype == np.float32
    # The last day is 7 above and 3 below: clipped at 3.
    np.testing.assert_allclose(transformed, [[-1, -1], [1, 1], [0.5, 0], [3, -3]], atol=1e-6)


def test_means_come_before_log_deviations() -> None:
    observed = statistics([[1.0, 10], [3, 30]], [[1.0, 1], [E2**2, 1]])
    state = MarketState.fit(observed, range(2))
    np.testing.assert_allclose(state.centre, [2, 20, 1, 0], atol=1e-12)
    assert state.transform(observed).shape == (2, 4)


def test_on_training_days_every_number_has_mean_0_and_deviation_1() -> None:
    observed = noise(400)
    transformed = MarketState.fit(observed, range(100, 300)).transform(observed)[100:300]
    known = transformed[np.abs(transformed).max(axis=1) < 3]
    assert np.abs(known.mean(axis=0)).max() < 0.1
    assert np.abs(known.std(axis=0) - 1).max() < 0.1


def test_a_day_with_too_few_stocks_is_ignored() -> None:
    observed = statistics([[1.0], [3.0], [100.0]], [[1.0], [E2**2], [5.0]])
    observed.count[2] = MIN_STOCKS - 1
    state = MarketState.fit(observed, range(3))
    np.testing.assert_allclose(state.centre, [2, 1])
    assert (state.transform(observed)[2] == 0).all()


def test_a_day_without_spread_has_a_mean_but_no_log_deviation() -> None:
    observed = statistics([[1.0], [3.0], [3.0]], [[1.0], [E2**2], [0.0]])
    np.testing.assert_allclose(MarketState.fit(observed, range(2)).transform(observed)[2], [1, 0])


def test_a_number_that_is_constant_in_training_is_always_0() -> None:
    observed = statistics([[5.0], [5.0], [7.0]], [[1.0], [E2**2], [1.0]])
    state = MarketState.fit(observed, range(2))
    assert state.spread[0] == np.inf
    assert (state.transform(observed)[:, 0] == 0).all()


def test_a_feature_without_training_values_is_always_0() -> None:
    observed = statistics([[1.0], [3.0], [7.0]], [[1.0], [E2**2], [1.0]])
    observed.count[:2] = 0
    observed.mean[:2] = np.nan
    state = MarketState.fit(observed, range(2))
    assert np.isfinite(state.centre).all()
    assert (state.transform(observed) == 0).all()


def test_the_state_survives_json_unchanged() -> None:
    observed = noise()
    observed.mean[:, 1] = 4.0
    state = MarketState.fit(observed, range(30))
    again = MarketState.from_dict(json.loads(json.dumps(state.to_dict())))
    assert np.isinf(again.spread).any()
    np.testing.assert_array_equal(again.centre, state.centre)
    np.testing.assert_array_equal(again.spread, state.spread)
    np.testing.assert_array_equal(again.transform(observed), state.transform(observed))


@given(seed=st.integers(0, 1000), day=st.integers(20, 38))
@settings(max_examples=25, deadline=None)
def test_later_days_change_no_bit_of_the_state(seed: int, day: int) -> None:
    observed, changed = noise(seed=seed), noise(seed=seed)
    # Enough stocks, so that the changes matter.
    observed.count[-1] = 50
    rng = np.random.default_rng(seed + 1)
    changed.mean[day + 1 :] = 100 * rng.normal(size=changed.mean[day + 1 :].shape)
    changed.variance[day + 1 :] *= 1000
    changed.count[day + 1 :] = 0 if seed % 2 else 80
    before = MarketState.fit(observed, range(20)).transform(observed)
    after = MarketState.fit(changed, range(20)).transform(changed)
    np.testing.assert_array_equal(after[: day + 1], before[: day + 1])
    assert not np.array_equal(after[day + 1 :], before[day + 1 :])


def test_a_days_state_does_not_depend_on_other_days() -> None:
    observed = noise()
    state = MarketState.fit(observed, range(20))
    alone = DayStatistics(observed.count[25:26], observed.mean[25:26], observed.variance[25:26])
    np.testing.assert_array_equal(state.transform(alone), state.transform(observed)[25:26])


def test_the_state_uses_the_normalisers_statistics() -> None:
    """A market that falls with high volatility on one day: visible in the state, not in the features."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 40, 2)).astype(np.float32)
    values[25] = 8 * values[25] - 3
    panel = make_panel(values, np.zeros((30, 40, 1)))
    normalizer = PanelNormalizer(panel)
    assert abs(float(panel.values[25].mean())) < 0.01
    state = MarketState.fit(normalizer.statistics, range(20)).transform(normalizer.statistics)
    np.testing.assert_array_equal(state[25], [-3, -3, 3, 3])
    assert np.abs(state[:20]).max() < 3


def test_fewer_than_two_training_days_are_refused() -> None:
    with pytest.raises(DataError, match="needs at least 2 training days, got 1"):
        MarketState.fit(noise(), range(3, 4))
