"""Checksums of a run's files: a fit's seal lists its files, the manifest of a complete run lists the others.

Runs before version 0.2 have no checksums: their files are read as they are.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gogooku3.errors import DataError
from gogooku3.files.atomic import write_json_atomic
from gogooku3.runs.folder import CONFIG, FEATURE_STATISTICS, GRAPHS, METRICS, PREDICTIONS, RETURNS
from gogooku3.runs.json_file import read_json, with_checksum
from gogooku3.runs.manifest import read_manifest

SEAL = "fit.json"
CHECKSUMS = "sha256"
"""Entry of a seal or a manifest: SHA-256 by the file's path below the folder."""
READ_BACK = (CONFIG, PREDICTIONS, RETURNS, METRICS, GRAPHS, f"fold_*/{FEATURE_STATISTICS}")
"""Files that the manifest of a complete run lists: all that are read back and have no checksum elsewhere."""


def write_seal(folder: Path, files: Iterable[Path], facts: Mapping[str, Any]) -> None:
    """Declare a folder complete: record the SHA-256 of its `files`, and `facts` as JSON values."""
    write_json_atomic(folder / SEAL, with_checksum({**facts, CHECKSUMS: _checksums(folder, files)}))


def is_sealed(folder: Path) -> bool:
    """Return True if the folder was declared complete."""
    return (folder / SEAL).is_file()


def verify_seal(folder: Path) -> None:
    """Check the files of a sealed folder as `read_seal` does."""
    if is_sealed(folder):
        read_seal(folder)


def read_seal(folder: Path) -> dict[str, Any]:
    """The facts of a complete folder, after checking every file.

    Raises:
        DataError: the seal is unreadable, or a file is missing or was changed since.
    """
    advice = f"copy the run again, or delete {folder} and resume the run to fit this model again"
    content, problem = read_json(folder / SEAL, {CHECKSUMS: dict})
    if content is None or content.get(CHECKSUMS) is None:
        raise DataError(f"{folder / SEAL} is damaged ({problem or 'no checksums'}); {advice}")
    for name, checksum in content[CHECKSUMS].items():
        if problem := changed(folder / name, checksum):
            raise DataError(f"{folder / name} {problem}; {advice}")
    return content


def run_checksums(run: Path) -> dict[str, str]:
    """Checksums of the files in `READ_BACK`, for the manifest of a complete run."""
    return _checksums(run, (path for pattern in READ_BACK for path in run.glob(pattern)))


def verify_files(run: Path, *names: str) -> None:
    """Check files of a run that its manifest lists; other files are not checked.

    Args:
        run: the run's folder.
        names: paths below it.

    Raises:
        DataError: one of them is missing or was changed, or the manifest is damaged.
    """
    checksums = read_manifest(run).get(CHECKSUMS) or {}
    for name in names:
        if name in checksums and (problem := changed(run / name, checksums[name])):
            raise DataError(f"{run / name} {problem}; copy the run again, or train again")


def changed(path: Path, checksum: object) -> str:
    """What is wrong with a file; empty if it has the checksum."""
    if not path.is_file():
        return "is missing"
    return "" if _checksum(path) == checksum else "has changed since it was written: wrong checksum"


def _checksums(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): _checksum(path) for path in sorted(files)}


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
