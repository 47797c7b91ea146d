"""Marks a folder as complete: a list of its files with checksums, written last."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gogooku3.errors import DataError
from gogooku3.files.atomic import write_text_atomic
from gogooku3.runs.folder import read_json

SEAL = "fit.json"


def write_seal(folder: Path, files: Iterable[Path], facts: Mapping[str, Any]) -> None:
    """Declare a folder complete: record the SHA-256 of its `files`, and `facts` as JSON values."""
    checksums = {str(path.relative_to(folder).as_posix()): _checksum(path) for path in sorted(files)}
    write_text_atomic(folder / SEAL, json.dumps({**facts, "sha256": checksums}, indent=2) + "\n")


def is_sealed(folder: Path) -> bool:
    """Return True if the folder was declared complete."""
    return (folder / SEAL).is_file()


def verify_seal(folder: Path) -> None:
    """Check the files of a sealed folder as `read_seal` does; runs before version 0.2 have no seals."""
    if is_sealed(folder):
        read_seal(folder)


def read_seal(folder: Path) -> dict[str, Any]:
    """The facts of a complete folder, after checking every file.

    Raises:
        DataError: the seal is unreadable, or a file is missing or was changed since.
    """
    content, problem = read_json(folder / SEAL)
    checksums = (content or {}).get("sha256")
    if content is None or not isinstance(checksums, dict):
        raise DataError(f"{folder / SEAL} is damaged ({problem or 'no checksums'}); {_advice(folder)}")
    for name, checksum in checksums.items():
        path = folder / name
        if not path.is_file():
            raise DataError(f"{path} is missing; {_advice(folder)}")
        if _checksum(path) != checksum:
            raise DataError(f"{path} has changed since it was written: wrong checksum; {_advice(folder)}")
    return content


def _advice(folder: Path) -> str:
    return f"copy the run again, or delete {folder} and resume the run to fit this model again"


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
