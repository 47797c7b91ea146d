"""Unusable prices through `gogooku3 data build` and `data synth`."""

import datetime as dt
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
from tests.bad_input.harness import Case, prices, refuse, table

HEADER = "Date,Code,Open,High,Low,Close,Volume"
ROW = "2024-01-04,7203,10,12,9,11,500"

JAPANESE = f"日付,銘柄コード,始値,高値,安値,終値,出来高\n{ROW}\n"


def build(name: str, write: Callable[[Path], object]) -> Callable[[Path], Sequence[object]]:
    """Command that builds a data set from a file that `write` creates."""

    def make(folder: Path) -> Sequence[object]:
        write(folder / name)
        return "data", "build", "--prices", folder / name, "--out", folder / "out.parquet"

    return make


def raw(name: str, content: bytes | str) -> Callable[[Path], Sequence[object]]:
    """Build from a file with this content."""
    data = content.encode() if isinstance(content, str) else content
    return build(name, lambda path: path.write_bytes(data))


def csv(*rows: str, header: str = HEADER) -> Callable[[Path], Sequence[object]]:
    """Build from a CSV file with these lines."""
    return raw("p.csv", "\n".join([header, *rows]) + "\n")


def option(*options: str) -> Callable[[Path], Sequence[object]]:
    """Build from one row with more options."""
    return lambda folder: (*csv(ROW)(folder), *options)


def parquet(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], Sequence[object]]:
    """Build from a Parquet file of changed prices."""
    return build("p.parquet", lambda path: change(prices()).write_parquet(path))


def cut(path: Path) -> None:
    prices().write_parquet(path)
    path.write_bytes(path.read_bytes()[:-50])


def folder_of(files: dict[str, bytes]) -> Callable[[Path], Sequence[object]]:
    def write(path: Path) -> None:
        path.mkdir()
        for name, content in files.items():
            (path / name).write_bytes(content)

    return build("prices", write)


def to(
    out: str, before: Callable[[Path], object] = lambda folder: None
) -> Callable[[Path], Sequence[object]]:
    """Build valid prices to `out`."""

    def make(folder: Path) -> Sequence[object]:
        prices().write_parquet(folder / "p.parquet")
        before(folder)
        return "data", "build", "--prices", folder / "p.parquet", "--out", folder / out

    return make


def synth(*arguments: object, out: str = "m.parquet") -> Callable[[Path], Sequence[object]]:
    return lambda folder: ("data", "synth", "--out", folder / out, *arguments)


FILES = [
    Case(
        "no file",
        lambda f: ("data", "build", "--prices", f / "no.csv", "--out", f / "o.parquet"),
        ("no.csv",),
    ),
    Case(
        "an empty path",
        lambda f: ("data", "build", "--prices", "", "--out", f / "o.parquet"),
        ("no price files", "none"),
    ),
    Case("an empty Parquet file", raw("p.parquet", b""), ("p.parquet", "0 bytes")),
    Case("an empty CSV file", raw("p.csv", b""), ("p.csv", "0 bytes")),
    Case("a truncated Parquet file", build("p.parquet", cut), ("p.parquet", "Parquet")),
    Case("text called Parquet", raw("p.parquet", "not a table"), ("p.parquet", "Parquet")),
    Case("a ZIP called Parquet", raw("p.parquet", b"PK\x03\x04" + bytes(200)), ("p.parquet", "Parquet")),
    Case("Parquet called CSV", build("p.csv", lambda p: prices().write_parquet(p)), ("p.csv", "CSV")),
    Case("random bytes called CSV", raw("p.csv", bytes(range(256)) * 4), ("p.csv",)),
    Case("zero bytes called CSV", raw("p.csv", bytes(1000)), ("p.csv",)),
    Case("a truncated gzip file", raw("p.csv.gz", gzip.compress(HEADER.encode() * 99)[:-15]), ("p.csv.gz",)),
    Case("a workbook", raw("p.xlsx", b"PK\x03\x04"), ("p.xlsx", ".parquet, .csv")),
    Case("a name without ending", raw("prices", HEADER + "\n" + ROW), ("prices", ".parquet, .csv")),
    Case("an empty folder", folder_of({}), ("prices", "none")),
    Case("a folder without price files", folder_of({"a.txt": b"x"}), ("prices", "a.txt")),
    Case("a folder of oracles", folder_of({"a.oracle.parquet": b"x"}), ("prices", "a.oracle.parquet")),
    Case(
        "one bad file in a folder",
        folder_of({"a.csv": f"{HEADER}\n{ROW}\n".encode(), "b.csv": b""}),
        ("b.csv", "0 bytes"),
    ),
    Case(
        "files that disagree about a price",
        folder_of(
            {
                "a.csv": f"{HEADER}\n{ROW}\n".encode(),
                "b.csv": f"Date,Code,AdjO,AdjH,AdjL,AdjC,Volume\n{ROW.replace('04', '05')}\n".encode(),
            }
        ),
        ("a.csv", "b.csv", "AdjO"),
    ),
    Case(
        "the same file twice in a folder",
        folder_of({"a.csv": f"{HEADER}\n{ROW}\n".encode(), "b.csv": f"{HEADER}\n{ROW}\n".encode()}),
        ("2024-01-04", "7203"),
    ),
    Case("a dangling link", build("p.csv", lambda p: p.symlink_to("nowhere.csv")), ("p.csv",)),
]

