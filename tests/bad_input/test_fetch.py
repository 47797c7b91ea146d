"""Impossible fetches through `gogooku3 data fetch`, each refused before any request."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from jquants_server import KEY, JQuantsServer, serve
from tests.bad_input.harness import Case, refuse, run, table

JQUANTS = ("data", "fetch", "jquants", "--from", "2024-01-04", "--to", "2024-01-12", "--out", "raw")
YAHOO = ("data", "fetch", "yfinance", "--from", "2024-01-04", "--to", "2024-01-12", "--out", "raw")
Before = Callable[[Path], object]


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[JQuantsServer]:
    """A working server, and its key in `.env`."""
    with serve(JQuantsServer()) as server:
        monkeypatch.setenv("JQUANTS_API_URL", server.url)
        monkeypatch.delenv("JQUANTS_API_KEY", raising=False)
        (tmp_path / ".env").write_text(f"JQUANTS_API_KEY={KEY}\n")
        yield server


def command(*words: object, before: Before = lambda f: None) -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> Sequence[object]:
        before(folder)
        return words

    return make


def jquants(*more: object, before: Before = lambda f: None) -> Callable[[Path], Sequence[object]]:
    return command(*JQUANTS, *more, before=before)


def key(content: str | bytes) -> Before:
    raw = content.encode() if isinstance(content, str) else content
    return lambda f: (f / ".env").write_bytes(raw)


def file(name: str, content: str | bytes = "x") -> Before:
    raw = content.encode() if isinstance(content, str) else content
    return lambda f: (f / name).write_bytes(raw)


JQUANTS_CASES = [
    Case("no first day", command("data", "fetch", "jquants"), ("--from",)),
    Case("an empty first day", jquants("--from", ""), ("--from is ''", "2024-01-31")),
    Case("a thirteenth month", jquants("--from", "2024-13-01"), ("--from is '2024-13-01'",)),
    Case("a day that does not exist", jquants("--to", "2024-02-30"), ("--to is '2024-02-30'",)),
    Case("a day in another order", jquants("--from", "04/01/2024"), ("--from is '04/01/2024'",)),
    Case("a day in words", jquants("--to", "yesterday"), ("--to is 'yesterday'",)),
    Case("days the wrong way round", jquants("--to", "2023-12-29"), ("2024-01-04", "2023-12-29", "swap")),
    Case(
        "days in the future", jquants("--from", "2190-01-01", "--to", "2190-02-01"), ("2190-01-01", "future")
    ),
    Case("an unknown plan", jquants("--plan", "gold"), ("--plan is 'gold'", "light", "premium")),
    Case("a plan in capitals", jquants("--plan", "Light"), ("--plan is 'Light'", "light")),
    Case("an unknown data set", jquants("--datasets", "bars,dividends"), ("dividends", "bars", "margin")),
    Case("a comma for data sets", jquants("--datasets", ","), ("--datasets", "bars", "margin")),
    Case("no .env", jquants(before=lambda f: (f / ".env").unlink()), ("JQUANTS_API_KEY", ".env")),
    Case("a blank key", jquants(before=key("JQUANTS_API_KEY='  '\n")), ("JQUANTS_API_KEY", ".env")),
    Case("a key without its name", jquants(before=key(f"{KEY}\n")), ("JQUANTS_API_KEY", ".env")),
    Case(
        "a .env of random bytes", jquants(before=key(b"\xff\x9f\x00\xfe=\x81")), ("JQUANTS_API_KEY", ".env")
    ),
    Case(
        "a key of two lines", jquants(before=key('JQUANTS_API_KEY="half\nanother half"\n')), ("line break",)
    ),
    Case("a key in kana", jquants(before=key("JQUANTS_API_KEY=キー\n")), ("JQUANTS_API_KEY", "copy")),
    Case("the folder is a file", jquants(before=file("raw")), ("raw",)),
    Case("the folder is in a file", jquants("--out", "a/raw", before=file("a")), ("a/raw", "folder")),
    Case("a data set as CSV", jquants("--build", "x.csv"), ("x.csv", "x.parquet")),
    Case("a data set in a file", jquants("--build", "a/x.parquet", before=file("a")), ("a/x.parquet", "a")),
    Case("an unknown family", jquants("--build", "x.parquet", "--extra", "vibes"), ("vibes", "margin")),
    Case("a family without a data set", jquants("--extra", "flows"), ("--extra", "--build")),
]


@table(JQUANTS_CASES)
def test_an_impossible_fetch_is_refused_before_any_request(
    case: Case, market: JQuantsServer, tmp_path: Path
) -> None:
    refuse(case, tmp_path)
    assert not market.requests


@pytest.mark.parametrize("address", ["not a url", "localhost:80", "https://", "file:///etc/passwd"])
def test_an_invalid_address_is_refused(
    market: JQuantsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("JQUANTS_API_URL", address)
    refuse(Case("address", jquants(), ("JQUANTS_API_URL", address)), tmp_path)


@pytest.mark.parametrize("spoiled", ["qwx1\nqwx2", "qwxß", "qwx3 qwx4"])
def test_an_invalid_key_is_not_repeated(
    market: JQuantsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoiled: str
) -> None:
    monkeypatch.setenv("JQUANTS_API_KEY", spoiled)
    outcome = run(JQUANTS, tmp_path)
    assert outcome.code == 2 and not market.requests
    assert "JQUANTS_API_KEY" in outcome.err and "qwx" not in outcome.out + outcome.err


def test_a_build_without_prices_is_an_error_after_the_fetch(market: JQuantsServer, tmp_path: Path) -> None:
    fetched = run((*JQUANTS, "--datasets", "topix", "--plan", "premium"), tmp_path)
    assert fetched.code == 0, fetched.err
    case = Case(
        "prices", jquants("--datasets", "topix", "--build", "x.parquet"), ("bars", "master", "x.parquet")
    )
    outcome = run(case.make(tmp_path), tmp_path)
    assert outcome.code == 2
    assert all(word in outcome.message for word in case.words)
    assert not (tmp_path / "x.parquet").exists()


def test_a_damaged_raw_file_is_named(market: JQuantsServer, tmp_path: Path) -> None:
    month = tmp_path / "raw" / "bars" / "month=2024-01"
    month.mkdir(parents=True)
    pl.DataFrame({"Code": ["13010"]}).write_parquet(month / "2024-01-04.parquet")
    (month / "2024-01-05.parquet").write_bytes(b"PAR1 not quite")
    refuse(Case("spoiled", command("data", "describe", "raw"), ("2024-01-05.parquet", "Parquet")), tmp_path)
    (month / "2024-01-05.parquet").rename(month / "notes.parquet")
    (month / "notes.parquet").write_bytes((month / "2024-01-04.parquet").read_bytes())
    refuse(Case("misnamed", command("data", "describe", "raw"), ("bars", "'notes'")), tmp_path)


def yahoo(content: str | bytes | None, *more: object) -> Callable[[Path], Sequence[object]]:
    before = (lambda f: None) if content is None else file("t.txt", content)
    return command(*YAHOO, "--tickers", "t.txt", *more, before=before)


YAHOO_CASES = [
    Case("no tickers", yahoo(None), ("t.txt", "one ticker per line")),
    Case("a folder of tickers", yahoo(None, "--tickers", "."), (".", "one ticker per line")),
    Case("an empty list", yahoo(""), ("t.txt", "no ticker")),
    Case("only comments", yahoo("# none yet\n\n"), ("t.txt", "no ticker")),
    Case("tickers of random bytes", yahoo(b"\xff\xfe\x00\x81"), ("t.txt",)),
    Case("a path", yahoo("AAPL\n../../etc/passwd\n"), ("t.txt", "../../etc/passwd")),
    Case("tickers by comma", yahoo("AAPL,MSFT\n"), ("t.txt", "AAPL,MSFT")),
    Case("a wrong first day", yahoo("AAPL", "--from", "soon"), ("--from is 'soon'",)),
    Case("Yahoo's days swapped", yahoo("AAPL", "--to", "2023-12-29"), ("2024-01-04", "2023-12-29", "swap")),
    Case("no place for the data set", yahoo("AAPL", "--build", "x.csv"), ("x.csv", "x.parquet")),
]


@table(YAHOO_CASES)
def test_unusable_tickers_are_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*tickers: Any, **options: Any) -> None:
        raise AssertionError("a request was sent")

    monkeypatch.setitem(sys.modules, "yfinance", SimpleNamespace(download=download))
    refuse(case, tmp_path)
