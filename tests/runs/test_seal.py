"""A sealed folder is complete and unchanged, or is refused with the damaged file."""

import json
from pathlib import Path

import pytest

from gogooku3.errors import DataError
from gogooku3.runs.json_file import with_checksum
from gogooku3.runs.seal import (
    SEAL,
    is_sealed,
    read_seal,
    run_checksums,
    verify_files,
    verify_seal,
    write_seal,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    files = [tmp_path / "a.bin", tmp_path / "sub" / "b.txt"]
    for path in files:
        path.write_bytes(path.name.encode())
    write_seal(tmp_path, files, {"model": "linear"})
    return tmp_path


def test_a_sealed_folder_gives_its_facts(folder: Path) -> None:
    assert is_sealed(folder) and not is_sealed(folder / "sub")
    assert read_seal(folder)["model"] == "linear"
    assert set(read_seal(folder)["sha256"]) == {"a.bin", "sub/b.txt"}


def test_files_outside_the_seal_may_change(folder: Path) -> None:
    (folder / "events.log").write_text("x")
    verify_seal(folder)


@pytest.mark.parametrize("name", ["a.bin", "sub/b.txt"])
def test_a_changed_or_missing_file_is_named(name: str, folder: Path) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=f"{path.name} has changed since it was written"):
        verify_seal(folder)
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name} is missing"):
        verify_seal(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"sha256": [1]})])
def test_an_unreadable_seal_is_refused(content: str, folder: Path) -> None:
    (folder / SEAL).write_text(content)
    with pytest.raises(DataError, match=r"fit\.json is damaged"):
        verify_seal(folder)


def test_a_seal_with_other_facts_is_refused(folder: Path) -> None:
    seal = folder / SEAL
    seal.write_text(seal.read_text().replace("linear", "lineas"))
    with pytest.raises(DataError, match=r"fit\.json is damaged .*wrong checksum"):
        read_seal(folder)


def test_files_that_a_manifest_lists_are_checked(tmp_path: Path) -> None:
    (tmp_path / "fold_0").mkdir()
    for name in ("predictions.parquet", "metrics.json", "fold_0/feature_statistics.parquet", "report.html"):
        (tmp_path / name).write_text(name)
    sums = run_checksums(tmp_path)
    assert set(sums) == {"predictions.parquet", "metrics.json", "fold_0/feature_statistics.parquet"}
    (tmp_path / "manifest.json").write_text(json.dumps(with_checksum({"sha256": sums})))
    verify_files(tmp_path, *sums, "report.html")
    (tmp_path / "metrics.json").write_text("metrics.jsom")
    with pytest.raises(DataError, match=r"metrics\.json has changed since it was written"):
        verify_files(tmp_path, "metrics.json")
    verify_files(tmp_path, "predictions.parquet")


def test_a_folder_without_a_seal_is_not_checked(tmp_path: Path) -> None:
    verify_seal(tmp_path)
