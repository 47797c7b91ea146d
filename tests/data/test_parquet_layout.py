"""A layout is what was written, and damage ends in one kind of error."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogooku3.data.parquet_layout import read_layout
from gogooku3.errors import DataError

FRAME = pl.DataFrame(
    {"a": [1, None, 3, None, 5], "b": [None, "x", "y", "z", "w"], "c": [True, False, True, None, True]}
)


@pytest.mark.parametrize(
    ("compression", "name"),
    [("zstd", "zstd"), ("lz4", "lz4"), ("snappy", "snappy"), ("uncompressed", "none")],
)
def test_rows_groups_codec_and_nulls_are_those_written(tmp_path: Path, compression: str, name: str) -> None:
    file = tmp_path / "f.parquet"
    FRAME.write_parquet(file, compression=compression, row_group_size=2)  # type: ignore[arg-type]
    layout = read_layout(file)
    assert layout.rows == 5
    assert layout.row_groups == (2, 2, 1)
    assert layout.compression == (name,)
    assert layout.nulls == {"a": 2, "b": 1, "c": 1}
    assert layout.written_by and layout.written_by.startswith("Polars")


def test_nulls_that_nobody_counted_are_unknown_and_nested_columns_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "f.parquet"
    FRAME.with_columns(nested=pl.struct("a", "b")).write_parquet(file, statistics=False)
    assert read_layout(file).nulls == {"a": None, "b": None, "c": None}


@given(
    st.lists(st.one_of(st.none(), st.floats(width=32)), max_size=40),
    st.integers(1, 7),
    st.dictionaries(st.text(max_size=20), st.text(max_size=200), max_size=3),
)
@settings(deadline=None, max_examples=30)
def test_any_column_has_the_nulls_that_polars_counts(
    tmp_path_factory: pytest.TempPathFactory, values: list[float | None], size: int, metadata: dict[str, str]
) -> None:
    file = tmp_path_factory.mktemp("layout") / "f.parquet"
    frame = pl.DataFrame({f"x{n}": pl.Series(values, dtype=pl.Float64) for n in range(20)})
    frame.write_parquet(file, row_group_size=size, metadata=metadata)
    layout = read_layout(file)
    assert layout.rows == frame.height
    if frame.height:
        assert layout.nulls == frame.null_count().row(0, named=True)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_damaged_footer_is_a_data_error_or_is_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("layout") / "f.parquet"
    FRAME.write_parquet(file)
    content = bytearray(file.read_bytes())
    for _ in range(3):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(
        content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    )
    try:
        read_layout(file)
    except DataError as error:
        assert "f.parquet cannot be read as Parquet" in str(error)


def test_what_is_no_parquet_file_is_named(tmp_path: Path) -> None:
    for content in (b"", b"PAR1", b"a,b\n1,2\n", b"\xff" * 100 + b"\x50\x00\x00\x00PAR1"):
        file = tmp_path / "f.parquet"
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"f\.parquet cannot be read as Parquet"):
            read_layout(file)
