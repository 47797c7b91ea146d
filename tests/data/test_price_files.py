"""Folders of prices, and tables laid out by vendors, are read whole or refused with the reason."""

import gzip
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from gogooku3.data.price_files import left_out, price_files
from gogooku3.data.prices import read_prices
from gogooku3.data.quality.validation import validate
from gogooku3.errors import DataError

YAHOO = "Date,Open,High,Low,Close,Adj Close,Volume"
LONG = """Date,Code,Open,High,Low,Close,Volume
2024-01-04,AAPL,10,12,9,11,500
2024-01-05,AAPL,11,13,10,12,600
2024-01-04,C,20,22,19,21,50
2024-01-05,C,21,23,20,22,60
"""
YFINANCE = """Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume
Ticker,AAPL,C,AAPL,C,AAPL,C,AAPL,C,AAPL,C
Date,,,,,,,,,,
2024-01-04,11,21,12,22,9,19,10,20,500,50
2024-01-05,12,22,13,23,10,20,11,21,600,60
"""
BY_TICKER = """Ticker,AAPL,AAPL,AAPL,AAPL,AAPL,C,C,C,C,C
Price,Open,High,Low,Close,Volume,Open,High,Low,Close,Volume
2024-01-04,10,12,9,11,500,20,22,19,21,50
2024-01-05,11,13,10,12,600,21,23,20,22,60
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def yahoo_folder(folder: Path) -> Path:
    """Two stocks whose ticker is only in the file's name, and an adjusted close of half the close."""
    write(folder / "AAPL.csv", f"{YAHOO}\n2024-01-04,10,12,8,11,5.5,500\n")
    write(folder / "7203.T.csv", f"{YAHOO}\n2024-01-04,20,24,16,22,11,50\n")
    return folder


def test_a_folder_with_one_file_per_stock_takes_codes_from_file_names(tmp_path: Path) -> None:
    table = read_prices(yahoo_folder(tmp_path))
    assert table.frame.select("code", "close").rows() == [("7203.T", 22.0), ("AAPL", 11.0)]
    assert table.report.named_by_file and table.report.unused == ("Adj Close",)
    assert validate(tmp_path).ok


def test_adjusting_by_the_adjusted_close_scales_all_four_prices(tmp_path: Path) -> None:
    table = read_prices(yahoo_folder(tmp_path), adjust=True)
    assert table.frame.rows()[0][2:] == (10.0, 12.0, 8.0, 11.0, 50.0)
    assert table.frame.rows()[1][2:] == (5.0, 6.0, 4.0, 5.5, 500.0)
    assert table.report.mapped["Adj Close"] == "close" and table.report.unused == ()


def test_adjusting_without_an_adjusted_close_or_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs one column of adjusted closes, such as 'Adj Close', but"):
        read_prices(write(tmp_path / "p.csv", LONG), adjust=True)
    rows = "2024-01-04,A,1,1,1,1,1,1\n2024-01-05,A,1,1,1,1,,1\n"
    lacking = write(tmp_path / "q.csv", f"Date,Code,Open,High,Low,Close,Adj Close,Volume\n{rows}")
    with pytest.raises(DataError, match="1 rows have a close but no 'Adj Close'"):
        read_prices(lacking, adjust=True)


def test_one_file_without_codes_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    yahoo_folder(tmp_path)
    with pytest.raises(DataError, match=r"AAPL.csv has no column of codes.*one file per stock into a folder"):
        read_prices(tmp_path / "AAPL.csv")


def test_a_folder_where_only_some_files_have_codes_is_refused(tmp_path: Path) -> None:
    write(yahoo_folder(tmp_path) / "all.csv", LONG)
    with pytest.raises(DataError, match=r"all.csv has a column of codes, 7203.T.csv has none"):
        read_prices(tmp_path)


def test_a_file_of_several_stocks_without_codes_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "all.csv", f"{YAHOO}\n" + "2024-01-04,10,12,8,11,5.5,500\n" * 3)
    with pytest.raises(DataError, match=r"all.csv has no column of codes.*2 rows repeat a day"):
        read_prices(tmp_path)


