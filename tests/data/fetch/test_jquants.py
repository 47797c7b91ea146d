"""The fetch against a local HTTP server: paging, rate limits, faults, plans and kills."""

import datetime as dt
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from jquants_server import KEY, JQuantsServer, request_counts, serve, sessions

from gogooku3.data.fetch.jquants import DATASETS, FetchReport, fetch_jquants
from gogooku3.data.fetch.jquants_client import JQuantsClient, NotInPlan
from gogooku3.data.fetch.store import RawStore
from gogooku3.errors import ConfigError, DataError

FIRST, LAST = dt.date(2024, 1, 4), dt.date(2024, 1, 19)
TODAY = dt.date(2024, 6, 1)
BARS = "/equities/bars/daily"


@pytest.fixture
def market() -> Iterator[JQuantsServer]:
    with serve(JQuantsServer()) as server:
        yield server


def fetch(market: JQuantsServer, folder: Path, **options: Any) -> FetchReport:
    client = JQuantsClient(
        KEY, options.pop("per_minute", 1e6), options.pop("timeout_s", 5.0), 0.01, market.url
    )
    span = options.pop("first", FIRST), options.pop("last", LAST)
    return fetch_jquants(RawStore(folder), client, *span, **{"today": TODAY, **options})


def digest(folder: Path) -> dict[str, str]:
    files = sorted(folder.rglob("*.parquet"))
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_each_trading_day_is_one_file_for_any_page_size(market: JQuantsServer, tmp_path: Path) -> None:
    market.page_rows = 5
    report = fetch(market, tmp_path)
    store = RawStore(tmp_path)
    days = [str(day) for day in sessions(FIRST, LAST)]
    assert store.units("bars") == days
    assert report.written["bars"] == len(days) == 11
    bars = store.read("bars")
    assert bars.height == 11 * 12
    assert (
        bars.schema["Date"] == pl.Date and bars.schema["C"] == pl.Float64 and bars.schema["Code"] == pl.String
    )
    assert request_counts(market)[BARS] == 11 * 3
    assert store.read("topix")["C"].to_list()[0] == 2404.0
    assert set(store.datasets()) == {"calendar", *DATASETS}


def test_a_second_fetch_requests_only_new_days(market: JQuantsServer, tmp_path: Path) -> None:
    fetch(market, tmp_path, last=dt.date(2024, 1, 12))
    before = digest(tmp_path)
    market.requests.clear()
    fetch(market, tmp_path)
    assert request_counts(market)[BARS] == 5
    # Every calendar day from the 13th: companies disclose on weekends, too.
    assert request_counts(market)["/fins/summary"] == 7
    assert {name: digest(tmp_path)[name] for name in before} == before


def test_an_unpublished_day_is_not_stored_but_requested_again(market: JQuantsServer, tmp_path: Path) -> None:
    market.published = dt.date(2024, 1, 18)
    report = fetch(market, tmp_path, datasets=["bars"], today=LAST)
    assert report.pending == {"bars": ["2024-01-19"]}
    market.published = LAST
    assert fetch(market, tmp_path, datasets=["bars"], today=LAST).written == {"bars": 1}


def test_an_unfinished_month_is_completed_later(market: JQuantsServer, tmp_path: Path) -> None:
    fetch(market, tmp_path, datasets=["topix"], today=LAST)
    assert RawStore(tmp_path).read("topix")["Date"].max() == LAST
    fetch(market, tmp_path, datasets=["topix"])
    assert RawStore(tmp_path).read("topix")["Date"].max() == dt.date(2024, 1, 31)
    market.requests.clear()
    fetch(market, tmp_path, datasets=["topix"])
    assert request_counts(market)["/indices/bars/daily/topix"] == 0


@pytest.mark.parametrize("fault", [429, 500, 503, "cut", "no json", "slow"])
def test_passing_faults_are_retried(market: JQuantsServer, tmp_path: Path, fault: int | str) -> None:
    with serve(JQuantsServer()) as sound:
        fetch(sound, tmp_path / "sound", datasets=["bars"])
    market.faults[BARS] = deque([fault, fault])
    fetch(market, tmp_path / "faulty", datasets=["bars"], timeout_s=0.4 if fault == "slow" else 5.0)
    assert digest(tmp_path / "faulty") == digest(tmp_path / "sound")
    assert request_counts(market)[BARS] == 11 + 2


def test_after_a_429_all_threads_wait_as_long_as_the_server_asks(
    market: JQuantsServer, tmp_path: Path
) -> None:
    market.faults[BARS], market.retry_after = deque([429]), "1"
    fetch(market, tmp_path, datasets=["bars"], workers=1)
    gaps = [later - earlier for earlier, later in zip(market.times, market.times[1:], strict=False)]
    assert max(gaps) > 0.9


def test_every_page_counts_towards_the_rate_limit(market: JQuantsServer, tmp_path: Path) -> None:
    market.codes, market.page_rows = [f"{n}0" for n in range(1000, 2000)], 400
    fetch(market, tmp_path, datasets=["bars"], last=dt.date(2024, 1, 9), per_minute=1200)
    assert len(market.times) == 1 + 3 * 3
    assert market.times[-1] - market.times[0] > 0.9 * 9 * 60 / 1200


