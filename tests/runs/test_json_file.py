"""A run's JSON is read as written, or refused with its file."""

import datetime as dt
import json
from pathlib import Path

import pytest

from gogooku3.errors import DataError
from gogooku3.runs.json_file import read_json, require_json, with_checksum

CONTENT = {"status": "complete", "ratio": 0.1, "nothing": float("nan"), "day": dt.date(2024, 1, 4)}


def test_a_file_with_a_checksum_is_read_without_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(with_checksum(CONTENT), indent=2))
    content, problem = read_json(path)
    assert content is not None and problem == ""
    assert (content["ratio"], content["day"]) == (0.1, "2024-01-04") and len(content) == 4


def test_every_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    whole = json.dumps(with_checksum({"a": 1.5, "b": [1, "x"]})).encode()
    for position in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        path.write_bytes(flipped)
        content = read_json(path)[0] or {}
        # A flip in the checksum's own name leaves a file without a checksum, and nothing else is wrong in it.
        assert not content or {"a": 1.5, "b": [1, "x"]}.items() <= content.items()


def test_an_entry_of_another_type_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"models": [1], "count": True}))
    assert read_json(path, {"models": dict}) == (None, "a.json: its 'models' is list, not dict")
    assert read_json(path, {"count": int}) == (None, "a.json: its 'count' is bool, not int")
    with pytest.raises(DataError, match=f"{path} has no 'settings'; copy it again"):
        require_json(path, {"settings": dict}, "copy it again")
    with pytest.raises(DataError, match=r"b\.json is missing; copy it again"):
        require_json(tmp_path / "b.json", {}, "copy it again")
