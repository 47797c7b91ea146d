"""A fingerprint changes with the content, and only with the content."""

import datetime as dt
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gogooku3.files.fingerprint import (
    BLOCK_BYTES,
    BLOCKS,
    file_fingerprint,
    fingerprint_files,
    frame_fingerprint,
    table_fingerprint,
)

KEYS = ("code", "date")


def test_the_place_and_time_of_a_file_do_not_matter(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"content")
    two.write_bytes(b"content")
    os.utime(two, (0, 0))
    assert file_fingerprint(one) == file_fingerprint(two) == table_fingerprint(one)
    two.write_bytes(b"tnetnoc")
    assert file_fingerprint(one) != file_fingerprint(two)


def test_a_changed_value_in_a_large_file_changes_the_footer_and_the_fingerprint(tmp_path: Path) -> None:
    n = BLOCKS * BLOCK_BYTES // 4
    values = np.random.default_rng(0).standard_normal(n)
    files = []
    for change in (0.0, 9.0):  # a new maximum between two sampled blocks: only the statistics show it
        values[1_000_000] += change
        files.append(tmp_path / f"{change}.parquet")
        pl.DataFrame({"x": values}).write_parquet(files[-1], compression="uncompressed")
    assert files[0].stat().st_size == files[1].stat().st_size > BLOCKS * BLOCK_BYTES
    assert file_fingerprint(files[0]) != file_fingerprint(files[1])


def test_names_contents_and_order_of_files_count(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"1")
    b.write_bytes(b"1")
    assert len({fingerprint_files(files) for files in ([a], [b], [a, b], [b, a])}) == 4


def test_a_folder_by_year_has_the_fingerprint_of_all_its_files(tmp_path: Path) -> None:
    fingerprints = set()
    for root, contents in {"one": (b"1", b"2"), "same": (b"1", b"2"), "other": (b"1", b"3")}.items():
        for year, content in enumerate(contents, start=2024):
            file = tmp_path / root / f"year={year}" / "part.parquet"
            file.parent.mkdir(parents=True)
            file.write_bytes(content)
        fingerprints.add(table_fingerprint(tmp_path / root))
    assert len(fingerprints) == 2


@pytest.fixture
def frame() -> pl.DataFrame:
    days = [dt.date(2024, 1, 4) + dt.timedelta(day) for day in range(30)]
    keys = pl.DataFrame({"code": ["A", "B", "C"]}).join(pl.DataFrame({"date": days}), how="cross")
    random = np.random.default_rng(0)
    values = {name: random.random(keys.height) for name in ("high", "low", "volume")}
    return keys.with_columns(sector=pl.col("code").replace("C", "B"), **values)


def test_every_value_of_a_table_counts_and_no_order(frame: pl.DataFrame) -> None:
    known = frame_fingerprint(frame, KEYS)
    shuffled = frame.sample(fraction=1, shuffle=True, seed=1).select(reversed(frame.columns))
    assert frame_fingerprint(shuffled, KEYS) == known
    for name in frame.columns:
        other = frame[name].reverse() if name in ("code", "sector") else frame[name].shift(1)
        assert frame_fingerprint(frame.with_columns(other.alias(name)), KEYS) != known, name
    swapped = frame.rename({"high": "low", "low": "high"})
    assert frame_fingerprint(swapped, KEYS) != known


def test_the_fingerprint_of_a_table_is_the_same_on_every_machine() -> None:
    frame = pl.DataFrame(
        {"code": ["A", "B"], "date": [dt.date(2024, 1, 4)] * 2, "x": [0.1, None], "y": [1, 2]}
    )
    assert frame_fingerprint(frame, KEYS) == "51cc529b25ec7e1df9c180046a51dfef"
