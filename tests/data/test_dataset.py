"""Keys, targets and features of a loaded data set, and what is refused."""

import datetime as dt
import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.quality.validation import validate
from gogooku3.errors import ConfigError, DataError

DAYS = [dt.date(2024, 1, 4) + dt.timedelta(days=d) for d in range(6)]
CODES = ["0130", "1301", "7203"]


def market() -> pl.DataFrame:
    random = np.random.default_rng(0)
    keys = pl.DataFrame({"date": DAYS}).join(pl.DataFrame({"code": CODES}), how="cross")
    names = ["target_5d", "target_1d", "ret_1d", "volume_z"]
    values = {name: random.standard_normal(keys.height) for name in names}
    return keys.with_columns(**{name: pl.Series(v) for name, v in values.items()}, sector=pl.lit("Autos"))


def write(tmp_path: Path, frame: pl.DataFrame, name: str = "d.parquet") -> Path:
    path = tmp_path / name
    frame.write_csv(path) if name.endswith(".csv") else frame.write_parquet(path)
    return path


def test_a_file_loads_as_keys_targets_and_features_in_float32(tmp_path: Path) -> None:
    dataset = ProductionDatasetV3(write(tmp_path, market()))
    frame = dataset.load_data()
    assert frame.columns == ["date", "code", "target_1d", "target_5d", "ret_1d", "volume_z"]
    assert frame.dtypes == [pl.Date, pl.String, *[pl.Float32] * 4]
    assert dataset.feature_names == ["ret_1d", "volume_z"]
    assert dataset.target_names == ["target_1d", "target_5d"]
    assert dataset.horizons == (1, 5)
    assert dataset.columns.ignored == ("sector",)
    assert dataset.dropped == {}


@pytest.mark.parametrize("name", ["d.parquet", "d.csv"])
@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("projection", [True, False])
def test_every_mode_and_format_gives_the_same_frame(
    tmp_path: Path, name: str, lazy: bool, projection: bool
) -> None:
    expected = ProductionDatasetV3(write(tmp_path, market(), "reference.parquet")).load_data()
    dataset = ProductionDatasetV3(write(tmp_path, market(), name), lazy, projection)
    assert dataset.load_data().equals(expected)


def test_rows_come_out_sorted_by_date_and_code(tmp_path: Path) -> None:
    expected = ProductionDatasetV3(write(tmp_path, market(), "sorted.parquet")).load_data()
    shuffled = write(tmp_path, market().sample(fraction=1, shuffle=True, seed=1), "shuffled.parquet")
    assert ProductionDatasetV3(shuffled).load_data().equals(expected)


def test_other_spellings_and_types_of_keys_are_mapped_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = market().rename({"date": "Date", "code": "LocalCode"})
    frame = frame.with_columns(pl.col("Date").cast(pl.Datetime), pl.col("LocalCode").cast(pl.Int64))
    with caplog.at_level(logging.INFO, "gogooku3"):
        dataset = ProductionDatasetV3(write(tmp_path, frame))
        loaded = dataset.load_data()
    assert loaded["code"].unique().sort().to_list() == ["130", "1301", "7203"]
    assert loaded.schema["date"] == pl.Date
    assert dataset.mapping["LocalCode"] == "code"
    assert "'LocalCode': 'code'" in caplog.text


def test_dates_as_text_are_converted_and_bad_ones_refused(tmp_path: Path) -> None:
    frame = market().with_columns(pl.col("date").dt.strftime("%Y/%m/%d"))
    assert ProductionDatasetV3(write(tmp_path, frame)).load_data()["date"][0] == DAYS[0]
    bad = write(tmp_path, frame.with_columns(date=pl.lit("04.01.24")))
    with pytest.raises(DataError, match=r"18 values of column 'date' cannot be read, such as '04\.01\.24'"):
        ProductionDatasetV3(bad).load_data()


def test_a_second_spelling_of_a_key_is_not_a_feature(tmp_path: Path) -> None:
    frame = market().with_columns(LocalCode=pl.lit(13010))
    dataset = ProductionDatasetV3(write(tmp_path, frame))
    assert "LocalCode" not in dataset.feature_names
    assert "LocalCode" in dataset.columns.ignored


def test_one_word_in_a_csv_column_of_numbers_does_not_drop_the_feature(tmp_path: Path) -> None:
    file = write(tmp_path, market(), "d.csv")
    header, first, *rest = file.read_text().splitlines()
    before, after = first.split(",")[:5], first.split(",")[6:]

    def spoil(word: str) -> None:
        file.write_text("\n".join([header, ",".join([*before, word, *after]), *rest]))

    spoil("#DIV/0!")
    dataset = ProductionDatasetV3(file)
    assert dataset.feature_names == ["ret_1d", "volume_z"]
    assert dataset.load_data()["volume_z"].null_count() == 1
    spoil('"1,234"')
    with pytest.raises(DataError, match=r"1 values of column 'volume_z' are no numbers, such as '1,234'"):
        ProductionDatasetV3(file)
    assert [p.name for p in validate(file).errors if p.column == "volume_z"] == ["unreadable"]
    assert ProductionDatasetV3(file, feature_columns=["ret_1d"]).feature_names == ["ret_1d"]


