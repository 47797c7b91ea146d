"""Tests naming and writing of run folders."""

import datetime as dt
import json
import re
from pathlib import Path

import polars as pl
import pytest

from gogooku3.errors import ConfigError
from gogooku3.runs import folder
from gogooku3.runs.folder import RunFolder


def test_the_folder_is_named_by_experiment_and_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs", "first.try-1")
    assert folder.path.parent == tmp_path / "runs" / "first.try-1"
    assert re.fullmatch(r"\d{8}-\d{6}", folder.path.name)
    assert folder.path.is_dir()


def test_two_runs_of_the_same_second_get_different_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Noon(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> "Noon":
            return cls(2024, 1, 4, 12, tzinfo=tz)

    monkeypatch.setattr(folder.dt, "datetime", Noon)
    names = [RunFolder(tmp_path, "x").path.name for _ in range(3)]
    assert names == ["20240104-120000", "20240104-120000-1", "20240104-120000-2"]


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", "a b", "-x", ".hidden", "a\n"])
def test_an_invalid_experiment_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="names a folder"):
        RunFolder(tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_text_json_and_tables_are_read_back_unchanged(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "x")
    assert folder.write_text("a.txt", "終値").read_text(encoding="utf-8") == "終値"
    content = {"day": dt.date(2024, 1, 4), "path": Path("a/b"), "score": 0.5}
    read = json.loads(folder.write_json("a.json", content).read_text())
    assert read == {"day": "2024-01-04", "path": "a/b", "score": 0.5}
    table = pl.DataFrame({"date": [dt.date(2024, 1, 4)], "prediction": [0.5]})
    assert pl.read_parquet(folder.write_table("a.parquet", table)).equals(table)
    assert sorted(path.name for path in folder.path.iterdir()) == ["a.json", "a.parquet", "a.txt"]


def test_a_fold_and_a_seed_have_their_own_folders(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "x")
    assert folder.fold(2) == folder.fold(2) == folder.path / "fold_2"
    assert folder.fold(2).is_dir()
    assert folder.fold(2, seed=7) == folder.fold(2) / "seed_7"
    assert folder.write_text(folder.fold(3, seed=7) / "note.txt", "x").read_text() == "x"
    folder.write_text("fold_2/history.csv", "x")
    assert (folder.path / "fold_2" / "history.csv").is_file()
