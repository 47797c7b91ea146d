"""The typed reader of a run's JSON files, and the checksum that a file carries of its own content."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gogooku3.errors import DataError

OWN_CHECKSUM = "own_sha256"
"""Last entry of a file: SHA-256 of the others. It detects damage, not forgery."""

Types = Mapping[str, type | tuple[type, ...]]


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values with their own checksum as the last entry; dates and paths become text."""
    plain = json.loads(json.dumps(content, default=str))
    return {**plain, OWN_CHECKSUM: _checksum(plain)}


def read_json(path: Path, types: Types | None = None) -> tuple[dict[str, Any] | None, str]:
    """Read a JSON object that may be missing or damaged.

    Args:
        path: the file; its own checksum is verified where it has one, and left out of the result.
        types: types of some entries; an entry may be missing or null.

    Returns:
        the object, or None and the problem, which begins with the file's name; a missing file is no problem
        ("").
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"{path.name} can't be read: {error.strerror}"
    except (ValueError, RecursionError):
        return None, f"{path.name} is not JSON"
    if not isinstance(content, dict):
        return None, f"{path.name} holds {type(content).__name__}, not an object"
    own = content.pop(OWN_CHECKSUM, None)
    if own is not None and own != _checksum(content):
        return None, f"{path.name} has changed since it was written: wrong checksum"
    for name, kind in (types or {}).items():
        value = content.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            expected = " or ".join(each.__name__ for each in (kind if isinstance(kind, tuple) else (kind,)))
            return None, f"{path.name}: its '{name}' is {type(value).__name__}, not {expected}"
    return content, ""


def require_json(path: Path, types: Types, advice: str) -> dict[str, Any]:
    """Read a JSON object that must be there.

    Args:
        path: the file.
        types: types of entries that must be there.
        advice: end of the error message.

    Raises:
        DataError: missing or damaged, or an entry is missing or of another type.
    """
    content, problem = read_json(path, types)
    if content is None:
        raise damaged(path, problem or f"{path.name} is missing", advice)
    for name in types:
        if content.get(name) is None:
            raise damaged(path, f"{path.name} has no '{name}'", advice)
    return content


def damaged(path: Path, problem: str, advice: str) -> DataError:
    """The error for a problem that `read_json` returned."""
    return DataError(f"{problem.replace(path.name, str(path), 1)}; {advice}")


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
