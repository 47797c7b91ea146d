"""Reads, checks and writes the manifest of a run. Imports no settings code, which is slow to load."""

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gogooku3.errors import choices
from gogooku3.runs.folder import MANIFEST, SPANS, RunFolder
from gogooku3.runs.json_file import damaged, read_json, with_checksum

_TYPES = {
    **dict.fromkeys(("data", "versions", "config", "sha256"), dict),
    **dict.fromkeys(("folds", "dropped", "resumed"), list),
    "threads": int,
}
"""JSON types of the parts that other modules read."""

_SPAN_ENDS = tuple(f"{part}_{end}" for part in SPANS for end in ("start", "end"))


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the manifest in a run's folder; empty if there is none.

    Raises:
        DataError: not JSON, changed since it was written, or a part is not of the type that a run writes.
    """
    file = path / MANIFEST
    if not file.is_file():
        return {}
    content, problem = read_json(file, _TYPES)
    advice = "bring the old file back, or start a new run"
    if content is None:
        raise damaged(file, problem, advice)
    if wrong := next(_problems(content), None):
        raise damaged(file, f"{MANIFEST}: {wrong}", advice)
    return content


def write_manifest(folder: RunFolder, content: Mapping[str, Any]) -> None:
    """Write the manifest of a run with its own checksum."""
    folder.write_json(MANIFEST, with_checksum(content))


def _problems(manifest: dict[str, Any]) -> Iterator[str]:
    """Parts that other modules could not use. A fold's number must be valid in a folder's name."""
    data = manifest.get("data") or {}
    if data and not all(isinstance(data.get(name), str) for name in ("path", "fingerprint")):
        yield "its 'data' lacks the path or fingerprint of a data set"
    for fold in manifest.get("folds") or ():
        number = fold.get("fold") if isinstance(fold, dict) else None
        if type(number) is not int or number < 0:
            yield f"its 'folds' has one of number {json.dumps(number)}, not 0 or more"
        elif wrong := [name for name in _SPAN_ENDS if not _is_day(fold.get(name))]:
            yield f"its 'folds' has fold {number} without the days {choices(wrong)}"
    for drop in manifest.get("dropped") or ():
        if not isinstance(drop, dict) or type(drop.get("rows")) is not int:
            yield "its 'dropped' has an entry without a number of rows"


def _is_day(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(dt.date.fromisoformat(text))
    except ValueError:
        return False
