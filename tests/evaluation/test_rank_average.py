"""The rank average by hand, against a slow reimplementation, and invariant to scale and order."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from gogooku3.errors import DataError
from gogooku3.evaluation.rank_average import rank_average

DAY = dt.date(2024, 1, 4)


def frame(*days: list[float | None], codes: str = "ABCDEFGH") -> pl.DataFrame:
    """Predictions of consecutive days, the first stocks of `codes` each day."""
    return pl.DataFrame(
        {
            "date": [DAY + dt.timedelta(n) for n, values in enumerate(days) for _ in values],
            "code": [code for values in days for code, _ in zip(codes, values, strict=False)],
            "prediction_1d": pl.Series([value for values in days for value in values], dtype=pl.Float32),
        }
    )


def averaged(*frames: pl.DataFrame) -> list[float]:
    return rank_average(frames)["prediction_1d"].to_list()


def test_two_models_by_hand_on_two_days() -> None:
    first = frame([1.0, 2.0, 3.0], [5.0, 4.0])
    second = frame([9.0, 7.0, 8.0], [0.1, 0.9])
    # Ranks 1, 2, 3 become -1.2247, 0, 1.2247; ranks of two become -1 and 1.
    z = np.sqrt(1.5)
    assert averaged(first, second) == pytest.approx([0.0, -z / 2, z / 2, 0.0, 0.0])


def test_ties_share_their_rank_and_constant_predictions_count_as_zero() -> None:
    tied, constant = frame([1.0, 1.0, 2.0, 0.0]), frame([7.0] * 4)
    # Average ranks 2.5, 2.5, 4, 1 with deviation sqrt(1.125).
    ranks = (np.array([2.5, 2.5, 4.0, 1.0]) - 2.5) / np.sqrt(1.125)
    assert averaged(tied) == pytest.approx(ranks)
    assert averaged(tied, constant) == pytest.approx(ranks / 2)
    assert averaged(frame([3.0])) == [0.0]


def test_only_rows_that_all_models_predict_are_ranked() -> None:
    first, second = frame([1.0, 2.0, 3.0, 9.0], codes="ABCD"), frame([3.0, 2.0, 1.0], codes="ABX")
    result = rank_average([first, second])
    assert result["code"].to_list() == ["A", "B"]
    assert result["prediction_1d"].to_list() == [0.0, 0.0]
    with_gaps = frame([float("nan"), 5.0, 6.0, None])
    assert averaged(frame([0.0, 1.0, 2.0, 3.0]), with_gaps) == [None, -1.0, 1.0, None]


def test_every_column_is_ranked_separately() -> None:
    both = frame([1.0, 2.0]).with_columns(prediction_5d=-pl.col("prediction_1d"))
    result = rank_average([both])
    assert result.columns == ["date", "code", "prediction_1d", "prediction_5d"]
    assert result["prediction_5d"].to_list() == [1.0, -1.0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), stocks=st.integers(1, 40), models=st.integers(1, 4))
def test_it_equals_a_slow_reimplementation_and_ignores_the_order_of_stocks(
    seed: int, stocks: int, models: int
) -> None:
    rng = np.random.default_rng(seed)
    days = rng.integers(0, 6, size=(models, 3, stocks)).astype(float)
    codes = [f"{stock:02}" for stock in range(stocks)]
    keys = {
        "date": [DAY + dt.timedelta(n) for n in range(3) for _ in codes],
        "code": codes * 3,
    }
    frames = [pl.DataFrame({**keys, "x": member.ravel()}) for member in days]
    expected = np.zeros((3, stocks))
    for member in days:
        for number, values in enumerate(member):
            ranks = rankdata(values)
            spread = ranks.std()
            expected[number] += (ranks - ranks.mean()) / (spread if spread else 1) / models
    average = rank_average(frames)
    np.testing.assert_allclose(average["x"], expected.ravel(), atol=1e-12)

    order = rng.permutation(3 * stocks)
    shuffled = rank_average([each[order] for each in frames])
    assert shuffled.equals(average[order])
    backwards = rank_average(frames[::-1])
    np.testing.assert_allclose(backwards["x"], average["x"], atol=1e-12)


def test_a_larger_scale_or_another_day_has_no_effect() -> None:
    first, second = frame([0.3, 0.1, 0.2], [1.0, 2.0]), frame([1.0, 2.0, 3.0], [1.0, 2.0])
    scaled = second.with_columns(pl.col("prediction_1d") * 1000 + 7)
    assert averaged(first, second) == averaged(first, scaled)
    later = frame([0.3, 0.1, 0.2], [9.0, -9.0])
    assert averaged(first, second)[:3] == averaged(later, second)[:3]
    assert averaged(first, second)[3:] != averaged(later, second)[3:]


@pytest.mark.parametrize(
    ("frames", "match"),
    [
        ([], "no predictions to average"),
        ([pl.DataFrame({"date": [DAY], "x": [1.0]})], "code"),
        ([frame([1.0]), frame([1.0]).rename({"prediction_1d": "other"})], "same columns"),
        ([frame([1.0]), frame([1.0], codes="Z")], "share no stock and day"),
        ([frame([1.0, 2.0], codes="AA")], "more than one row for a stock and day"),
    ],
)
def test_inconsistent_frames_are_refused(frames: list[pl.DataFrame], match: str) -> None:
    with pytest.raises(DataError, match=match):
        rank_average(frames)
