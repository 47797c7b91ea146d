"""What a run's folder says of the run, checked. It loads nothing that reads settings, which takes a while."""

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gogooku3.errors import DataError, choices
from gogooku3.runs.files import MANIFEST, SPANS

_KINDS = {
    **{"data": dict, "versions": dict, "config": dict},
    **{"folds": list, "dropped": list, "resumed": list},
    "threads": int,
}
"""Parts of a manifest that others read, as JSON has them."""

_SPAN_ENDS = tuple(f"{part}_{end}" for part in SPANS for end in ("start", "end"))


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest in a run's folder; empty without one.

    Raises:
        DataError: it is not JSON, or a part of it is of another kind than we write.
    """
    file = path / MANIFEST
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file} is not JSON ({error}); start a new run") from None
    if not isinstance(content, dict):
        raise DataError(f"{file} holds no manifest but {type(content).__name__}; start a new run")
    for part, kind in _KINDS.items():
        if not isinstance(content.get(part), kind | None):
            raise DataError(
                f"{file}: its '{part}' is {type(content[part]).__name__}, not {kind.__name__}; bring "
                "the old file back, or start a new run"
            )
    for flaw in _flaws(content):
        raise DataError(f"{file}: {flaw}; bring the old file back, or start a new run")
    return content


def _flaws(manifest: dict[str, Any]) -> Iterator[str]:
    """What others would stumble over within the parts. A fold's number is that of a folder."""
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