TEXTS = [
    Case("only a header", csv(), ("p.csv", "no rows")),
    Case("no header", csv(header=ROW), ("date, code",)),
    Case("semicolons", csv(ROW.replace(",", ";"), header=HEADER.replace(",", ";")), ("p.csv", ";")),
    Case("tabs", csv(ROW.replace(",", "\t"), header=HEADER.replace(",", "\t")), ("p.csv", "tab")),
    Case("decimal commas", csv('2024-01-04,7203,"10,5","12,5","9,5","11,5",500'), ("'10,5'", "open")),
    Case("thousands' separators", csv('2024-01-04,7203,10,12,9,11,"1,500"'), ("'1,500'", "volume")),
    Case(
        "a last row cut within a number",
        raw("p.csv", f"{HEADER}\n{ROW}\n{ROW.replace('04', '05')[:-5]}"),
        ("p.csv is cut short", "6 of 7 columns"),
    ),
    Case("a currency", csv("2024-01-04,7203,$10,12,9,11,500"), ("'$10'", "open")),
    Case("a row with too many fields", csv(ROW + ",7,8,9"), ("p.csv",)),
    Case("latin-1", raw("p.csv", f"{HEADER},Sector\n{ROW},Énergie\n".encode("latin-1")), ("p.csv", "UTF-8")),
    Case("Shift-JIS", raw("p.csv", f"{HEADER},業種\n{ROW},水産\n".encode("cp932")), ("p.csv", "UTF-8")),
    Case("Shift-JIS headers", raw("p.csv", JAPANESE.encode("cp932")), ("UTF-8", "seems to be in SHIFT_JIS;")),
    Case("EUC-JP headers", raw("p.csv", JAPANESE.encode("euc_jp")), ("UTF-8", "iconv -f EUC-JP -t UTF-8")),
    Case("GBK", raw("p.csv", f"{HEADER},行业\n{ROW},银行\n".encode("gbk")), ("UTF-8", "EUC-JP or GBK")),
    Case("CR only", raw("p.csv", f"{HEADER}\r{ROW}\r"), ("p.csv", "CR only")),
    Case("a wrong form of days", option("--date-format", "%d.%m"), ("--date-format", "%d.%m.%Y")),
    Case("UTF-16", raw("p.csv", f"{HEADER}\n{ROW}\n".encode("utf-16")), ("p.csv", "UTF-8")),
    Case("an unclosed quote", csv('2024-01-04,"7203,10,12,9,11,500'), ("p.csv",)),
    Case("month first", csv(ROW.replace("2024-01-04", "01/02/2024")), ("'01/02/2024'", "2024-01-31")),
    Case("day first with dots", csv(ROW.replace("2024-01-04", "31.01.2024")), ("'31.01.2024'", "2024-01-31")),
    Case("a month's name", csv(ROW.replace("2024-01-04", "4 Jan 2024")), ("'4 Jan 2024'", "2024-01-31")),
    Case("two-digit years", csv(ROW.replace("2024-01-04", "24-01-04")), ("'24-01-04'", "2024-01-31")),
    Case("a day that does not exist", csv(ROW.replace("2024-01-04", "2023-02-29")), ("'2023-02-29'",)),
    Case("seconds since 1970", csv(ROW.replace("2024-01-04", "1704326400")), ("'1704326400'",)),
    Case("a spreadsheet's day numbers", csv(ROW.replace("2024-01-04", "45295")), ("'45295'",)),
    Case("a row without a date", csv(ROW, ROW.replace("2024-01-04", "")), ("date", "row 2")),
    Case("a row without a code", csv(ROW, ROW.replace("7203", "")), ("code", "row 2")),
    Case("a spreadsheet's error as code", csv(ROW, ROW.replace("7203", "#N/A")), ("code", "'#N/A'")),
    Case("a code of blanks", csv(ROW, ROW.replace("7203", "   ")), ("code", "row 2")),
    Case("equal rows twice", csv(ROW, ROW), ("2024-01-04", "7203", "equal")),
    Case("different rows twice", csv(ROW, ROW.replace("500", "501")), ("2024-01-04", "7203", "differ")),
    Case(
        "two times of one day",
        csv(ROW.replace("04,", "04 09:00,"), ROW.replace("04,", "04 15:00,")),
        ("7203",),
    ),
]

