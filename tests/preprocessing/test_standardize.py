"""A day's features are standardised with the statistics of its own stocks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gogooku3.preprocessing.standardize import StandardizedDays
from gogooku3.schema import MIN_STOCKS

NAN = float("nan")


def standardize_day(block: np.ndarray, clip: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Standardise one day in place; return count, mean, variance and the features that stay raw."""
    n_stocks, n_features = block.shape
    days = StandardizedDays([block], [np.ones(n_stocks, bool)], n_features, clip)
    kept, statistics = block.copy(), days.statistics
    rows = days.apply_fallback(np.zeros(n_features), np.ones(n_features))
    block[...] = kept
    return statistics.count[0], statistics.mean[0], statistics.variance[0], rows > 0


def test_a_day_by_hand() -> None:
    # Ten stocks, five at 1 and five at 3: mean 2, deviation 1. The eleventh is missing.
    block = np.array([1, 3] * 5 + [NAN], dtype=np.float32)[:, None]
    count, mean, variance, raw = standardize_day(block, clip=5.0)
    np.testing.assert_array_equal(block[:, 0], [-1, 1] * 5 + [0])
    assert (count.item(), mean.item(), variance.item(), raw.item()) == (10, 2, 1, False)


def test_a_single_outlier_is_clipped_and_does_not_compress_the_others() -> None:
    rng = np.random.default_rng(0)
    bulk = rng.normal(size=99).astype(np.float32)
    block = np.append(bulk, np.float32(1e4))[:, None]
    standardize_day(block, clip=5.0)
    assert block[-1, 0] == 5
    assert abs(block.mean()) < 0.05
    assert abs(block.std() - 1) < 0.05
    assert np.corrcoef(block[:-1, 0], bulk)[0, 1] > 0.9999


def test_outliers_on_both_sides_are_clipped() -> None:
    block = np.append(np.random.default_rng(0).normal(size=98), [1e4, -1e3]).astype(np.float32)[:, None]
    standardize_day(block, clip=5.0)
    assert (block[-2, 0], block[-1, 0]) == (5, -5)
    assert abs(block.mean()) < 0.05
    assert abs(block.std() - 1) < 0.05


def test_a_rare_flag_is_clipped_although_no_scale_gives_deviation_1() -> None:
    block = np.zeros((200, 1), dtype=np.float32)
    block[7] = 1
    _, _, _, raw = standardize_day(block, clip=5.0)
    assert not raw[0]
    assert block[7, 0] == 5
    assert len(np.unique(block)) == 2


def test_a_column_with_few_values_or_no_spread_stays_raw() -> None:
    block = np.full((20, 3), 7, dtype=np.float32)
    block[:, 1] = np.where(np.arange(20) < MIN_STOCKS - 1, np.arange(20), NAN)
    block[:, 2] = np.arange(20)
    kept = block.copy()
    _, _, _, raw = standardize_day(block, clip=5.0)
    assert raw.tolist() == [True, True, False]
    np.testing.assert_array_equal(block[:, :2], kept[:, :2])


def test_a_large_mean_does_not_hide_a_small_spread() -> None:
    rng = np.random.default_rng(3)
    block = (1e4 + rng.normal(size=(300, 1))).astype(np.float32)
    expected = (block.astype(np.float64) - block.mean(dtype=np.float64)) / block.std(dtype=np.float64)
    standardize_day(block, clip=5.0)
    np.testing.assert_allclose(block, expected, atol=1e-3)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 100_000),
    n_stocks=st.integers(25, 250),
    degrees=st.floats(1.5, 30),
    missing=st.floats(0, 0.5),
    exponent=st.floats(-6, 8),
    outliers=st.integers(0, 3),
)
def test_after_clipping_a_days_mean_is_near_0_and_its_deviation_near_1(
    seed: int, n_stocks: int, degrees: float, missing: float, exponent: float, outliers: int
) -> None:
    rng = np.random.default_rng(seed)
    block = rng.standard_t(degrees, size=(n_stocks, 4))
    block[:outliers] *= 10.0 ** rng.uniform(0, 4, size=(outliers, 4))
    block[rng.random(block.shape) < missing] = NAN
    block = (block * 10.0**exponent).astype(np.float32)
    absent = np.isnan(block)
    count, _, _, raw = standardize_day(block, clip=5.0)
    np.testing.assert_array_equal(count, (~absent).sum(axis=0))
    np.testing.assert_array_equal(raw, count < MIN_STOCKS)
    for column in np.flatnonzero(~raw):
        known = block[~absent[:, column], column].astype(np.float64)
        assert abs(known.mean()) < 0.05
        assert abs(known.std() - 1) < 0.05
        assert np.abs(known).max() <= 5
        assert (block[absent[:, column], column] == 0).all()