@pytest.mark.parametrize("text", [YFINANCE, BY_TICKER], ids=["by price", "by ticker"])
@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz"])
def test_the_two_header_rows_of_yfinance_are_read(tmp_path: Path, text: str, name: str) -> None:
    expected = read_prices(write(tmp_path / "long.csv", LONG)).frame
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert_frame_equal(read_prices(tmp_path / name).frame, expected)
    assert validate(tmp_path / name).rows == 4


def test_the_two_header_rows_of_one_ticker_are_read(tmp_path: Path) -> None:
    text = "Price,Close,High,Low,Open,Volume\nTicker,V,V,V,V,V\nDate,,,,,\n2024-01-04,11,12,9,10,500\n"
    frame = read_prices(write(tmp_path / "p.csv", text)).frame
    assert frame.rows() == [(frame["date"][0], "V", 10.0, 12.0, 9.0, 11.0, 500.0)]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("Date,AAPL,C,V\n2024-01-04,1,2,3\n", "stock"),
        ("Ticker,2024-01-04,2024-01-05\nAAPL,1,2\n", "day"),
    ],
    ids=["stocks across", "days across"],
)
def test_a_wide_table_is_refused_with_the_layout_to_write(tmp_path: Path, text: str, unit: str) -> None:
    with pytest.raises(DataError, match=f"one column per {unit} .*write one row per stock and day"):
        read_prices(write(tmp_path / "p.csv", text))


@pytest.mark.parametrize(
    "spelling",
    [
        *(
            "Adj {}",
            "Adj. {}",
            "adj{}",
            "adj_{}",
            "ADJ-{}",
            "Adjusted {}",
            "Adjustment{}",
            "{}_adj",
            "{} Adjusted",
        ),
        *("split_adjusted_{}", "<ADJ{}>", "Adj {}**"),
    ],
)
def test_adjusted_prices_are_recognised_in_any_spelling(tmp_path: Path, spelling: str) -> None:
    prices = pl.read_csv(LONG.encode())
    names = ["Open", "High", "Low", "Close", "Volume"]
    halves = [(pl.col(name) * 0.5).alias(spelling.format(name)) for name in names]
    prices.with_columns(halves).write_csv(tmp_path / "p.csv")
    table = read_prices(tmp_path / "p.csv")
    assert table.frame["close"].to_list() == [5.5, 6.0, 10.5, 11.0]
    assert table.report.unused == tuple(names)


def test_adjusted_prices_are_recognised_in_japanese(tmp_path: Path) -> None:
    header = "日付,銘柄コード,終値,調整後始値,調整後高値,調整後安値,調整後終値,調整後出来高"
    file = write(tmp_path / "p.csv", f"{header}\n2024/1/4,7203,2,1,1,1,1,4\n")
    assert read_prices(file).frame.rows()[0][2:] == (1.0, 1.0, 1.0, 1.0, 4.0)


def test_what_a_folder_leaves_out_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", LONG)
    for name in ("b.zip", "c.parquet.gz", "notes.txt", ".hidden", "m.oracle.parquet", "m.oracle.json"):
        write(tmp_path / name, "x")
    (tmp_path / "2023").mkdir()
    assert left_out(tmp_path) == ["2023/", "b.zip", "c.parquet.gz", "notes.txt"]
    assert read_prices(tmp_path).report.left_out == ("2023/", "b.zip", "c.parquet.gz", "notes.txt")
    assert left_out(tmp_path / "a.csv") == []


def test_a_folder_by_year_is_read_whole(tmp_path: Path) -> None:
    prices = pl.read_csv(LONG.encode(), try_parse_dates=True)
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        days = prices.with_columns(pl.col("Date").dt.replace(year=year))
        days.write_parquet(tmp_path / f"year={year}" / "part.parquet")
    assert len(price_files(tmp_path)) == 2 and left_out(tmp_path) == []
    assert read_prices(tmp_path).report.rows_kept == 8
