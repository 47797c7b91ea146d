"""A data set is read for a model's features, and refused if it has others."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from gogooku3.data.feature_file import FeatureFile
from gogooku3.errors import DataError

FRAME = pl.DataFrame(
    {
        "date": [dt.date(2024, 1, day) for day in (4, 4, 5, 8)],
        "code": ["A", "B", "A", "A"],
        "x": [1.0, float("nan"), 3.0, 4.0],
        "y": [5, 6, 7, 8],
        "target_1d": [None, None, None, None],
        "sector": ["s"] * 4,
    },
    schema_overrides={"target_1d": pl.Float32},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    FRAME.write_parquet(tmp_path / "data.parquet")
    return tmp_path / "data.parquet"


def test_some_days_are_read_with_features_in_the_models_order(path: Path) -> None:
    frame = FeatureFile(path, ["y", "x"], all_columns=True).read(dt.date(2024, 1, 4), dt.date(2024, 1, 5))
    assert frame.columns == ["date", "code", "y", "x"]
    assert frame.schema["x"] == frame.schema["y"] == pl.Float32
    assert frame["x"].to_list() == [1.0, None, 3.0]
    assert frame["code"].to_list() == ["A", "B", "A"]


def test_the_days_are_those_with_rows(path: Path) -> None:
    days = FeatureFile(path, ["x"]).days().to_list()
    assert days == [dt.date(2024, 1, day) for day in (4, 5, 8)]


@pytest.mark.parametrize("days", ["text", "datetime", "csv"])
def test_days_of_every_kind_give_the_same_rows(path: Path, tmp_path: Path, days: str) -> None:
    expected = FeatureFile(path, ["x", "y"]).read(dt.date(2024, 1, 5), dt.date(2024, 1, 8))
    other = tmp_path / ("other.csv" if days == "csv" else "other.parquet")
    frame = FRAME.drop("target_1d").rename({"date": "Date", "code": "Code"}).reverse()
    if days == "csv":
        frame.write_csv(other)
    else:
        to = pl.String if days == "text" else pl.Datetime
        frame.with_columns(pl.col("Date").cast(to)).write_parquet(other)
    file = FeatureFile(other, ["x", "y"], all_columns=True)
    assert file.read(dt.date(2024, 1, 5), dt.date(2024, 1, 8)).equals(expected)
    assert file.days().len() == 3


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["x", "z"], r"lacks 1 of the 2 features .*, z and has y, which it was not trained on"),
        (["x"], r"has 1 numeric columns that the model was not trained on: y; leave them out"),
        (["x", "y", "sector"], r"features must be numeric; not so are sector \(String\)"),
    ],
)
def test_other_features_are_refused_by_name(path: Path, features: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        FeatureFile(path, features, all_columns=True)


def test_columns_beyond_a_named_list_or_named_as_targets_are_ignored(path: Path) -> None:
    assert FeatureFile(path, ["x"]).features == ("x",)
    assert FeatureFile(path, ["x"], all_columns=True, not_features=["y"]).features == ("x",)


def test_a_duplicate_row_is_refused(tmp_path: Path) -> None:
    FRAME.vstack(FRAME[3:]).write_parquet(tmp_path / "twice.parquet")
    file = FeatureFile(tmp_path / "twice.parquet", ["x"])
    assert file.read(dt.date(2024, 1, 4), dt.date(2024, 1, 5)).height == 3
    with pytest.raises(DataError, match="A"):
        file.read(dt.date(2024, 1, 8), dt.date(2024, 1, 8))


def test_a_missing_file_error_explains_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gogooku3 data build"):
        FeatureFile(tmp_path / "none.parquet", ["x"])
