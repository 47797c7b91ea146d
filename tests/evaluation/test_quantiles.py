"""Mean excess returns per quantile, by hand and with a planted signal."""

import datetime as dt

import polars as pl
import pytest

from gogooku3.evaluation.quantiles import quantile_of_day, quantile_returns


def table(predictions: list[float], targets: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "date": [dt.date(2024, 1, 4)] * len(predictions),
            "code": [str(place) for place in range(len(predictions))],
            "fold": 0,
            "model": "m",
            "horizon": 1,
            "prediction": predictions,
            "target": targets,
        },
        schema_overrides={"target": pl.Float64},
    )


def test_two_quantiles_by_hand():
    result = quantile_of_day(table([4.0, 1.0, 3.0, 2.0], [0.04, 0.00, 0.02, 0.02]), 2)
    assert result["quantile"].to_list() == [1, 2]
    assert result["excess"].to_list() == pytest.approx([-0.01, 0.01])
    # Deviations of 1, 2, 3, 4 from their mean, over a spread of sqrt(1.25).
    assert result["score"].to_list() == pytest.approx([-(1.25**-0.5), 1.25**-0.5])


def test_ties_share_a_quantile_and_rows_without_a_target_are_ignored():
    tied = quantile_of_day(table([1.0, 1.0, 1.0, 5.0], [0.0, 0.03, 0.0, 0.01]), 2)
    assert tied["excess"].to_list() == pytest.approx([0.0, 0.0])
    with_gap = quantile_of_day(table([1.0, 2.0, 9.0], [0.0, 0.02, None]), 2)
    assert with_gap["excess"].to_list() == pytest.approx([-0.01, 0.01])


@pytest.mark.parametrize("predictions", [[1.0, 1.0, 1.0], [1.0]])
def test_a_constant_or_small_day_is_dropped(predictions):
    assert quantile_returns(table(predictions, [0.01] * len(predictions)), 2).is_empty()


def test_a_planted_signal_gives_returns_that_rise_with_the_quantile(market):
    result = quantile_returns(market, 5).filter(model="oracle", horizon=5).sort("quantile")
    assert result["mean"].is_sorted() and result["score"].is_sorted()
    assert result["high"][0] < 0 < result["low"][4]
    assert result["mean"].mean() == pytest.approx(0.0, abs=1e-12)
