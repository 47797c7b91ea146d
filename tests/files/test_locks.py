"""One writer at a time, and a dead writer holds nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gogooku3.errors import DataError
from gogooku3.files.locks import exclusive

HOLDER = """
import sys, time
from pathlib import Path
from gogooku3.files.locks import exclusive
with exclusive(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    command = [sys.executable, "-c", HOLDER, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataError) as refused, exclusive(lock, "the folder is busy"):
            pass
        holder.kill()
        holder.wait()
    here, since = re.escape(os.uname().nodename), r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d"
    assert re.fullmatch(
        rf"the folder is busy \(process {holder.pid} on {here} since {since}\); "
        "wait until it has ended, or stop it",
        str(refused.value),
    )
    assert lock.read_text().startswith(f"process {holder.pid} ")
    with exclusive(lock, "the folder is busy"):
        assert lock.read_text().startswith(f"process {os.getpid()} ")
    assert lock.read_text() == ""


@pytest.mark.parametrize("note", [b"", b"process \xff\n\x1b[2J", b"anything"])
def test_a_holder_that_does_not_tell_its_name_is_unknown(tmp_path: Path, note: bytes) -> None:
    lock = tmp_path / ".lock"
    with exclusive(lock, "busy"):
        lock.write_bytes(note)
        with pytest.raises(DataError, match=r"^busy; wait until it has ended"), exclusive(lock, "busy"):
            pass


def test_the_lock_is_free_after_the_block_even_when_the_block_fails(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with pytest.raises(RuntimeError), exclusive(lock, "busy"):
        raise RuntimeError
    with exclusive(lock, "busy"):
        pass
