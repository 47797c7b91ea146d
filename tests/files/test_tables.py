"""A damaged file is a data error, however the parser fails."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from gogooku3.errors import DataError
from gogooku3.files.tables import collect, scan_table


def test_a_panic_over_damaged_pages_names_the_file() -> None:
    def panics() -> None:
        raise pl.exceptions.PanicException("called `Result::unwrap()` on an `Err` value")

    scan: Any = SimpleNamespace(collect=panics)
    with pytest.raises(DataError) as caught:
        collect(scan, Path("p.parquet"))
    assert str(caught.value).startswith("p.parquet cannot be read as Parquet (its pages are damaged); ")


def test_damaged_pages_are_read_or_refused_by_name(tmp_path: Path) -> None:
    """Every third byte of the pages is damaged in turn."""
    file = tmp_path / "p.parquet"
    pl.DataFrame({"a": ["x", "y"] * 20, "b": range(40)}).write_parquet(file, compression="uncompressed")
    content = file.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    refused = 0
    for place in range(4, footer, 3):
        file.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            collect(pl.scan_parquet(file), file)
        except DataError as error:
            assert "p.parquet cannot be read as Parquet" in str(error)
            refused += 1
    assert refused > 5


def test_a_csv_file_with_carriage_returns_only_is_a_data_error(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    file.write_bytes(b"Date,Code\r2024-01-04,7203\r")
    with pytest.raises(DataError, match=r"p\.csv ends its lines with CR only.*save it with LF or CRLF"):
        scan_table(file)
