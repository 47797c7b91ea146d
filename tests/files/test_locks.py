"""One writer at a time; the lock of a killed writer is free."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gogooku3.errors import DataError
from gogooku3.files.locks import exclusive, holder_note, is_locked

HOLDER = """
import sys, time
from pathlib import Path
from gogooku3.files.locks import exclusive
with exclusive(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_holds_no_lock(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    note = holder_note(lock)
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataError) as refused, exclusive(lock, "the folder is busy"):
            pass
        assert is_locked(lock)
        holder.kill()
        holder.wait()
    assert not is_locked(lock)
    here, since = re.escape(platform.node()), r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"
    assert re.fullmatch(
        rf"the folder is busy \(process {holder.pid} on {here} since {since}\); "
        "wait until it has ended, or stop it",
        str(refused.value),
    )
    assert note.read_text().startswith(f"process {holder.pid} ")
    with exclusive(lock, "the folder is busy"):
        assert note.read_text().startswith(f"process {os.getpid()} ")
    assert not note.exists()


@pytest.mark.parametrize("note", [b"", b"process \xff\n\x1b[2J", b"anything"])
def test_a_holder_without_a_readable_note_is_unknown(tmp_path: Path, note: bytes) -> None:
    lock = tmp_path / ".lock"
    with exclusive(lock, "busy"):
        holder_note(lock).write_bytes(note)
        with pytest.raises(DataError, match=r"^busy; wait until it has ended"), exclusive(lock, "busy"):
            pass


def test_the_lock_is_free_after_the_block_even_when_the_block_fails(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with pytest.raises(RuntimeError), exclusive(lock, "busy"):
        raise RuntimeError
    with exclusive(lock, "busy"):
        pass


def test_a_file_that_does_not_exist_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / ".lock")
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
@pytest.mark.parametrize("name", [".lock", ".lock.holder"])
def test_a_lock_that_is_no_plain_file_is_refused_at_once(name: str, kind: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    place = tmp_path / name
    make = {"pipe": os.mkfifo, "link": lambda path: path.symlink_to(precious), "folder": os.mkdir}
    make[kind](place)
    with pytest.raises(DataError, match="is not a plain file"), exclusive(tmp_path / ".lock", "busy"):
        pass
    assert precious.read_text() == "precious"
