"""The `data` commands on a market of a few stocks."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from spoiled_market import clean_market, spoil
from tests.bad_input.harness import TINY, data_set

from gogooku3.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, *capsys.readouterr()


def test_synth_writes_the_market_and_prints_its_oracle_ic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "prices.parquet"
    options = ("--preset", "reference", "--stocks", "12", "--days", "40", "--seed", "3", "--out", str(out))
    code, text, _ = run(capsys, "data", "synth", *options)
    assert code == 0
    summary = json.loads((tmp_path / "prices.oracle.json").read_text())
    assert (summary["seed"], summary["config"]["n_stocks"], summary["days"]) == (3, 12, 40)
    assert f"{pl.read_parquet(out).height:,} rows: {out}" in text
    assert f"{summary['oracle_ic']['5d']:.3f}" in text


def test_synth_refuses_an_unknown_preset_and_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "data", "synth", "--preset", "huge", "--out", "x.parquet")
    assert (code, err) == (2, "error: --preset is 'huge', but the presets are demo, reference; choose one\n")


def test_features_prints_the_whole_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "data", "features")
    assert code == 0
    assert text.startswith("139 features")
    assert "close(t) / close(t - 1) - 1" in text
    # The rules of all formulas follow: clipping, holes, moments, and which features are equal.
    for rule in ("are clipped to -50 %", "bridges a hole", "(n - 1)", "market_rel_ret_* equals ret_*"):
        assert rule in text


def test_features_prints_one_family_as_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    _, text, _ = run(capsys, "data", "features", "--family", "volatility", "--markdown")
    header, rule, *rows = text.splitlines()
    assert header == "| name | family | formula | lookback | unit |"
    assert rule == "|---|---|---|---|---|"
    assert rows
    assert all(row.split(" | ")[1] == "volatility" for row in rows)


def test_features_refuses_an_unknown_family_and_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "data", "features", "--family", "vibes")
    assert code == 2
    assert err.startswith("error: --family is 'vibes', but the families are beta, calendar, ")


def test_validate_names_each_problem_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(
        "date,code,open,high,low,close,volume\n2024-01-04,1301,1,1,1,inf,5\nsoon,1301,1,1,1,1,5\n"
    )
    code, text, err = run(capsys, "data", "validate", str(file))
    assert code == 2
    assert "date" in text and "soon" in text
    assert err.startswith(f"error: {file} has ")


@pytest.mark.parametrize(
    ("check", "change"),
    {
        "few_stocks": lambda d: d.filter(pl.col("code") == "1301"),
        "few_stocks ": lambda d: d.filter((pl.col("date").rank("dense") + pl.col("code").cast(int)) % 12 < 9),
        "constant_target": lambda d: d.with_columns(target_5d=1.0 + 1e-12 * pl.int_range(pl.len())),
        "no_values": lambda d: d.with_columns(target_5d=pl.lit(math.nan)),
        "infinite_target": lambda d: d.with_columns(
            target_5d=pl.when(pl.int_range(pl.len()) == 7).then(1e300).otherwise("target_5d")
        ),
    }.items(),
)
def test_validate_and_train_refuse_a_data_set_with_the_same_message(
    check: str, change: Callable[[pl.DataFrame], pl.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file, found = tmp_path / "d.parquet", tmp_path / "found.json"
    change(data_set()).write_parquet(file)
    code, _, err = run(capsys, "data", "validate", str(file), "--json", str(found))
    assert code == 2 and "1 error and can't be used" in err
    (error,) = [p for p in json.loads(found.read_text())["problems"] if p["severity"] == "error"]
    assert error["name"] == check.strip() and error["handled"] == "refused"
    code, _, err = run(capsys, "train", "--data", str(file), *TINY)
    said = f"{file} can't be trained on: {error['column']}: {error['check']}; {error['advice']}"
    assert code == 2 and " ".join(err.split()) == f"error: {said}"


def test_validate_writes_what_it_found_for_machines_and_for_people(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    spoil(clean_market())[0].write_parquet(tmp_path / "prices.parquet")
    files = tmp_path / "found.json", tmp_path / "page.html"
    command = [
        "data",
        "validate",
        str(tmp_path / "prices.parquet"),
        "--json",
        str(files[0]),
        "--report",
        str(files[1]),
    ]
    code, text, err = run(capsys, *command)
    assert code == 2 and "verdict: fail" in text and "errors and can't be used" in err
    found = json.loads(files[0].read_text())
    assert found["verdict"] == "fail" and found["rules"]["prices"]["stale_days"] == 5
    (split,) = [p for p in found["problems"] if p["name"] == "suspected_split"]
    assert {e["factor"] for e in split["examples"]} == {"2", "5", "10", "3/2", "1/10"}
    assert split["handled"].startswith("kept")
    page = files[1].read_text()
    assert "Fail." in page and "split without adjustment" in page
    code, _, err = run(capsys, *command[:3], "--report", str(tmp_path / "page.pdf"))
    assert code == 2 and "page.html" in err


def test_strict_lets_warnings_fail_unless_rules_say_they_are_notes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    prices = clean_market()
    zero = pl.when(pl.int_range(pl.len()) == 300).then(0.0).otherwise("open").alias("open")
    prices.with_columns(zero).write_parquet(tmp_path / "prices.parquet")
    command = ["data", "validate", str(tmp_path / "prices.parquet")]
    code, text, _ = run(capsys, *command)
    assert code == 0 and "verdict: pass with warnings (1 warning" in text
    code, _, err = run(capsys, *command, "--strict")
    assert code == 2 and "--strict" in err and "--rules" in err
    (tmp_path / "rules.yaml").write_text("severity: {bad_price: note}")
    code, text, _ = run(capsys, *command, "--strict", "--rules", str(tmp_path / "rules.yaml"))
    assert code == 0 and "verdict: pass (" in text
    code, _, err = run(capsys, *command, "--rules", str(tmp_path / "none.yaml"))
    assert code == 2 and "none.yaml" in err


def test_build_makes_a_data_set_that_validate_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices, out = tmp_path / "prices.parquet", tmp_path / "data" / "set.parquet"
    run(capsys, "data", "synth", "--stocks", "12", "--days", "60", "--out", str(prices))
    code, text, _ = run(capsys, "data", "build", "--prices", str(prices), "--out", str(out))
    assert code == 0
    frame = pl.read_parquet(out)
    assert text.startswith(f"{frame.height:,} rows: 12 stocks x 60 days, 139 features, ")
    assert "set.oracle.parquet" in text
    assert frame.width == 2 + 4 + 1 + 139
    assert run(capsys, "data", "validate", str(out))[0] == 0


def test_build_prints_the_columns_it_used_and_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = tmp_path / "prices"
    prices.mkdir()
    for code in ("AAPL", "MSFT"):
        rows = "".join(f"2024-01-{day:02},10,12,8,10,5,9\n" for day in range(1, 6))
        (prices / f"{code}.csv").write_text(f"Date,Open,High,Low,Close,Adj Close,Volume\n{rows}")
    (prices / "old.zip").write_text("x")
    command = ("data", "build", "--prices", str(prices), "--out", str(tmp_path / "set.parquet"))
    code, text, _ = run(capsys, *command)
    assert code == 0
    assert "prices from Open, High, Low, Close, Volume; codes from file names\n" in text
    assert "not used: Adj Close; --adjust adj-close scales all four prices by it\n" in text
    assert "not read in the folder: old.zip\n" in text
    for command_name in ("validate", "describe"):
        assert "not read in the folder: old.zip\n" in run(capsys, "data", command_name, str(prices))[1]
    code, text, _ = run(capsys, *command, "--adjust", "adj-close")
    assert code == 0 and "prices from Open, High, Low, Adj Close, Volume; codes" in text
    code, _, err = run(capsys, *command, "--adjust", "close")
    assert code == 2 and "--adjust is 'close', but can only be adj-close" in err


def test_build_says_how_to_get_prices_where_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "data", "build", "--prices", "nowhere", "--out", "x.parquet")
    assert code == 2
    assert "gogooku3 data synth" in err


def test_a_folder_by_year_trains_predicts_and_audits_like_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = data_set()
    frame.write_parquet("d.parquet")
    half = frame["date"].unique().sort()[45]
    for year, part in (
        (2021, frame.filter(pl.col("date") < half)),
        (2022, frame.filter(pl.col("date") >= half)),
    ):
        Path(f"d/year={year}").mkdir(parents=True)
        part.write_parquet(f"d/year={year}/part.parquet")
    tables = []
    for data in ("d.parquet", "d"):
        assert run(capsys, "train", "--data", data, "--out", f"runs/{data}", *map(str, TINY))[0] == 0
        (folder,) = Path("runs", data).glob("train/*")
        assert run(capsys, "audit", str(folder))[0] == 0
        assert (
            run(capsys, "predict", "--run", str(folder), "--data", data, "--out", f"{data}.rank.parquet")[0]
            == 0
        )
        files = (folder / "predictions.parquet", Path(f"{data}.rank.parquet"))
        tables.append([pl.read_parquet(file) for file in files])
    assert all(one.equals(other) for one, other in zip(*tables, strict=True))