def test_a_failing_server_ends_the_fetch_and_keeps_finished_files(
    market: JQuantsServer, tmp_path: Path
) -> None:
    market.faults["/equities/master"] = deque([500] * 1000)
    with pytest.raises(
        DataError, match=r"J-Quants failed 6 times for master of .*500.*run the same command again"
    ):
        fetch(market, tmp_path, workers=1)
    kept = digest(tmp_path)
    assert any(name.startswith("bars/") for name in kept)
    market.faults.clear()
    fetch(market, tmp_path)
    assert {name: digest(tmp_path)[name] for name in kept} == kept


def test_data_outside_the_plan_is_skipped_unless_prices_need_it(
    market: JQuantsServer, tmp_path: Path
) -> None:
    market.forbidden = {"/markets/margin-interest", "/equities/investor-types"}
    report = fetch(market, tmp_path)
    assert set(report.skipped) == {"margin", "flows"}
    assert "403" in report.skipped["margin"]
    assert request_counts(market)["/markets/margin-interest"] < 11
    market.forbidden = {BARS}
    with pytest.raises(NotInPlan, match="JQUANTS_API_KEY"):
        fetch(market, tmp_path / "other")


def test_days_outside_the_plan_are_an_error(market: JQuantsServer, tmp_path: Path) -> None:
    market.covered_from = dt.date(2024, 1, 10)
    with pytest.raises(DataError, match=r"subscription covers the following dates: 2024-01-10"):
        fetch(market, tmp_path, datasets=["bars"])


def test_a_missing_column_ends_the_fetch_and_a_new_one_is_stored(
    market: JQuantsServer, tmp_path: Path
) -> None:
    market.added = {"Surprise": 1.5}
    fetch(market, tmp_path / "new", datasets=["bars"])
    assert RawStore(tmp_path / "new").read("bars")["Surprise"].unique().to_list() == [1.5]
    market.renamed = {"C": "Close"}
    with pytest.raises(DataError, match=r"lacks C; it has .*Close"):
        fetch(market, tmp_path / "gone", datasets=["bars"])
    assert not RawStore(tmp_path / "gone").units("bars")


def test_text_in_a_numeric_column_ends_the_fetch(market: JQuantsServer, tmp_path: Path) -> None:
    market.added = {"Vo": "many"}
    with pytest.raises(DataError, match=r"column Vo should hold numbers but has 'many'"):
        fetch(market, tmp_path, datasets=["bars"])


def test_wrong_days_and_names_are_refused_before_any_request(market: JQuantsServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is after the last"):
        fetch(market, tmp_path, first=LAST, last=FIRST)
    with pytest.raises(ConfigError, match="is in the future"):
        fetch(market, tmp_path, first=dt.date(2025, 1, 1), last=dt.date(2025, 1, 2))
    with pytest.raises(ConfigError, match="unknown data set dividends"):
        fetch(market, tmp_path, datasets=["dividends"])
    assert not market.requests


def test_a_market_of_four_thousand_stocks_is_fetched_whole(market: JQuantsServer, tmp_path: Path) -> None:
    market.codes = [f"{n}0" for n in range(1000, 5000)]
    market.page_rows = 1500
    fetch(market, tmp_path, last=dt.date(2024, 1, 18), datasets=["bars", "master", "topix"])
    store = RawStore(tmp_path)
    assert store.read("bars", ["Code", "Date"]).height == 4000 * 10
    assert store.read("bars", ["Code", "Date"]).is_duplicated().sum() == 0
    assert store.read("master", ["Code"]).height == 4000 * 10


KILLED = """
import datetime as dt, sys
from pathlib import Path
from gogooku3.data.fetch.jquants import fetch_jquants
from gogooku3.data.fetch.jquants_client import JQuantsClient
from gogooku3.data.fetch.store import RawStore
client = JQuantsClient(sys.argv[1], 1e6, 5.0, 0.01, sys.argv[2])
span = dt.date(2024, 1, 4), dt.date(2024, 2, 29)
fetch_jquants(RawStore(sys.argv[3]), client, *span, today=dt.date(2024, 6, 1))
"""


def test_a_killed_fetch_ends_with_the_same_bytes_after_a_restart(
    market: JQuantsServer, tmp_path: Path
) -> None:
    span = {"first": dt.date(2024, 1, 4), "last": dt.date(2024, 2, 29)}
    with serve(JQuantsServer()) as sound:
        fetch(sound, tmp_path / "whole", **span)
    market.delay_s = 0.005
    command = [sys.executable, "-c", KILLED, KEY, market.url, str(tmp_path / "killed")]
    for files in (5, 90):
        with subprocess.Popen(command) as process:
            while len(digest(tmp_path / "killed")) < files and process.poll() is None:
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
    assert 0 < len(digest(tmp_path / "killed")) < len(digest(tmp_path / "whole"))
    fetch(market, tmp_path / "killed", **span)
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


def test_a_second_fetch_into_the_same_folder_is_refused(market: JQuantsServer, tmp_path: Path) -> None:
    with RawStore(tmp_path).writing(), pytest.raises(DataError, match="being written by another process"):
        fetch(market, tmp_path)


def test_no_file_contains_the_key(market: JQuantsServer, tmp_path: Path) -> None:
    fetch(market, tmp_path)
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
