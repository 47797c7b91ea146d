"""Validation of prediction tables, and the rows that all models share."""

import datetime as dt

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from gogooku3.errors import DataError
from gogooku3.evaluation.prediction_table import check_predictions, shared_rows


def _where(condition: pl.Expr, column: str, value: object) -> pl.Expr:
    return pl.when(condition).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)


def _cell(model: str = "lightgbm", code: str = "1300", horizon: int = 5) -> pl.Expr:
    day = pl.col("date") == dt.date(2024, 1, 2)
    return day & (pl.col("model") == model) & (pl.col("code") == code) & (pl.col("horizon") == horizon)


def test_a_valid_table_is_returned_whole_for_any_types_and_order(market):
    wide = market.cast(
        {"fold": pl.Int64, "horizon": pl.UInt8, "prediction": pl.Float32, "model": pl.Categorical}
    )
    checked = check_predictions(wide.with_columns(extra=1).sample(fraction=1.0, shuffle=True, seed=1))
    assert checked.columns == ["date", "code", "fold", "model", "horizon", "prediction", "target"]
    assert len(checked) == len(market)
    assert_frame_equal(checked, check_predictions(wide))


def test_a_missing_target_may_be_nan(market):
    checked = check_predictions(market.with_columns(pl.col("target").fill_null(float("nan"))))
    assert_frame_equal(checked, check_predictions(market))
    assert checked["target"].null_count() > 0


def test_missing_columns_and_wrong_types_are_named(market):
    with pytest.raises(DataError, match="fold, target, which are missing"):
        check_predictions(market.drop("fold", "target"))
    wrong = market.with_columns(pl.col("date").cast(pl.String), pl.col("horizon").cast(pl.Float64))
    with pytest.raises(DataError, match=r"date is String, not Date; horizon is Float64, not an integer"):
        check_predictions(wrong)
    with pytest.raises(DataError, match="no rows"):
        check_predictions(market.clear())


def test_every_problem_is_named_at_once_with_count_and_example(market):
    bad = market.with_columns(
        _where(_cell(), "prediction", None),
        _where(_cell(code="1301"), "target", float("inf")),
        _where(_cell(code="1302"), "horizon", 0).cast(pl.Int32),
    ).with_columns(_where(_cell(code="1303"), "prediction", float("-inf")))
    with pytest.raises(DataError) as caught:
        check_predictions(bad)
    message = str(caught.value)
    assert (
        "1 rows with a missing prediction (first: model lightgbm, horizon 5, 2024-01-02, code 1300)"
        in message
    )
    for part in ("an infinite prediction", "an infinite target", "a horizon below 1"):
        assert f"1 rows with {part}" in message


@pytest.mark.parametrize("column", ["date", "code", "fold", "model", "horizon"])
def test_a_row_without_a_key_is_refused(market, column):
    with pytest.raises(DataError, match="1 rows with a missing date, code, fold, model or horizon"):
        check_predictions(market.with_columns(_where(_cell(), column, None)))


def test_a_repeated_row_is_refused(market):
    with pytest.raises(DataError, match=r"1 rows that repeat .*code 1300"):
        check_predictions(pl.concat([market, market.filter(_cell())]))


def test_a_day_tested_in_two_folds_is_refused(market):
    moved = market.with_columns(_where(_cell(), "fold", 1).cast(pl.Int32))
    with pytest.raises(DataError, match=r"1 dates in more than one fold.*2024-01-02 in the folds 0, 1"):
        check_predictions(moved)


def test_models_with_different_targets_are_refused(market):
    with pytest.raises(DataError, match=r"targets that differ from another model's .*code 1300"):
        check_predictions(market.with_columns(_where(_cell(), "target", 0.5).cast(pl.Float32)))
    # The model between the two, in alphabetical order, has no target.
    unknown = market.with_columns(_where(_cell(), "target", None))
    with pytest.raises(DataError, match=r"targets that differ from another model's .*model oracle"):
        check_predictions(unknown.with_columns(_where(_cell("oracle"), "target", 0.5).cast(pl.Float32)))


def test_a_row_that_one_model_lacks_is_scored_for_no_model(market):
    table = check_predictions(market.filter(~_cell()))
    shared, lost = shared_rows(table)
    assert lost == {"atft_gat_fan": 1, "lightgbm": 0, "oracle": 1}
    assert shared.filter(_cell("atft_gat_fan") | _cell("oracle")).is_empty()
    assert len(shared) == len(market) - 3


def test_rows_that_only_the_oracle_lacks_are_kept(market):
    table = check_predictions(market.filter(~_cell("oracle")))
    shared, lost = shared_rows(table)
    assert len(shared) == len(table)
    assert set(lost.values()) == {0}


def test_an_oracle_is_scored_if_it_is_the_only_model(market):
    table = check_predictions(market.filter(model="oracle"))
    assert len(shared_rows(table).table) == len(table)


def test_a_model_without_a_horizon_does_not_compete_there(market):
    table = check_predictions(market.filter(~((pl.col("model") == "lightgbm") & (pl.col("horizon") == 5))))
    shared, lost = shared_rows(table)
    assert set(lost.values()) == {0}
    assert set(shared.filter(horizon=5)["model"].cast(pl.String)) == {"atft_gat_fan", "oracle"}


def test_models_that_share_no_row_cannot_be_compared(market):
    half = pl.col("fold") == (pl.col("model") == "lightgbm").cast(pl.Int32)
    with pytest.raises(DataError, match="one at a time"):
        shared_rows(check_predictions(market.filter(half & (pl.col("model") != "oracle"))))
