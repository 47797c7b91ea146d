"""Unusable and unusual prediction tables in `gogooku3 evaluate`."""

import datetime as dt
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.bad_input.harness import Case, predictions, refuse, run, table

Change = Callable[[pl.DataFrame], pl.DataFrame]


def evaluate(
    change: Change = lambda p: p, *more: object, name: str = "p.parquet"
) -> Callable[[Path], Sequence[object]]:
    """The command that scores a changed prediction table."""

    def make(folder: Path) -> Sequence[object]:
        change(predictions()).write_parquet(folder / name)
        return "evaluate", folder / name, *more

    return make


def of(content: bytes, name: str = "p.parquet") -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> Sequence[object]:
        (folder / name).write_bytes(content)
        return "evaluate", folder / name

    return make


def first(column: str, value: Any) -> Change:
    """One value of a column changed."""
    return lambda p: p.with_columns(
        pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(value)).otherwise(column).alias(column)
    )


def every(**columns: Any) -> Change:
    """Whole columns changed."""
    return lambda p: p.with_columns(**columns)


CASES = [
    Case("no file", lambda f: ("evaluate", f / "no.parquet"), ("no.parquet",)),
    Case("an empty folder", lambda f: ("evaluate", f), ("predictions.parquet", "none")),
    Case("an empty file", of(b""), ("p.parquet", "0 bytes")),
    Case("text", of(b"hello"), ("p.parquet", "Parquet")),
    Case("a truncated file", of(b"PAR1" + bytes(90)), ("p.parquet", "Parquet")),
    Case("a CSV", of(b"date,code\n2024-01-04,a\n", "p.csv"), ("p.csv", ".parquet")),
    Case("no rows", evaluate(lambda p: p.clear()), ("no rows",)),
    Case("no columns", evaluate(lambda p: p.select()), ("date",)),
    *(
        Case(f"no {name}", evaluate(lambda p, name=name: p.drop(name)), (name, "a prediction table"))
        for name in predictions().columns
    ),
    Case("wrong spelling", evaluate(lambda p: p.rename({"prediction": "score"})), ("prediction", "score")),
    Case("dates as text", evaluate(every(date=pl.col("date").cast(pl.String))), ("date is String", "Date")),
    Case("dates as times", evaluate(every(date=pl.col("date").cast(pl.Datetime))), ("date is Datetime",)),
    Case("codes as numbers", evaluate(every(code=pl.lit(7203))), ("code is Int32", "String")),
    Case("predictions as text", evaluate(every(prediction=pl.lit("up"))), ("prediction is String",)),
    Case(
        "predictions as lists", evaluate(every(prediction=pl.concat_list("target"))), ("prediction is List",)
    ),
    Case("predictions as whole numbers", evaluate(every(prediction=1)), ("prediction is Int32",)),
    Case("targets as true and false", evaluate(every(target=True)), ("target is Boolean",)),
    Case("horizons as fractions", evaluate(every(horizon=1.5)), ("horizon is Float64", "an integer")),
    Case("folds as text", evaluate(every(fold=pl.lit("a"))), ("fold is String", "an integer")),
    Case("models as numbers", evaluate(every(model=1)), ("model is Int32",)),
    Case(
        "all columns null",
        evaluate(lambda p: pl.DataFrame({name: [None] for name in p.columns})),
        ("date is Null",),
    ),
    Case("a null date", evaluate(first("date", None)), ("1 rows with a missing date",)),
    Case("a null code", evaluate(first("code", None)), ("1 rows with a missing date, code",)),
    Case(
        "a null prediction", evaluate(first("prediction", None)), ("1 rows with a missing prediction", "mine")
    ),
    Case(
        "a NaN prediction", evaluate(first("prediction", float("nan"))), ("1 rows with a missing prediction",)
    ),
    Case(
        "all predictions NaN",
        evaluate(every(prediction=float("nan"))),
        ("144 rows with a missing prediction", "2022-01-03"),
    ),
    Case("an infinite prediction", evaluate(first("prediction", float("inf"))), ("1 rows with an infinite",)),
    Case("an infinite target", evaluate(first("target", float("-inf"))), ("1 rows with an infinite target",)),
    Case("a horizon of no day", evaluate(every(horizon=pl.lit(0))), ("144 rows with a horizon below 1",)),
    Case("a horizon beyond Int32", evaluate(every(horizon=pl.lit(2**40))), ("horizon", str(2**40))),
    Case("double rows", evaluate(lambda p: pl.concat([p, p.head(3)])), ("3 rows that repeat", "1301")),
    Case(
        "a day in two folds",
        evaluate(every(fold=pl.int_range(pl.len()) % 2)),
        ("12 dates in more than one fold", "2022-01-03"),
    ),
    Case("targets that differ", evaluate(first("target", 9.0)), ("targets that differ", "2022-01-03")),
    Case(
        "models that share no row",
        evaluate(lambda p: p.filter((pl.col("model") == "mine") == (pl.col("date") < dt.date(2022, 1, 10)))),
        ("no stock and day is predicted by every model",),
    ),
    Case("a share of all", evaluate(lambda p: p, "--quantile", "0.9"), ("quantile", "0.9")),
    Case("a share of nothing", evaluate(lambda p: p, "--quantile", "0"), ("quantile", "0")),
    Case("costs below nothing", evaluate(lambda p: p, "--cost-bps", "-1"), ("cost_bps", "-1")),
    Case("costs in words", evaluate(lambda p: p, "--cost-bps", "high"), ("--cost-bps", "high")),
    Case("an unknown entry", evaluate(lambda p: p, "--entry", "noon"), ("entry", "noon")),
    Case("an open without prices", evaluate(lambda p: p, "--entry", "open"), ("open", "prices")),
    Case("prices that aren't there", evaluate(lambda p: p, "--prices", "no.parquet"), ("no.parquet",)),
    Case(
        "two tables without --pbo",
        lambda f: (*evaluate()(f), f / "p.parquet"),
        ("2 prediction tables", "--pbo"),
    ),
    Case("too few days for --pbo", evaluate(lambda p: p.head(6), "--pbo"), ("days",)),
    Case("no table at all", lambda f: ("evaluate",), ("FILE_OR_RUN",)),
]


