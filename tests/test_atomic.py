"""A file is the old one or the new one, never a part of it."""

import stat
from pathlib import Path

import pytest

from gogooku3.atomic import atomic_path, write_text_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_there_only_after_its_writer_is_done(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.txt"]


def test_a_writer_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(target) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("half way")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_writer_that_fails_on_a_new_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "a.txt"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_writer_may_put_another_file_in_the_temporary_ones_place(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_path(target) as temporary:
        temporary.unlink()
        temporary.write_text("made anew")
    assert target.read_text() == "made anew"


def test_a_file_written_whole_has_the_rights_of_any_other_file(tmp_path: Path) -> None:
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    plain.write_text("x")
    write_text_atomic(whole, "x")
    assert stat.S_IMODE(whole.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_text_is_written_in_utf_8_and_replaces_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text_atomic(target, "first, and longer")
    write_text_atomic(str(target), "終値")
    assert target.read_bytes() == "終値".encode()
