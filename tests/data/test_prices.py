"""Price files in many forms are read into one clean table."""

import datetime as dt
import gzip
import json
import math
from pathlib import Path
from typing import Literal

import polars as pl
import pytest

from gogooku3.data.parsing import parse_codes, parse_dates
from gogooku3.data.prices import jump_masks, read_prices
from gogooku3.data.quality.validation import validate
from gogooku3.errors import DataError

HEADER = "Date,Code,Open,High,Low,Close,Volume"


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def prices(closes: list[float | None], code: str = "1301") -> pl.DataFrame:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(len(closes))]
    columns = {name: pl.Series(closes, dtype=pl.Float64) for name in ("open", "high", "low", "close")}
    return pl.DataFrame({"date": days, "code": code, **columns, "volume": 100.0})


def test_a_csv_with_usual_spellings_becomes_the_canonical_table(tmp_path: Path) -> None:
    file = write(
        tmp_path / "p.csv",
        "2024-01-05,0130,10,12,9,11,500",
        "2024-01-04,0130,10,10,10,10,0",
        "2024-01-04,A,1,1,1,1,5",
    )
    table = read_prices(file)
    assert table.frame.schema == pl.Schema(
        {"date": pl.Date, "code": pl.String}
        | dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64)
    )
    assert table.frame.rows()[:2] == [
        (dt.date(2024, 1, 4), "0130", 10.0, 10.0, 10.0, 10.0, 0.0),
        (dt.date(2024, 1, 5), "0130", 10.0, 12.0, 9.0, 11.0, 500.0),
    ]
    report = table.report.to_dict()
    assert report["rows_read"] == report["rows_kept"] == 3
    assert report["mapped"]["Code"] == "code"
    assert (report["n_stocks"], report["n_days"]) == (2, 2)
    assert (report["first_date"], report["last_date"]) == ("2024-01-04", "2024-01-05")
    json.dumps(report)


def test_a_bom_gzip_japanese_header_and_optional_columns_are_read(tmp_path: Path) -> None:
    header = "日付,銘柄コード,始値,高値,安値,終値,出来高,業種,TOPIX,note"
    text = f"{header}\n2024/1/4,7203,1,1,1,1,1,Autos,2400.5,x\n"
    (tmp_path / "p.csv.gz").write_bytes(gzip.compress(text.encode("utf-8-sig")))
    frame = read_prices(tmp_path / "p.csv.gz").frame
    assert frame.columns[-2:] == ["sector", "index_close"]
    assert frame.row(0)[-2:] == ("Autos", 2400.5)


@pytest.mark.parametrize(
    "days",
    [
        pl.Series(["2024-01-31", "2024-02-01"]),
        pl.Series(["2024/1/31", "2024/2/1"]),
        pl.Series(["20240131", "20240201"]),
        pl.Series(["2024-01-31 00:00:00", "2024-02-01T15:00:00+09:00"]),
        pl.Series([20240131, 20240201]),
        pl.Series([20240131.0, 20240201.0]),
        pl.Series([dt.date(2024, 1, 31), dt.date(2024, 2, 1)]),
        pl.Series([dt.datetime(2024, 1, 31), dt.datetime(2024, 2, 1, 15)]),
        pl.Series([dt.datetime(2024, 1, 31), dt.datetime(2024, 2, 1)]).dt.replace_time_zone("Asia/Tokyo"),
    ],
    ids=str,
)
def test_days_are_read_from_every_usual_type(days: pl.Series) -> None:
    parsed = parse_dates(days)
    assert parsed.unreadable.is_empty()
    assert parsed.values.to_list() == [dt.date(2024, 1, 31), dt.date(2024, 2, 1)]


@pytest.mark.parametrize("day", ["31/01/2024", "2024-02-30", "20241301", "1706659200", "soon"])
def test_an_unreadable_day_is_refused_with_the_value(tmp_path: Path, day: str) -> None:
    file = write(tmp_path / "p.csv", f"{day},1,1,1,1,1,1", "2024-01-04,1,1,1,1,1,1")
    with pytest.raises(DataError, match=rf"1 values of column 'date' .*'{day}'.*2024-01-31"):
        read_prices(file)


@pytest.mark.parametrize(
    "texts",
    [["1/31/2024", "2/1/2024"], ["31/01/2024", "01/02/2024"], ["01/31/2024 15:00", "02/01/2024 0:00"]],
)
def test_days_with_slashes_are_read_where_their_order_is_certain(texts: list[str]) -> None:
    parsed = parse_dates(pl.Series(texts), guess_order=True)
    assert parsed.values.to_list() == [dt.date(2024, 1, 31), dt.date(2024, 2, 1)]


