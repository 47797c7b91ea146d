"""A sealed folder is complete and unchanged, or is refused with the damaged file."""

import json
from pathlib import Path

import pytest

from gogooku3.errors import DataError
from gogooku3.runs.seal import SEAL, is_sealed, read_seal, verify_seal, write_seal


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


def test_a_folder_without_a_seal_is_not_checked(tmp_path: Path) -> None:
    verify_seal(tmp_path)
