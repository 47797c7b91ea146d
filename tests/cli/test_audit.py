"""`gogooku3 audit`: exit codes, output and files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gogooku3.cli.main import main

PIPELINES = """
import polars as pl

RETURN = pl.col("close") / pl.col("close").shift(1).over("code", order_by="date") - 1


def fair(prices: pl.DataFrame) -> pl.DataFrame:
    return prices.select("date", "code", ret=RETURN)


def leaky(prices: pl.DataFrame) -> pl.DataFrame:
    return prices.select("date", "code", share=pl.col("close") / pl.col("close").max().over("code"))


NUMBER = 1
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_pipelines.py").write_text(PIPELINES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_pipelines", raising=False)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["audit", *arguments])
    return int(ended.value.code or 0)


def test_a_clean_pipeline_exits_with_0(small_prices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("my_pipelines:fair", "--prices", str(small_prices)) == 0
    assert "clean: no look-ahead found" in capsys.readouterr().out


def test_a_leak_exits_with_3_and_writes_a_program_that_shows_it(
    small_prices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("my_pipelines:leaky", "--prices", str(small_prices), "--out", "found") == 3
    assert "'share' depends on the future" in capsys.readouterr().out
    written = json.loads((tmp_path / "found" / "audit.json").read_text())
    assert written["verdict"] == "leaks"
    command = [sys.executable, "found/leak_1.py"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "became" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my_pipelines"], "'my_pipelines' is neither the folder of a run nor a pipeline"),
        (["my_pipelines:gone"], "my_pipelines has no gone; it has NUMBER, RETURN, fair, leaky"),
        (["no_such_module:x"], "no module no_such_module"),
        (["my_pipelines:NUMBER"], "is a int; name a function of prices"),
        (["my_pipelines:fair", "--probe", "magic"], "unknown probes: magic; choose from altered"),
        (["my_pipelines:fair", "--frame", "spark"], "--frame is 'spark'; choose polars or pandas"),
    ],
)
def test_an_invalid_pipeline_or_option_exits_with_2(
    arguments: list[str], message: str, small_prices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--prices", str(small_prices)) == 2
    assert message in capsys.readouterr().err


def test_options_for_functions_are_refused_with_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(tmp_path), "--out", "found", "--probe", "altered") == 2
    assert "--probe, --out can't be given with a run" in capsys.readouterr().err


def test_without_prices_the_error_names_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("my_pipelines:fair") == 2
    assert "name a file or folder of them with --prices" in capsys.readouterr().err