@pytest.mark.parametrize("texts", [["1/2/2024", "3/4/2024"], ["1/31/2024", "31/1/2024"], ["1/31/2024", "x"]])
def test_days_with_slashes_are_unreadable_where_their_order_is_not_certain(texts: list[str]) -> None:
    assert parse_dates(pl.Series(texts), guess_order=True).unreadable.to_list() == texts


def test_a_given_form_of_days_decides_their_order(tmp_path: Path) -> None:
    file = write(tmp_path / "p.csv", "1/2/24,A,1,1,1,1,1", "3/2/24,A,1,1,1,1,1")
    days = read_prices(file, date_format="%d/%m/%y").frame["date"].to_list()
    assert days == [dt.date(2024, 2, 1), dt.date(2024, 2, 3)]
    assert validate(file, date_format="%d/%m/%y").ok and not validate(file).ok
    with pytest.raises(DataError, match=r"'1/2/24'.*give their form with --date-format"):
        read_prices(file)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet"])
def test_words_for_missing_values_are_tickers_in_every_kind_of_file(tmp_path: Path, form: str) -> None:
    frame = prices([1.0] * 4).with_columns(code=pl.Series(["NA", "NULL", "nan", "TRUE"]))
    content = frame.write_csv().encode()
    if form == "parquet":
        frame.write_parquet(tmp_path / "p.parquet")
    else:
        (tmp_path / f"p.{form}").write_bytes(gzip.compress(content) if form == "csv.gz" else content)
    assert read_prices(tmp_path / f"p.{form}").report.n_stocks == 4
    assert not validate(tmp_path / f"p.{form}").errors


@pytest.mark.parametrize("word", ["#N/A", "#DIV/0!", "#VALUE!", "<NA>", "NULL"])
def test_a_spreadsheets_error_is_a_missing_value(tmp_path: Path, word: str) -> None:
    file = write(tmp_path / "p.csv", f"2024-01-04,A,{word},1,1,1,1", f"2024-01-05,A,1,1,1,{word},1")
    table = read_prices(file)
    assert table.frame.rows() == [(dt.date(2024, 1, 4), "A", None, 1.0, 1.0, 1.0, 1.0)]
    assert table.report.dropped == {"not traded (no close)": 1}


@pytest.mark.parametrize("end", ["\n\n\n", "   \n  \n", ",,,,,,\n,,,,,,\n", "\r\n", ',"",,,,,'])
@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz"])
def test_blank_lines_at_the_end_are_skipped(tmp_path: Path, end: str, name: str) -> None:
    content = f"{HEADER}\n2024-01-04,A,1,1,1,1,1\n{end}".encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert read_prices(tmp_path / name).report.rows_read == 1
    assert validate(tmp_path / name).ok


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_times_outside_the_calendar_are_unreadable_and_do_not_crash(
    number: int, unit: Literal["ms", "us", "ns"], zone: str | None
) -> None:
    times = pl.Series([number, 0, None], dtype=pl.Int64).cast(pl.Datetime(unit, zone))
    parsed = parse_dates(times)
    assert parsed.values.to_list() == [None, dt.date(1970, 1, 1), None]
    assert len(parsed.unreadable) == 1


def test_days_of_other_centuries_are_unreadable_and_shown() -> None:
    days = [dt.date(1899, 12, 31), dt.date(1900, 1, 1), dt.date(2199, 12, 31), dt.date(2200, 1, 1)]
    for column in (pl.Series(days), pl.Series(days).cast(pl.Datetime("us"))):
        parsed = parse_dates(column)
        assert parsed.values.to_list() == [None, *days[1:3], None]
        assert parsed.unreadable.to_list() == ["1899-12-31", "2200-01-01"]
    far = pl.Series([2**31 - 1], dtype=pl.Int32).cast(pl.Date)
    assert parse_dates(far).unreadable.to_list() == ["2147483647 days after 1970-01-01"]


def test_codes_may_be_numbers_but_not_fractions() -> None:
    assert parse_codes(pl.Series([7203, 130])).values.to_list() == ["7203", "130"]
    assert parse_codes(pl.Series([" 7203", ""])).values.to_list() == ["7203", None]
    assert parse_codes(pl.Series([7203.5])).unreadable.to_list() == ["7203.5"]


