"""Tests that a manifest is read unchanged, or refused with the damaged part named."""

import json
from pathlib import Path
from typing import Any

import pytest

from gogooku3.errors import DataError
from gogooku3.runs.manifest import read_manifest


def test_a_folder_without_a_manifest_gives_an_empty_one(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == {}


def test_unknown_parts_are_kept(tmp_path: Path) -> None:
    content = {"status": "complete", "threads": 2, "folds": [], "new": 1}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert read_manifest(tmp_path) == content


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([1], "manifest.json holds list, not an object"),
        ({"threads": "two"}, "its 'threads' is str, not int"),
        ({"data": {"path": "d.parquet"}}, "lacks the path or fingerprint"),
        ({"folds": [{"fold": -1}]}, "number -1"),
        ({"folds": [{"fold": 0, "train_start": "2020-13-01"}]}, "train_start"),
        ({"dropped": [{"step": "split"}]}, "without a number of rows"),
    ],
)
def test_a_damaged_part_is_named(content: Any, named: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=named):
        read_manifest(tmp_path)
