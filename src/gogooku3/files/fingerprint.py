"""Fingerprints of files and tables: they identify a content, and do not protect against forgery."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from gogooku3.files.year_folder import table_files

BLOCKS = 64
BLOCK_BYTES = 1 << 16
"""A file beyond `BLOCKS * BLOCK_BYTES` (4 MiB) is fingerprinted from its ends and evenly spaced blocks."""


def table_fingerprint(path: Path | str) -> str:
    """Fingerprint of a table: of its file, or of the names and contents of a year folder's files."""
    root = Path(path)
    if root.is_dir():
        return _combined({file.relative_to(root).as_posix(): file for file in table_files(root)})
    return file_fingerprint(root)


def fingerprint_files(paths: Sequence[Path]) -> str:
    """Fingerprint of the names and contents of files, in the given order."""
    return _combined({path.name: path for path in paths})


def file_fingerprint(path: Path | str) -> str:
    """A fast content fingerprint: blake2b over the file's size, its first, last and 62 blocks between.

    Files up to 4 MiB are hashed whole. Of a larger Parquet file the footer (position, size and statistics of
    every column chunk) is hashed as well, so that another build gives another fingerprint though only 4 MiB
    of its pages are read: 300 MB take milliseconds.
    """
    source = Path(path)
    size = source.stat().st_size
    digest = _hash(str(size))
    with source.open("rb") as file:
        if size <= BLOCKS * BLOCK_BYTES:
            digest.update(file.read())
            return digest.hexdigest()
        for block in range(BLOCKS):
            file.seek((size - BLOCK_BYTES) * block // (BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))
        file.seek(size - 8)
        length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
        if magic == b"PAR1" and length + 8 <= size:
            file.seek(size - 8 - length)
            digest.update(file.read(length))
    return digest.hexdigest()


def frame_fingerprint(frame: pl.DataFrame, keys: Sequence[str]) -> str:
    """Fingerprint of every value of a table, whatever the order of its rows and columns.

    The same on every machine and with every version of the libraries. Null and NaN count as equal.

    Args:
        frame: columns of numbers, days and text, unique by `keys`.
        keys: columns to sort by; quick where the rows are sorted already.
    """
    frame = frame.sort(keys)
    digest = _hash(str(frame.height))
    for name in sorted(frame.columns):
        digest.update(name.encode())
        column = frame[name]
        if column.dtype == pl.String:
            # A stock's rows stand together, so runs are few.
            runs = column.fill_null("").rle().struct.unnest()
            digest.update("\0".join(runs["value"]).encode())
            column = runs["len"]
        elif column.dtype == pl.Date:
            column = column.to_physical()
        digest.update(column.cast(pl.Float64).fill_null(np.nan).to_numpy().tobytes())
    return digest.hexdigest()


def _combined(files: Mapping[str, Path]) -> str:
    digest = _hash("")
    for name, path in files.items():
        digest.update(f"{name}\0{file_fingerprint(path)}\0".encode())
    return digest.hexdigest()


def _hash(start: str) -> "hashlib.blake2b":
    return hashlib.blake2b(start.encode(), digest_size=16)
