"""Readers see the old file or the new one, never a part of it."""

import os
import platform
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from gogooku3.files.atomic import atomic_folder, atomic_path, write_text_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_after_its_writer_is_done(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.txt"]


def test_a_failed_writer_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(target) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("half way")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_failed_writer_of_a_new_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "a.txt"):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_writer_may_replace_the_temporary_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_path(target) as temporary:
        temporary.unlink()
        temporary.write_text("written again")
    assert target.read_text() == "written again"


def test_an_atomic_file_has_the_usual_permissions(tmp_path: Path) -> None:
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    plain.write_text("x")
    write_text_atomic(whole, "x")
    assert stat.S_IMODE(whole.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_text_is_written_in_utf_8_and_replaces_the_old_text(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text_atomic(target, "first, and longer")
    write_text_atomic(str(target), "終値")
    assert target.read_bytes() == "終値".encode()


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with atomic_folder(tmp_path / "a") as temporary:
            write_text_atomic(temporary / "deep" / name, name)
            assert temporary.parent == tmp_path
    assert names(tmp_path / "a" / "deep") == ["new"]
    assert names(tmp_path) == ["a"]
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_writer_leaves_the_old_folder(tmp_path: Path) -> None:
    write_text_atomic(tmp_path / "a" / "old", "old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "a") as temporary:
        write_text_atomic(temporary / "new", "new")
        raise RuntimeError
    assert names(tmp_path / "a") == ["old"]
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", ["text", "parquet", "safetensors"])
def test_a_full_disk_is_one_clear_error_and_the_old_file_stays(tmp_path: Path, kind: str) -> None:
    """A limit on the size of files, which every writer hits, stands in for the full disk."""
    script = f"""
import resource, signal, sys
from pathlib import Path
import numpy as np, polars as pl
from safetensors.numpy import save_file
from gogooku3.files.atomic import atomic_path
from gogooku3.errors import DataError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
data = np.random.default_rng(0).random(100_000)
writers = {{
    "text": lambda path: path.write_text("x" * 100_000),
    "parquet": lambda path: pl.DataFrame({{"x": data}}).write_parquet(path),
    "safetensors": lambda path: save_file({{"x": data}}, path),
}}
try:
    with atomic_path(Path(sys.argv[1])) as temporary:
        writers[{kind!r}](temporary)
except DataError as error:
    print(error)
"""
    path = tmp_path / "old"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    assert done.stdout.startswith(f"{path}: it would be larger than this process may write"), done.stderr
    assert path.read_text() == "old"
    assert [left.name for left in tmp_path.iterdir()] == ["old"]


KILLED = """
import os, signal, sys
from pathlib import Path
from gogooku3.files.atomic import atomic_folder, atomic_path
with (atomic_path if sys.argv[2] == "file" else atomic_folder)(Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_next_writer_removes_what_a_killed_one_left(kind: str, tmp_path: Path) -> None:
    target = tmp_path / "a[1].b"
    subprocess.run([sys.executable, "-c", KILLED, str(target), kind])
    assert len(names(tmp_path)) == (1 if kind == "file" else 2)
    # Another process that is alive, and another machine.
    others = [f".a[1].b.{os.getpid()}-{machine()}-abcdefgh.tmp", ".a[1].b.1-00000000-abcdefgh.tmp"]
    for name in others:
        (tmp_path / name).write_text("alive")
    if kind == "file":
        write_text_atomic(target, "new")
    else:
        with atomic_folder(target) as folder:
            write_text_atomic(folder / "new", "new")
    assert names(tmp_path) == sorted([*others, target.name])


def machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def test_a_folder_that_a_killed_writer_put_aside_comes_back(tmp_path: Path) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    aside = tmp_path / f".a.{done.pid}-{machine()}-abcdefgh.tmp" / "a"
    aside.mkdir(parents=True)
    (aside / "old").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "a"):
        raise RuntimeError
    assert names(tmp_path) == ["a"] and (tmp_path / "a" / "old").read_text() == "old"
