"""Old row groups and new ones in one file: every reader sees one table."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogooku3.data.parquet_splice import Footer, chunks_of, splicing
from gogooku3.errors import DataError

ROWS = 8


def table(height: int) -> pl.DataFrame:
    rng = np.random.default_rng(height)
    values = rng.normal(size=height).astype(np.float32)
    return pl.DataFrame(
        {
            "date": pl.Series(range(height)).cast(pl.Date),
            "code": [f"code {i % 5}" for i in range(height)],
            "is_big": values > 1,
            **{f"x{i}": values * i for i in range(20)},
            "a name too long for what most column chunks look like, so read field by field": values,
        }
    ).with_columns(pl.when(pl.col("is_big")).then("x1").alias("x1"))


def write(frame: pl.DataFrame, path: Path, note: str = "") -> Path:
    frame.write_parquet(path, compression="lz4", row_group_size=ROWS, metadata={"note": note})
    return path


def joined(old: Path, keep: int, tail: Path) -> Path:
    out = old.with_name("joined.parquet")
    with splicing(old, Footer.read(old), keep, out) as put_behind:
        put_behind(tail)
    return out


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 8))
def test_the_kept_groups_and_the_tail_read_as_one_table(
    tmp_path_factory: pytest.TempPathFactory, height: int, more: int, keep: int
) -> None:
    place = tmp_path_factory.mktemp("splice")
    keep = min(keep, height // ROWS)
    frame = table(height + more)
    old = write(frame.head(height), place / "old.parquet", "old")
    tail = write(frame.slice(keep * ROWS), place / "tail.parquet", "new")
    out = joined(old, keep, tail)
    assert pl.read_parquet(out).equals(frame)
    assert pl.read_parquet(out, columns=["x7"], n_rows=3).equals(frame.select("x7").head(3))
    assert pl.scan_parquet(out).filter(pl.col("date") > frame["date"][-2]).collect().height == 1
    assert pl.read_parquet_metadata(out)["note"] == "new"
    assert Footer.read(out).group_rows == Footer.read(write(frame, place / "whole.parquet")).group_rows


def test_bytes_of_kept_groups_are_copied(tmp_path: Path) -> None:
    frame = table(40)
    old = write(frame.head(30), tmp_path / "old.parquet")
    out = joined(old, 3, write(frame.slice(3 * ROWS), tmp_path / "tail.parquet"))
    end = Footer.read(old).begin(3)
    assert old.read_bytes()[:end] == out.read_bytes()[:end]


def test_most_chunks_of_a_data_set_are_told_by_their_look(tmp_path: Path) -> None:
    frame = table(3 * ROWS)
    footer = Footer.read(write(frame, tmp_path / "set.parquet"))
    for group in footer.groups:
        odd = [type(chunk) for chunk in group[1][1][1]].count(dict)
        assert odd == 1
        assert [chunk[3][1][3][1][1] for chunk in chunks_of(group)] == [[n.encode()] for n in frame.columns]


def test_what_fails_meanwhile_ends_the_copy(tmp_path: Path) -> None:
    old, out = write(table(40), tmp_path / "old.parquet"), tmp_path / "out.parquet"
    with pytest.raises(RuntimeError, match="meanwhile"), splicing(old, Footer.read(old), 3, out):
        raise RuntimeError("meanwhile")


def test_a_file_that_shrinks_meanwhile_is_an_error(tmp_path: Path) -> None:
    old = write(table(40), tmp_path / "old.parquet")
    before = Footer.read(old)
    old.write_bytes(old.read_bytes()[:100])
    with (
        pytest.raises(DataError, match="has shrunk"),
        splicing(old, before, 3, tmp_path / "out") as put_behind,
    ):
        put_behind(old)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    old = write(table(20), tmp_path / "old.parquet")
    tail = write(table(20).drop("x3"), tmp_path / "tail.parquet")
    with pytest.raises(DataError, match="different columns"):
        joined(old, 1, tail)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1" + b"\x00" * 40 + b"PAR1", b"\x15\x02" * 99 + b"PAR1"]
)
def test_what_is_no_parquet_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"whole Parquet file|can't be read"):
        Footer.read(path)