@pytest.mark.parametrize("spelling", ["7203.0", '"=""7203"""', '="7203"', "'7203", " 7203 "])
def test_a_spreadsheets_spelling_of_a_code_is_the_same_stock(tmp_path: Path, spelling: str) -> None:
    file = write(tmp_path / "p.csv", "2024-01-04,7203,1,1,1,1,1", f"2024-01-05,{spelling},1,1,1,1,1")
    assert read_prices(file).frame["code"].to_list() == ["7203", "7203"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0301", "301"),
        ("7203", "7203.T"),
        ("AAPL", "aapl"),
        ("7203", "\uff17\uff12\uff10\uff13"),
        ("0005.HK", "5.HK"),
    ],
)
def test_one_stock_under_two_codes_is_refused_naming_both(tmp_path: Path, one: str, other: str) -> None:
    file = write(tmp_path / "p.csv", f"2024-01-04,{one},1,1,1,1,1", f"2024-01-05,{other},1,1,1,1,1")
    with pytest.raises(DataError, match=f"two codes, such as '{one}' and '{other}'; give each stock one"):
        read_prices(file)
    errors = [problem for problem in validate(file).errors if problem.name == "two_spellings"]
    assert errors[0].example == {"code": one, "and": other}


def test_codes_of_four_and_five_characters_of_one_market_are_refused(tmp_path: Path) -> None:
    codes = ["7203", "6758", "130A", "72030", "67580", "99840"]
    file = write(tmp_path / "p.csv", *(f"2024-01-04,{code},1,1,1,1,1" for code in codes))
    with pytest.raises(DataError, match="2 stocks seem to have two codes, such as '6758' and '67580'"):
        read_prices(file)
    numbered = [str(code) for code in range(1000, 1200)] + ["10000", "11000"]
    file = write(tmp_path / "q.csv", *(f"2024-01-04,{code},1,1,1,1,1" for code in numbered))
    assert read_prices(file).report.n_stocks == 202


def test_share_classes_and_codes_of_two_exchanges_are_different_stocks(tmp_path: Path) -> None:
    codes = ["BRK", "BRK.B", "000001.SZ", "000001.SS", "130A", "130"]
    file = write(tmp_path / "p.csv", *(f"2024-01-04,{code},1,1,1,1,1" for code in codes))
    assert read_prices(file).report.n_stocks == 6


def test_impossible_prices_become_null_and_are_counted(tmp_path: Path) -> None:
    frame = prices([10.0] * 6).with_columns(
        open=pl.Series([0.0, -1.0, math.nan, math.inf, 10.0, 10.0]),
        volume=pl.Series([0.0, -5.0, math.nan, 1.0, None, 1.0]),
    )
    frame.write_parquet(tmp_path / "p.parquet")
    table = read_prices(tmp_path / "p.parquet")
    assert table.frame["open"].to_list() == [None] * 4 + [10.0] * 2
    assert table.frame["volume"].to_list() == [0.0, None, None, 1.0, None, 1.0]
    assert table.report.nulled == {
        "open: zero, negative or not finite": 4,
        "volume: negative or not finite": 2,
    }


def test_a_row_without_a_valid_close_is_not_traded_and_dropped(tmp_path: Path) -> None:
    prices([10.0, 0.0, None, math.nan, 11.0]).write_parquet(tmp_path / "p.parquet")
    table = read_prices(tmp_path / "p.parquet")
    assert table.frame["close"].to_list() == [10.0, 11.0]
    assert table.report.dropped == {"not traded (no close)": 3}
    assert table.report.rows_read - table.report.rows_kept == 3


def test_the_close_is_kept_where_prices_contradict_each_other(tmp_path: Path) -> None:
    file = write(
        tmp_path / "p.csv",
        "2024-01-01,1,10,9,11,10,1",  # high below low
        "2024-01-02,1,10,10.5,9,11,1",  # close above high
        "2024-01-03,1,10,12,11.5,11,1",  # close below low: the low goes, and the open is fine without it
        "2024-01-04,1,20,12,9,11,1",  # open outside
        "2024-01-05,1,10,12,9,12.000001,1",  # rounding
    )
    table = read_prices(file)
    assert table.frame.select("open", "high", "low").rows() == [
        (10.0, None, None),
        (10.0, None, 9.0),
        (10.0, 12.0, None),
        (None, 12.0, 9.0),
        (10.0, 12.0, 9.0),
    ]
    assert table.frame["close"].to_list() == [10.0, 11.0, 11.0, 11.0, 12.000001]
    assert sum(table.report.nulled.values()) == 4


