"""Files are written whole or not at all: a temporary name, fsync, rename."""

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gogooku3.errors import DataError, GogookuError, file_error

if TYPE_CHECKING:
    import polars as pl

_RANDOM = 8
"""Characters that `tempfile` puts between prefix and suffix."""


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    The folder is created. Readers see the old file or the new one, never a part of it.

    Raises:
        DataError: the disk is full, read-only, forbidden or gone; the old file is as it was.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (Path(folder) / "a.txt").read_text()
    'whole'
    """
    target = Path(path)
    try:
        temporary = _temporary_beside(target)
        try:
            yield temporary
            _replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except GogookuError:
        raise
    except Exception as error:
        if problem := file_error(error, target):
            raise problem from error
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that killed writers left in a folder; none may be writing there now."""
    for left in folder.rglob(".*.tmp"):
        left.unlink(missing_ok=True)


def remove_leftovers_of(target: Path) -> None:
    """Remove what killed writers of one file left beside it, and no other's; none may be writing it now."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.{'?' * _RANDOM}.tmp"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)


def temporary_folder_beside(target: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for parts of a file, on its disk; it goes as leftovers of the file go."""
    return tempfile.TemporaryDirectory(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)


def _temporary_beside(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    return Path(name)


def _replace(temporary: Path, target: Path) -> None:
    """Let a written file take its place, safely on the disk."""
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    temporary.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def check_output(path: Path | str, suffix: str) -> Path:
    """Refuse a place where no file can be written, before anything is computed for it; creates nothing.

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
    nearest = next(folder for folder in target.absolute().parents if os.path.lexists(folder))
    if not nearest.is_dir():
        raise DataError(
            f"'{target}' can't be written, because '{nearest}' is no folder; choose another place"
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise DataError(
            f"'{target}' can't be written, because '{nearest}' is read-only; choose another place"
        )
    return target


def write_text_atomic(path: Path | str, text: str) -> None:
    """Write a UTF-8 text file whole."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_parquet_atomic(path: Path | str, frame: "pl.DataFrame") -> None:
    """Write a Parquet file whole, compressed with zstd."""
    with atomic_path(path) as temporary:
        frame.write_parquet(temporary, compression="zstd")