COLUMNS = [
    Case("no close", parquet(lambda p: p.drop("close")), ("close", "p.parquet", "open, high")),
    Case("no date", parquet(lambda p: p.drop("date")), ("date", "p.parquet")),
    Case("no column at all", parquet(lambda p: p.select()), ("p.parquet",)),
    Case("no row", parquet(lambda p: p.clear()), ("p.parquet", "no rows")),
    Case(
        "two spellings of a price",
        parquet(lambda p: p.rename({"close": "Close"}).with_columns(CLOSE=1.0)),
        ("Close, CLOSE",),
    ),
    Case(
        "two spellings of a key",
        parquet(lambda p: p.rename({"code": "Code"}).with_columns(CODE=1)),
        ("Code, CODE",),
    ),
    Case("a column twice", csv(ROW + ",11", header=HEADER + ",Close"), ("Close",)),
    Case("prices as text", parquet(lambda p: p.with_columns(close=pl.lit("dear"))), ("close", "'dear'")),
    Case("prices as true and false", parquet(lambda p: p.with_columns(close=True)), ("close", "Boolean")),
    Case(
        "prices as lists", parquet(lambda p: p.with_columns(close=pl.concat_list("close"))), ("close", "List")
    ),
    Case("prices as days", parquet(lambda p: p.with_columns(close="date")), ("close", "Date")),
    Case(
        "prices as structs", parquet(lambda p: p.with_columns(close=pl.struct("close"))), ("close", "Struct")
    ),
    Case("prices as bytes", parquet(lambda p: p.with_columns(close=pl.lit(b"\xff1"))), ("close", "Binary")),
    Case("codes as lists", parquet(lambda p: p.with_columns(code=pl.concat_list("code"))), ("code", "List")),
    Case("codes as structs", parquet(lambda p: p.with_columns(code=pl.struct("code"))), ("code", "Struct")),
    Case("codes as bytes", parquet(lambda p: p.with_columns(code=pl.lit(b"\xff\xfe"))), ("code", "Binary")),
    Case("codes as fractions", parquet(lambda p: p.with_columns(code=pl.lit(1.5))), ("code", "'1.5'")),
    Case(
        "codes as true and false", parquet(lambda p: p.with_columns(code=pl.lit(True))), ("code", "Boolean")
    ),
    Case("codes as days", parquet(lambda p: p.with_columns(code="date")), ("code", "Date")),
    Case("codes all null", parquet(lambda p: p.with_columns(code=pl.lit(None))), ("code", "18 rows")),
    Case("days as lists", parquet(lambda p: p.with_columns(date=pl.concat_list("date"))), ("date", "List")),
    Case("days as clock times", parquet(lambda p: p.with_columns(date=pl.lit(dt.time(9)))), ("date", "Time")),
    Case(
        "days as spans", parquet(lambda p: p.with_columns(date=pl.lit(dt.timedelta(9)))), ("date", "Duration")
    ),
    Case(
        "days as fractions",
        parquet(lambda p: p.with_columns(date=pl.lit(20240104.5))),
        ("date", "'20240104.5'"),
    ),
    Case("days as true and false", parquet(lambda p: p.with_columns(date=pl.lit(True))), ("date", "Boolean")),
    Case("days all null", parquet(lambda p: p.with_columns(date=pl.lit(None))), ("date", "18 rows")),
    Case("days infinite", parquet(lambda p: p.with_columns(date=pl.lit(float("inf")))), ("date", "'inf'")),
    Case(
        "closes all null",
        parquet(lambda p: p.with_columns(close=pl.lit(None, pl.Float64))),
        ("close", "18 rows"),
    ),
    Case("closes all negative", parquet(lambda p: p.with_columns(-pl.col("close"))), ("close", "18 rows")),
    Case("closes all infinite", parquet(lambda p: p.with_columns(close=float("inf"))), ("close", "18 rows")),
    Case(
        "days far away",
        parquet(lambda p: p.with_columns(date=pl.lit(dt.date(9999, 12, 31)))),
        ("9999-12-31",),
    ),
    Case(
        "days before exchanges",
        parquet(lambda p: p.with_columns(pl.col("date").dt.offset_by("-1000y"))),
        ("1022",),
    ),
]

