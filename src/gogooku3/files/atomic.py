"""Files and folders are written whole or not at all: a temporary name, fsync, rename."""

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gogooku3.errors import DataError, GogookuError, file_error

if TYPE_CHECKING:
    import polars as pl


@contextmanager
def atomic_path(path: Path | str, beside: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path; on success it replaces `path`, on failure it is removed.

    Folders are created. Readers see the old file or the new one, never a part of it.

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
        handle, name = tempfile.mkstemp(prefix=f".{near.name}.", suffix=".tmp", dir=near.parent)
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
    # `tempfile` puts eight characters between prefix and suffix.
    for path in target.parent.glob(f".{glob.escape(target.name)}.????????.tmp"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


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
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
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
