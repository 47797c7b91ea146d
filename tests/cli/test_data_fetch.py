"""`data fetch jquants` from a key to a data set, against a local server."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from jquants_server import KEY, JQuantsServer, request_counts, serve

from gogooku3.cli.main import main

ARGUMENTS = ["data", "fetch", "jquants", "--from", "2024-01-04", "--to", "2024-02-29", "--plan", "premium"]


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[JQuantsServer]:
    with serve(JQuantsServer()) as server:
        monkeypatch.setattr("gogooku3.data.fetch.jquants_client.REQUESTS_PER_MINUTE", {"premium": 1e6})
        monkeypatch.setenv("JQUANTS_API_URL", server.url)
        monkeypatch.delenv("JQUANTS_API_KEY", raising=False)
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".env").write_text(f"JQUANTS_API_KEY={KEY}\n")
        yield server


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_the_same_command_fetches_builds_and_updates(
    market: JQuantsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    market.published = dt.date(2024, 2, 27)
    command = [*ARGUMENTS, "--out", "raw", "--build", "tokyo.parquet"]
    assert run(*command) == 0
    before = pl.read_parquet("tokyo.parquet")
    assert before["date"].max() == dt.date(2024, 2, 27)
    assert "not published yet: bars of 2024-02-28, 2024-02-29" in capsys.readouterr().out
    market.published = dt.date(2024, 2, 29)
    market.requests.clear()
    assert run(*command) == 0
    after = pl.read_parquet("tokyo.parquet")
    assert after["date"].max() == dt.date(2024, 2, 29)
    assert request_counts(market)["/equities/bars/daily"] == 2
    features = [name for name in before.columns if not name.startswith("target_")]
    assert (
        after.filter(pl.col("date") <= dt.date(2024, 2, 27)).select(features).equals(before.select(features))
    )
    seen = capsys.readouterr()
    assert f"added 2 of {after['date'].n_unique()} days" in seen.out
    assert run("data", "build", "--prices", "raw/prices.parquet", "--out", "whole.parquet") == 0
    assert after.equals(pl.read_parquet("whole.parquet"))
    assert KEY not in seen.out + seen.err
    assert all(KEY.encode() not in f.read_bytes() for f in tmp_path.rglob("*.parquet"))


def test_extra_families_follow_the_139_features(
    market: JQuantsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*ARGUMENTS, "--out", "raw", "--build", "tokyo.parquet", "--extra", "flows") == 0
    assert run(*ARGUMENTS, "--out", "raw", "--build", "other.parquet") == 0
    assert run(*ARGUMENTS, "--out", "raw", "--build", "other.parquet", "--extra", "flows") == 0
    assert "rebuilt: other.parquet was built with other features (only then: none" in capsys.readouterr().out
    built = pl.read_parquet("tokyo.parquet")
    assert built.equals(pl.read_parquet("other.parquet"))
    assert built.columns[-2:] == ["foreign_balance", "foreign_balance_mean_20d"]
    assert built.width == 2 + 4 + 1 + 139 + 2
    # Nothing was disclosed on this market, so the builder refuses the family.
    assert (
        run("data", "build", "--prices", "raw/prices.parquet", "--out", "x.parquet", "--extra", "statements")
        == 2
    )
    assert not (tmp_path / "x.parquet").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--plan", "gold"], "--plan is 'gold', but the plans are premium"),
        (["--from", "01/04/2024"], "--from is '01/04/2024'; expected a day as YYYY-MM-DD"),
        (["--to", "2023-01-01"], "the first day 2024-01-04 is after the last day 2023-01-01"),
        (["--datasets", "bars,dividends"], "unknown data set dividends; choose among bars"),
    ],
)
def test_a_wrong_option_is_refused_before_any_request(
    market: JQuantsServer, change: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*ARGUMENTS, *change) == 2
    assert message in capsys.readouterr().err
    assert not market.requests


def test_without_a_key_the_error_explains_where_to_put_it(
    market: JQuantsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").unlink()
    assert run(*ARGUMENTS) == 2
    assert "set JQUANTS_API_KEY in the environment" in capsys.readouterr().err


def test_a_refused_key_is_not_repeated_in_the_error(
    market: JQuantsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JQUANTS_API_KEY", "another-secret")
    assert run(*ARGUMENTS) == 2
    seen = capsys.readouterr()
    assert "J-Quants refuses calendar of 2024 (403: Forbidden); check JQUANTS_API_KEY" in seen.err
    assert "another-secret" not in seen.out + seen.err