@table(CASES)
def test_an_unusable_prediction_table_is_refused_with_advice(case: Case, tmp_path: Path) -> None:
    refuse(case, tmp_path)


def scores(frame: pl.DataFrame, folder: Path) -> Any:
    frame.write_parquet(folder / "p.parquet")
    outcome = run(("evaluate", folder / "p.parquet", "--json"), folder)
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.sample(fraction=1, shuffle=True, seed=1),
        lambda p: p.select(reversed(p.columns)).with_columns(note=pl.lit("x")),
        every(fold=pl.col("fold").cast(pl.Int64), horizon=pl.col("horizon").cast(pl.UInt8)),
        every(code=pl.col("code").cast(pl.Categorical), model=pl.col("model").cast(pl.Categorical)),
        every(prediction=pl.col("prediction").cast(pl.Float64), target=pl.col("target").cast(pl.Float64)),
        every(code=pl.lit("日経") + pl.col("code") + "/é 株"),
    ],
    ids=["unsorted", "columns turned round", "other integers", "categories", "Float64", "unicode codes"],
)
def test_an_unusual_table_gives_the_scores_of_the_tidy_one(change: Change, tmp_path: Path) -> None:
    assert scores(change(predictions()), tmp_path) == scores(predictions(), tmp_path)


def test_unknown_models_one_day_one_stock_no_targets_and_constant_predictions_are_scored(
    tmp_path: Path,
) -> None:
    named = predictions().with_columns(model=pl.concat_str(pl.lit("模型 "), "model", pl.lit(" <b>")))
    assert set(scores(named, tmp_path)["models"]) == {"模型 mine <b>", "模型 yours <b>"}
    day = predictions().filter(pl.col("date") == pl.col("date").min())
    assert scores(day, tmp_path)["models"]["mine"]["horizons"]["1"]["pooled"]["n_days"] == 1
    one_stock = predictions().filter(pl.col("code") == "1301")
    assert scores(one_stock, tmp_path)["models"]["mine"]["horizons"]["1"]["pooled"]["mean_ic"] is None
    unknown = predictions().with_columns(target=pl.lit(None, pl.Float32))
    assert scores(unknown, tmp_path)["models"]["mine"]["horizons"] == {}
    flat = predictions().with_columns(prediction=pl.lit(0.0))
    assert scores(flat, tmp_path)["models"]["mine"]["horizons"]["1"]["pooled"]["mean_ic"] is None
