"""Every way of copying gives the same bytes."""

import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from gogooku3.data import byte_copy
from gogooku3.data.byte_copy import copy_beginning
from gogooku3.errors import DataError

BLOCK, PART = 4096, 4 * 4096
CONTENT = os.urandom(3 * PART + BLOCK + 77)
linux_only = pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="only Linux copies past its cache")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_copy, "_PART", PART)


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., bytes]:
    """Copies the content's beginning, puts some bytes behind it, and reads what came out."""

    def copy(end: int, stop: Event | None = None, content: bytes = CONTENT) -> bytes:
        (tmp_path / "old").write_bytes(content)
        with (tmp_path / "old").open("rb") as source, (tmp_path / "new").open("wb") as out:
            copy_beginning(source, out, end, stop or Event())
            out.write(b"behind")
        return (tmp_path / "new").read_bytes()

    return copy


def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this system can."""


def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that cannot pass its cache."""
    monkeypatch.delattr(os, "O_DIRECT", raising=False)


def cache_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the old file is in the cache."""
    read = os.preadv

    def preadv(file: int, buffers: list[memoryview], place: int, flags: int = 0) -> int:
        if flags:
            raise BlockingIOError
        return read(file, buffers, place)

    monkeypatch.setattr(os, "preadv", preadv)


def disk_refuses_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second write past the cache fails, having written half of it."""
    write, calls = os.pwrite, []

    def pwrite(file: int, part: memoryview, place: int) -> int:
        calls.append(place)
        if len(calls) > 1:
            write(file, part[: len(part) // 2 // BLOCK * BLOCK], place)
            raise OSError(22, "odd")
        return write(file, part, place)

    monkeypatch.setattr(os, "pwrite", pwrite)


def files_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that shares blocks."""

    def ioctl(out: int, request: int, asked: bytes) -> int:
        source, begin, size, place = struct.unpack("=qQQQ", asked)
        assert (request, begin, place) == (0x4020940D, 0, 0)
        assert size % BLOCK == 0
        assert os.pwrite(out, os.pread(source, size, 0), 0) == size
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)


WAYS = [
    as_it_is,
    in_parts,
    pytest.param(cache_is_empty, marks=linux_only),
    pytest.param(disk_refuses_later, marks=linux_only),
    files_share,
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("end", [0, 1, BLOCK - 1, BLOCK, PART, PART + 5, 2 * PART + BLOCK, len(CONTENT)])
def test_the_beginning_is_copied_whatever_the_system_can(way, end: int, copied, monkeypatch) -> None:
    way(monkeypatch)
    assert copied(end) == CONTENT[:end] + b"behind"


@pytest.mark.parametrize("way", WAYS[:-1])
def test_a_file_that_has_shrunk_is_an_error(way, copied, monkeypatch) -> None:
    way(monkeypatch)
    with pytest.raises(DataError, match="has shrunk while it was read"):
        copied(len(CONTENT), content=CONTENT[: 2 * PART + 9])


@pytest.mark.parametrize("way", WAYS[:-1])
def test_a_copy_that_is_not_wanted_any_more_ends(way, copied, monkeypatch) -> None:
    way(monkeypatch)
    stop = Event()
    stop.set()
    assert copied(len(CONTENT), stop) == b"behind"
