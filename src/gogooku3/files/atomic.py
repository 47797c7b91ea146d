"""Files and folders are written whole or not at all: a temporary name, fsync, rename."""

import glob
import json
import os
import platform
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gogooku3.errors import DataError, GogookuError, file_error

if TYPE_CHECKING:
    import polars as pl

_WRITER = re.compile(r"(?:(\d+)-([0-9a-f]{8})-)?\w{8}\.tmp")
"""End of a temporary name: process and machine of its writer, and eight characters of `tempfile`."""


@contextmanager
def atomic_path(path: Path | str, beside: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path; on success it replaces `path`, on failure it is removed.

    Folders are created, and what killed writers of the same file left is removed. Readers see the old file or
    the new one, never a part of it.

    Args:
        path: the file to write.
        beside: put the temporary file next to this path instead of next to `path`, on the same disk.

    Raises:
        DataError: the disk is full, read-only, forbidden or gone; the old file is unchanged.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    target = Path(path)
    with _disk_errors(target):
        near = beside or target
        near.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans_of(near)
        handle, name = tempfile.mkstemp(prefix=_prefix(near), suffix=".tmp", dir=near.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; on success it replaces `path`, on failure it is removed.

    The files in it must be written with `atomic_path`, which syncs them.

    Raises:
        DataError: as in `atomic_path`; the old folder is unchanged.
    """
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_orphans_of(path)
        with _temporary_folder(path) as new, _temporary_folder(path) as old:
            yield new
            new.chmod(0o777 & ~_umask())
            if path.exists():
                path.rename(old / path.name)
            try:
                new.rename(path)
            except OSError:
                (old / path.name).rename(path)
                raise
            _sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed writers from a folder in which no process writes now."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def remove_leftovers_of(target: Path) -> None:
    """Remove what killed writers of one file or folder left next to it; no process may be writing it now."""
    for path, _ in _leftovers(target):
        _remove_leftover(path, target)


def _remove_orphans_of(target: Path) -> None:
    """Remove what writers left that were killed on this machine; files of other machines stay."""
    for path, writer in _leftovers(target):
        if writer[1] and int(writer[2], 16) == _machine() and not _is_alive(int(writer[1])):
            _remove_leftover(path, target)


def _leftovers(target: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    """Temporary files and folders of a target, and the match of `_WRITER`."""
    prefix = f".{target.name}."
    for path in target.parent.glob(f"{glob.escape(prefix)}*.tmp"):
        if writer := _WRITER.fullmatch(path.name.removeprefix(prefix)):
            yield path, writer


def _remove_leftover(path: Path, target: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # `atomic_folder` was killed after it put the old folder aside.
    if not target.exists() and (path / target.name).exists():
        (path / target.name).rename(target)
    shutil.rmtree(path)


def _is_alive(process: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(process))


def _machine() -> int:
    """A short name of this machine."""
    return zlib.crc32(platform.node().encode())


def _prefix(target: Path) -> str:
    """Start of a temporary name, which names the process and the machine; `tempfile` adds the rest."""
    return f".{target.name}.{os.getpid()}-{_machine():08x}-"


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    """Turn failures of the disk into errors that name the target."""
    try:
        yield
    except GogookuError:
        raise
    except Exception as error:
        if problem := file_error(error, target):
            raise problem from error
        raise


@contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_prefix(target), suffix=".tmp", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replace(temporary: Path, target: Path) -> None:
    """Sync a written file to the disk and rename it to its target."""
    # Windows syncs only files open for writing.
    with temporary.open("r+b") as written:
        os.fsync(written.fileno())
    temporary.chmod(0o666 & ~_umask())
    target.parent.mkdir(exist_ok=True)
    temporary.replace(target)
    _sync_folder(target.parent)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _sync_folder(folder: Path) -> None:
    """Sync a folder's list of files; Windows opens no folders and needs no sync."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_output(path: Path | str, suffix: str) -> Path:
    """Refuse a path to which no file can be written, before anything is computed for it; creates nothing.

    Raises:
        DataError: another ending than `suffix`, a folder of that name, or a file where a folder must be.

    >>> check_output("mine.csv", ".parquet")
    Traceback (most recent call last):
    gogooku3.errors.DataError: 'mine.csv' is to be written as .parquet; name it 'mine.parquet'
    """
    target = Path(path)
    if target.suffix != suffix:
        raise DataError(f"'{target}' is to be written as {suffix}; name it '{target.stem}{suffix}'")
    if target.is_dir():
        raise DataError(f"'{target}' is a folder; name a file in it, as in '{target / ('mine' + suffix)}'")
    check_writable(target)
    return target


def check_writable(target: Path) -> None:
    """Refuse a path whose folder cannot be created or written to.

    Raises:
        DataError: a file where a folder must be, or a read-only folder.
    """
    nearest = next(folder for folder in target.absolute().parents if os.path.lexists(folder))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        reason = "read-only" if nearest.is_dir() else "not a folder"
        raise DataError(f"'{target}' can't be written, because '{nearest}' is {reason}; choose another place")


def write_text_atomic(path: Path | str, text: str) -> None:
    """Write a UTF-8 text file whole."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json_atomic(path: Path | str, content: Any) -> None:
    """Write a JSON file whole; dates and paths become text."""
    write_text_atomic(path, json.dumps(content, indent=2, default=str) + "\n")


def write_parquet_atomic(path: Path | str, frame: "pl.DataFrame") -> None:
    """Write a Parquet file whole, compressed with zstd."""
    with atomic_path(path) as temporary:
        frame.write_parquet(temporary, compression="zstd")