def test_named_target_columns_are_renamed_and_never_features(tmp_path: Path) -> None:
    frame = market().drop("target_1d").rename({"target_5d": "returns_5d"})
    path = write(tmp_path, frame)
    dataset = ProductionDatasetV3(path, target_columns={5: "returns_5d"})
    assert dataset.load_data().columns[2:] == ["target_5d", "ret_1d", "volume_z"]
    assert dataset.mapping["returns_5d"] == "target_5d"
    with pytest.raises(DataError, match=r"never be a feature: returns_5d \(a target\)"):
        ProductionDatasetV3(path, target_columns={5: "returns_5d"}, feature_columns=["returns_5d", "ret_1d"])


def test_target_columns_must_exist_be_numeric_and_not_clash(tmp_path: Path) -> None:
    path = write(tmp_path, market())
    for target_columns, message in (
        ({5: "nothing"}, "nothing, which is missing"),
        ({5: "ret_1d"}, "5-day target has two columns, target_5d and ret_1d"),
        ({10: "ret_1d", 20: "ret_1d"}, "one column two horizons"),
        ({10: "sector"}, r"target columns must be numeric; not so are sector \(String\)"),
    ):
        with pytest.raises(DataError, match=message):
            ProductionDatasetV3(path, target_columns=target_columns)


def test_a_file_without_targets_lists_its_columns_and_shows_the_setting(tmp_path: Path) -> None:
    path = write(tmp_path, market().drop("target_1d", "target_5d"))
    with pytest.raises(DataError, match=r"date, code, ret_1d.*dataset\.target_columns=\{5: COLUMN\}"):
        ProductionDatasetV3(path)


def test_listed_features_are_loaded_in_their_order(tmp_path: Path) -> None:
    path = write(tmp_path, market())
    assert ProductionDatasetV3(path, feature_columns=["volume_z", "ret_1d"]).load_data().columns[4:] == [
        "volume_z",
        "ret_1d",
    ]
    for features, message in (
        (["target_1d"], r"target_1d \(a target\)"),
        (["code"], r"code \(a key\)"),
        (["ret_2d"], "ret_2d, which is missing; it has date"),
        (["sector"], r"feature columns must be numeric; not so are sector"),
        (["ret_1d", "ret_1d"], "distinct names"),
        ([], "distinct names"),
    ):
        with pytest.raises(DataError, match=message):
            ProductionDatasetV3(path, feature_columns=features)


def test_a_feature_that_equals_a_target_is_refused_naming_both(tmp_path: Path) -> None:
    frame = market().with_columns(pl.when(pl.col("code") != "7203").then("target_5d").alias("target_5d"))
    leaky = frame.with_columns(signal=pl.col("target_5d").fill_null(0).cast(pl.Float32))
    with pytest.raises(DataError, match="signal follows target_5d"):
        ProductionDatasetV3(write(tmp_path, leaky)).load_data()
    assert ProductionDatasetV3(write(tmp_path, leaky), feature_columns=["ret_1d"]).load_data().height == 18


def test_not_a_number_is_null_after_loading(tmp_path: Path) -> None:
    frame = market().with_columns(ret_1d=pl.Series([float("nan"), None] + [1.0, 2.0] * 8))
    assert ProductionDatasetV3(write(tmp_path, frame)).load_data()["ret_1d"].null_count() == 2


def test_days_outside_the_range_are_dropped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, market())
    dataset = ProductionDatasetV3(path, start_date="2024-01-05", end_date=DAYS[3])
    assert dataset.load_data()["date"].unique().sort().to_list() == DAYS[1:4]
    assert dataset.dropped == {"before 2024-01-05": 3, "after 2024-01-07": 6}
    with pytest.raises(DataError, match="it covers 2024-01-04 to 2024-01-09"):
        ProductionDatasetV3(path, start_date="2030-01-01").load_data()
    with pytest.raises(ConfigError, match="is after"):
        ProductionDatasetV3(path, start_date="2024-02-01", end_date="2024-01-01")
    with pytest.raises(ConfigError, match="start_date is 'January', which is not a date"):
        ProductionDatasetV3(path, start_date="January")


def test_duplicate_and_missing_keys_are_refused(tmp_path: Path) -> None:
    twice = pl.concat([market(), market().slice(4, 1)])
    with pytest.raises(DataError, match=r"1 rows repeat .*2024-01-05, 1301; the rows are equal"):
        ProductionDatasetV3(write(tmp_path, twice)).load_data()
    # Without the features it is unknown if the rows differ.
    with pytest.raises(DataError, match=r"1 rows repeat .*2024-01-05, 1301; keep the right one of each pair"):
        ProductionDatasetV3(write(tmp_path, twice)).load_index()
    nameless = market().with_columns(pl.when(pl.col("code") != "1301").then("code").alias("code"))
    with pytest.raises(DataError, match="6 rows have no code"):
        ProductionDatasetV3(write(tmp_path, nameless)).load_data()


def test_a_missing_file_error_explains_how_to_make_one(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.parquet", tmp_path):
        with pytest.raises(DataError, match=r"gogooku3 data synth.*gogooku3 data build --prices FILE --out"):
            ProductionDatasetV3(path)


def test_a_file_without_rows_or_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no rows"):
        ProductionDatasetV3(write(tmp_path, market().clear())).load_data()
    with pytest.raises(DataError, match="needs numeric columns besides keys and targets"):
        ProductionDatasetV3(write(tmp_path, market().drop("ret_1d", "volume_z")))