def test_a_bad_tick_is_counted_and_kept(tmp_path: Path) -> None:
    closes: list[float | None] = [10.0, 10.0, 100.0, 10.0, 10.0, 50.0, 50.0]
    prices(closes).write_parquet(tmp_path / "p.parquet")
    table = read_prices(tmp_path / "p.parquet")
    assert table.frame["close"].to_list() == closes
    assert (table.report.reverting_jumps, table.report.lasting_jumps) == (1, 2)  # the way back, and the split
    reverting, lasting = jump_masks(table.frame)
    assert reverting.arg_true().to_list() == [2]
    assert lasting.arg_true().to_list() == [3, 5]


def test_another_stocks_price_is_not_a_jump(tmp_path: Path) -> None:
    pl.concat([prices([1.0, 1.0], "A"), prices([500.0, 500.0], "B")]).write_parquet(tmp_path / "p.parquet")
    report = read_prices(tmp_path / "p.parquet").report
    assert report.reverting_jumps == report.lasting_jumps == 0


def test_duplicate_keys_are_refused_with_a_note_if_the_rows_differ(tmp_path: Path) -> None:
    row = "2024-01-04,1301,1,1,1,1,1"
    write(tmp_path / "same.csv", row, "2024-01-05,1301,1,1,1,1,1", row)
    with pytest.raises(
        DataError, match=r"1 rows repeat .*2024-01-04, 1301; the rows are equal: remove the copies"
    ):
        read_prices(tmp_path / "same.csv")
    write(tmp_path / "other.csv", row, "2024-01-04,1301,2,2,2,2,2")
    with pytest.raises(DataError, match="the rows differ"):
        read_prices(tmp_path / "other.csv")


def test_a_folder_is_read_in_order_without_hidden_and_oracle_files(tmp_path: Path) -> None:
    write(tmp_path / "b.csv", "2024-01-05,1,1,1,1,1,1")
    write(tmp_path / "a.csv", "2024-01-04,1,1,1,1,1,1,x", header=HEADER + ",Sector")
    (tmp_path / ".c.csv").write_text("junk")
    (tmp_path / "m.oracle.parquet").write_text("junk")
    (tmp_path / "readme.txt").write_text("junk")
    table = read_prices(tmp_path)
    assert table.report.files == 2
    assert table.frame["sector"].to_list() == ["x", None]


def test_files_with_different_price_columns_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "2024-01-04,1,1,1,1,1,1")
    adjusted = "Date,Code,AdjO,AdjH,AdjL,AdjC,AdjVo"
    write(tmp_path / "b.csv", "2024-01-05,1,1,1,1,1,1", header=adjusted)
    with pytest.raises(
        DataError, match=r"disagree about which column is 'open': a.csv has 'open', b.csv has 'AdjO'"
    ):
        read_prices(tmp_path)


def test_a_missing_column_lists_those_that_exist(tmp_path: Path) -> None:
    file = write(tmp_path / "p.csv", "2024-01-04,1,1", header="Date,Code,Price")
    with pytest.raises(DataError, match=r"open, high, low, close, volume.*it has Date, Code, Price"):
        read_prices(file)


def test_unreadable_numbers_are_refused_with_examples(tmp_path: Path) -> None:
    file = write(tmp_path / "p.csv", '2024-01-04,1,"1,000",1,1,1,N/A')
    with pytest.raises(DataError, match=r"p.csv: 1 values of column 'open' cannot be read, such as '1,000'"):
        read_prices(file)


def test_a_row_without_a_key_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "p.csv", "2024-01-04,1,1,1,1,1,1", "2024-01-05,,1,1,1,1,1")
    with pytest.raises(DataError, match=r"1 rows have no code \(the first is row 2\)"):
        read_prices(file)


def test_every_bad_file_gives_one_clear_error_without_a_chain(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    prices([1.0] * 50).write_parquet(whole)
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-40])
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "text.parquet").write_text("not a table, just text")
    (tmp_path / "sjis.csv").write_bytes(f"{HEADER},業種\n2024-01-04,1,1,1,1,1,1,水産\n".encode("cp932"))
    write(tmp_path / "header.csv")
    write(tmp_path / "zeros.csv", "2024-01-04,1,0,0,0,0,0")
    (tmp_path / "prices.xlsx").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "readme.txt").write_text("x")
    expected = {
        "cut.parquet": "cannot be read as Parquet",
        "text.parquet": "cannot be read as Parquet",
        "empty.csv": "is empty",
        "sjis.csv": "UTF-8",
        "header.csv": "no rows",
        "zeros.csv": "none of the 1 rows has a close above 0",
        "prices.xlsx": "expected a name ending in",
        "folder": r"no price files.*readme\.txt",
        "nowhere.csv": "gogooku3 data synth",
    }
    for name, message in expected.items():
        with pytest.raises(DataError, match=message) as caught:
            read_prices(tmp_path / name)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
