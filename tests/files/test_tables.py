"""A damaged file is a data error, however the parser fails."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import psutil
import pytest

from gogooku3.errors import DataError
from gogooku3.files.tables import collect, read_table, scan_table, write_csv


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


def test_no_text_in_a_csv_file_begins_a_formula(tmp_path: Path) -> None:
    texts = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "7203", "a=b", None]
    table = pl.DataFrame({"code": texts, "score": [-1.5, 2.0, -3.0, 0.0, 1.0, 1.0, 1.0, 1.0]})
    write_csv(table, tmp_path / "a.csv")
    again = pl.read_csv(tmp_path / "a.csv", glob=False)
    expected = ["'=1+1", "'+A1", "'-A1", "'@SUM(A1)", "'\t=1", "7203", "a=b", None]
    assert again["code"].to_list() == expected
    assert again["score"].to_list() == table["score"].to_list()


def test_rows_beyond_the_memory_are_refused_by_the_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of equal values is small; reading it would take its rows' memory."""
    path = tmp_path / "a.parquet"
    pl.select(x=pl.repeat(0, 1_000_000, dtype=pl.Int8), y=0).write_parquet(path)
    assert path.stat().st_size < 10_000
    assert read_table(path).height == 1_000_000
    memory = psutil.virtual_memory()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(total=5_000_000))
    with pytest.raises(DataError, match="has 1,000,000 rows by its footer, more than fit in this machine's"):
        read_table(path)
    scan_table(path)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(total=3_000_000))
    with pytest.raises(DataError, match="by its footer"):
        scan_table(path)
