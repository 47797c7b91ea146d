"""Labels are treated day by day: ranks and z-scores against slow implementations, no effect of the future."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gogooku3.errors import ConfigError
from gogooku3.preprocessing.labels import LabelTreatment, treat_labels

NAN = float("nan")
TREATMENTS: tuple[LabelTreatment, ...] = ("raw", "zscore", "rank", "blend")


def targets(seed: int, missing: float = 0.2, ties: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = 0.02 * rng.standard_t(3, size=(7, 9, 2))
    if ties:
        values = values.round(2)
    values[rng.random(values.shape) < missing] = NAN
    return values.astype(np.float32)


def one_day(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)[None, :, None]


def test_a_z_score_by_hand() -> None:
    # mean 2, deviation sqrt((1 + 1) / 2) = 1 over the two known values.
    np.testing.assert_array_equal(treat_labels(one_day(1, NAN, 3), "zscore")[0, :, 0], [-1, NAN, 1])


def test_ranks_by_hand_with_a_tie() -> None:
    # ranks 1.5, 1.5, 3: mean 2, deviation sqrt(0.5).
    root = np.sqrt(0.5)
    treated = treat_labels(one_day(0.1, 0.1, 9), "rank")[0, :, 0]
    np.testing.assert_allclose(treated, [-0.5 / root, -0.5 / root, 1 / root], rtol=1e-6)


def test_a_blend_is_half_the_z_score_and_half_the_rank() -> None:
    # z-scores of 0, 1, 5: mean 2, deviation sqrt(14 / 3); ranks 1, 2, 3: mean 2, deviation sqrt(2 / 3).
    expected = (np.array([-2, -1, 3]) / np.sqrt(14 / 3) + np.array([-1, 0, 1]) / np.sqrt(2 / 3)) / 2
    np.testing.assert_allclose(treat_labels(one_day(0, 1, 5), "blend")[0, :, 0], expected, rtol=1e-6)


def test_raw_keeps_returns_and_nan() -> None:
    values = targets(1)
    np.testing.assert_array_equal(treat_labels(values, "raw"), values)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.floats(0, 0.9))
def test_ranks_equal_scipys(seed: int, missing: float) -> None:
    values = targets(seed, missing, ties=True)
    treated = treat_labels(values, "rank")
    for day in range(values.shape[0]):
        for horizon in range(values.shape[2]):
            column = values[day, :, horizon]
            known = np.isfinite(column)
            assert np.isnan(treated[day, ~known, horizon]).all()
            if not known.any():
                continue
            ranks = stats.rankdata(column[known])
            spread = ranks.std()
            expected = (ranks - ranks.mean()) / spread if spread else np.zeros(len(ranks))
            np.testing.assert_allclose(treated[day, known, horizon], expected, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.floats(0, 0.9))
def test_z_scores_equal_a_slow_implementation(seed: int, missing: float) -> None:
    values = targets(seed, missing)
    treated = treat_labels(values, "zscore")
    for day in range(values.shape[0]):
        for horizon in range(values.shape[2]):
            column = values[day, :, horizon].astype(np.float64)
            spread = np.nanstd(column) if np.isfinite(column).any() else 0
            expected = (column - np.nanmean(column)) / spread if spread > 1e-9 else 0 * column
            np.testing.assert_allclose(treated[day, :, horizon], np.clip(expected, -5, 5), atol=1e-4)


def test_one_outlier_is_clipped_at_five_deviations() -> None:
    values = np.zeros((1, 100, 1), dtype=np.float32)
    values[0, 0] = 50
    assert treat_labels(values, "zscore").max() == 5


@pytest.mark.parametrize("how", ["zscore", "rank", "blend"])
@pytest.mark.parametrize("day", [one_day(0.1, 0.1, 0.1), one_day(NAN, 0.3, NAN)])
def test_a_day_without_spread_is_zero_where_known(how: LabelTreatment, day: np.ndarray) -> None:
    treated = treat_labels(day, how)
    np.testing.assert_array_equal(treated, np.where(np.isnan(day), NAN, 0))


@pytest.mark.parametrize("how", ["zscore", "rank", "blend"])
def test_an_infinite_return_is_unknown(how: LabelTreatment) -> None:
    treated = treat_labels(one_day(1, np.inf, 3), how)[0, :, 0]
    assert np.isnan(treated[1])
    np.testing.assert_allclose(treated[[0, 2]], [-1, 1], rtol=1e-6)


@pytest.mark.parametrize("how", TREATMENTS)
def test_other_days_do_not_matter(how: LabelTreatment) -> None:
    values = targets(4)
    changed = values.copy()
    changed[4:] = changed[4:] * -3 + 1
    np.testing.assert_array_equal(treat_labels(changed, how)[:4], treat_labels(values, how)[:4])
    assert not np.array_equal(treat_labels(changed, how)[4:], treat_labels(values, how)[4:], equal_nan=True)


@pytest.mark.parametrize("how", TREATMENTS)
def test_the_targets_are_not_modified(how: LabelTreatment) -> None:
    values = targets(5)
    kept = values.copy()
    assert treat_labels(values, how).dtype == np.float32
    np.testing.assert_array_equal(values, kept)


def test_an_unknown_treatment_is_refused() -> None:
    with pytest.raises(ConfigError, match="label is 'gauss'; expected raw, zscore, rank or blend"):
        treat_labels(targets(1), "gauss")  # type: ignore[arg-type]


def test_one_bad_tick_does_not_compress_the_others() -> None:
    values = np.random.default_rng(0).normal(0, 0.02, size=(1, 100, 1)).astype(np.float32)
    calm = treat_labels(values, "zscore")
    values[0, 0] = 50
    treated = treat_labels(values, "zscore")
    assert treated[0, 0, 0] == 5
    assert 0.5 < treated[0, 1:].std() / calm[0, 1:].std() < 1
    assert np.corrcoef(treated[0, 1:, 0], calm[0, 1:, 0])[0, 1] > 0.999


def test_a_bad_tick_on_one_day_moves_no_bit_of_another() -> None:
    values = np.random.default_rng(1).normal(0.01, 0.02, size=(60, 50, 2)).astype(np.float32)
    calm = treat_labels(values, "zscore")
    values[-1, 0] = 50
    np.testing.assert_array_equal(treat_labels(values, "zscore")[:-1], calm[:-1])
