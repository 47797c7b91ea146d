"""A data set as a folder by year reads like the same rows in one file."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.feature_file import FeatureFile
from gogooku3.data.panel import Panel
from gogooku3.data.panel_reader import read_panel
from gogooku3.data.quality.validation import validate
from gogooku3.errors import DataError
from gogooku3.files.year_folder import check_table_output, table_files, year_file


def rows() -> pl.DataFrame:
    days = [dt.date(2022, 12, 1) + dt.timedelta(day) for day in range(0, 500, 3)]
    keys = pl.DataFrame({"date": days}).join(
        pl.DataFrame({"code": [f"{s:04}" for s in range(12)]}), how="cross"
    )
    random = np.random.default_rng(0)
    names = ("target_1d", "target_5d", "ret_1d", "x")
    values = {name: random.standard_normal(keys.height).astype(np.float32) for name in names}
    return keys.with_columns(**values).with_columns(pl.when(pl.col("x") < 1).then("x"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = rows()
    for (year,), part in frame.group_by(frame["date"].dt.year(), maintain_order=True):
        file = year_file(tmp_path / "set", int(str(year)))
        file.parent.mkdir(parents=True)
        part.write_parquet(file)
    frame.write_parquet(tmp_path / "set.parquet")
    return tmp_path / "set"


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("start", [None, "2023-06-01"])
def test_rows_targets_and_extent_are_those_of_the_file(folder: Path, lazy: bool, start: str | None) -> None:
    one, other = (
        ProductionDatasetV3(path, lazy, start_date=start) for path in (folder, folder.with_suffix(".parquet"))
    )
    assert one.columns == other.columns and "year" not in one.feature_names
    assert one.load_data().equals(other.load_data())
    assert one.load_index().equals(other.load_index())
    assert one.extent() == other.extent()
    assert one.dropped == other.dropped


@pytest.mark.parametrize("block_rows", [7, 100_000])
def test_the_panel_is_that_of_the_frame(folder: Path, block_rows: int) -> None:
    loader = ProductionDatasetV3(folder, start_date="2023-06-01")
    panel = read_panel(loader, loader.load_index(), (1, 5), block_rows=block_rows)
    whole = Panel.from_frame(loader.load_data(), loader.feature_names, (1, 5))
    assert np.array_equal(panel.values, whole.values, equal_nan=True)
    assert np.array_equal(panel.targets, whole.targets, equal_nan=True)


def test_features_of_some_days_are_those_of_the_file(folder: Path) -> None:
    one, other = (FeatureFile(path, ["ret_1d", "x"]) for path in (folder, folder.with_suffix(".parquet")))
    assert one.days().equals(other.days())
    days = dt.date(2022, 12, 20), dt.date(2023, 1, 20)
    assert one.read(*days).equals(other.read(*days))


def test_validation_finds_the_same(folder: Path) -> None:
    assert validate(folder).to_dict() == validate(folder.with_suffix(".parquet")).to_dict()


def test_files_of_other_writers_and_hidden_files_are_accepted(folder: Path) -> None:
    for file in table_files(folder):
        file.rename(file.with_name("data_0.parquet"))
    (folder / ".DS_Store").touch()
    (folder / "year=2022" / ".data_0.parquet.crc").touch()
    (folder / "year=2025").mkdir()
    assert ProductionDatasetV3(folder).load_data().equals(rows())


def remove_all(folder: Path) -> None:
    for file in table_files(folder):
        file.unlink()


def damage_pages(folder: Path) -> None:
    file = year_file(folder, 2023)
    content = bytearray(file.read_bytes())
    content[4:600] = bytes(596)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_all, r"set is a folder without files such as year=2024/part\.parquet.*gogooku3 data build"),
        (lambda f: (f / "notes.txt").touch(), r"set contains notes\.txt.*move"),
        (lambda f: (f / "year=2023" / "a.csv").touch(), r"set contains year=2023/a\.csv.*move"),
        (lambda f: (f / "month=1").mkdir(), "set contains month=1.*move"),
        (lambda f: year_file(f, 2023).write_bytes(b""), r"year=2023/part\.parquet is empty"),
        (
            lambda f: year_file(f, 2023).write_bytes(b"PAR1 text"),
            r"year=2023/part\.parquet cannot be read as Parq",
        ),
        (damage_pages, r"year=2023/part\.parquet cannot be read as Parquet"),
        (
            lambda f: rows().drop("x").write_parquet(f / "year=2023" / "a.parquet"),
            r"year=2023/a\.parquet and .*year=2022/part\.parquet differ in the columns x; build",
        ),
        (
            lambda f: rows().cast({"x": pl.Float64}).write_parquet(year_file(f, 2024)),
            r"year=2024/part\.parquet and .* differ in the columns x; build",
        ),
        (lambda f: rows().write_parquet(year_file(f, 2023)), "rows repeat a .date, code."),
    ],
)
def test_a_spoiled_folder_is_refused_by_name(
    spoil: Callable[[Path], None], message: str, folder: Path
) -> None:
    spoil(folder)
    with pytest.raises(DataError, match=message):
        ProductionDatasetV3(folder).load_data()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("set.csv", r"name it 'set\.parquet'"),
        ("", "not a name of a folder"),
        ("file", "a file without an ending"),
        ("set.parquet/new", "is not a folder"),
        ("full", r"a folder of other files \(a.txt\)"),
    ],
)
def test_an_unusable_output_is_refused(name: str, message: str, folder: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder.parent)
    Path("file").touch()
    Path("full").mkdir()
    Path("full/a.txt").touch()
    with pytest.raises(DataError, match=message):
        check_table_output(name)


def test_new_empty_and_old_folders_are_accepted_as_output(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty", "set", "v1.2", "deep/new"):
        assert check_table_output(tmp_path / name) == tmp_path / name