OUTPUTS = [
    Case("an output that is not Parquet", to("out.csv"), ("out.csv", "out.parquet")),
    Case("the prices as output", to("p.parquet"), ("p.parquet", "elsewhere")),
    Case(
        "an output among the prices",
        lambda f: (*folder_of({"a.csv": f"{HEADER}\n{ROW}\n".encode()})(f)[:-1], f / "prices" / "o.parquet"),
        ("o.parquet", "in the folder of the prices", "elsewhere"),
    ),
    Case("a folder as output", to("d.parquet", lambda f: (f / "d.parquet").mkdir()), ("d.parquet", "folder")),
    Case("a folder that is a file", to("p.parquet/o.parquet"), ("p.parquet",)),
    Case("synth to CSV", synth(out="m.csv"), ("m.csv", ".parquet")),
    Case(
        "synth to a folder",
        lambda f: synth()(f) if (f / "m.parquet").mkdir() is None else (),
        ("m.parquet", "folder"),
    ),
    Case("synth without stocks", synth("--stocks", 0), ("n_stocks", "0")),
    Case("synth with one stock", synth("--stocks", 1), ("n_stocks", "1")),
    Case("synth with few days", synth("--days", 5), ("n_days", "5")),
    Case("synth with too many days", synth("--days", 10**9), ("n_days", "1000000000")),
    Case("synth with a negative seed", synth("--seed", -1), ("seed", "-1")),
    Case("synth with words", synth("--stocks", "many"), ("--stocks", "many")),
    Case("synth with an unknown preset", synth("--preset", "tokyo"), ("--preset", "tokyo", "demo")),
    Case(
        "an unknown family",
        lambda f: ("data", "features", "--family", "luck"),
        ("--family", "luck", "volatility"),
    ),
]


@table(FILES + TEXTS + COLUMNS + OUTPUTS)
def test_unusable_prices_are_refused_with_advice(case: Case, tmp_path: Path) -> None:
    refuse(case, tmp_path)
