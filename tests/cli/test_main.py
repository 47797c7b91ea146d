"""Help, exit codes and error messages."""

import asyncio
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import gogooku3.cli.evaluate
from gogooku3 import __version__
from gogooku3.cli.main import main


def run(*arguments: str) -> int:
    """Exit code of a command."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    code = exit_.value.code
    assert isinstance(code, int)
    return code


COMMANDS = (
    ("train",),
    ("demo",),
    ("evaluate",),
    ("data", "synth"),
    ("data", "build"),
    ("data", "features"),
    ("data", "validate"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_an_example(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--help") == 0
    assert f"gogooku3 {' '.join(command)}" in capsys.readouterr().out.split("Example")[1]


def test_the_help_fits_on_80_columns_without_a_broken_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run("runs", "--help") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert {"ic_1d,", "rank_ic,", "sharpe_net,", "drawdown_net;"} <= set(shown.split())


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"gogooku3 {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [("trian",), ("train", "--epochs", "many"), ("data", "build"), ("demo", "x")]
)
def test_a_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "--epochs", "many"),
            "--epochs: expected a whole number, came 'many'; see `gogooku3 train",
        ),
        (("evaluate", "x", "--cost-bps", "x"), "--cost-bps: expected a number, came 'x'; see `gogooku3 eval"),
        (
            ("runs", "--limit", "0"),
            "--limit: expected a number from 1 up, came '0'; see `gogooku3 runs --help`",
        ),
        (("audit", "x", "--tolerance", "nan"), "--tolerance: expected a number from 0.0 up, came 'nan'"),
        (
            ("runs", "--sort", "ic"),
            "Invalid value for '--sort': 'ic' is not one of 'newest', 'ic_1d', 'rank_ic', ",
        ),
    ],
)
def test_a_bad_option_is_refused_with_the_expected_value(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1 and "Input should" not in err and err.count("'ic'") <= 1


def test_a_user_error_is_one_line_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "model.hiden_dim=64") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: unknown setting 'model.hiden_dim'; did you mean 'hidden_dim'? model has: ")
    assert err.count("\n") == 1


def test_a_bug_exits_with_1_and_names_the_debug_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(gogooku3.cli.evaluate, "_predictions_file", broken)
    assert run("evaluate", "x") == 1
    err = capsys.readouterr().err
    assert err.startswith("internal error: RuntimeError: broken\n")
    assert "GOGOOKU3_DEBUG=1" in err
    assert "Traceback" not in err
    monkeypatch.setenv("GOGOOKU3_DEBUG", "1")
    assert run("evaluate", "x") == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_panic_of_polars_is_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def panics(_: object) -> None:
        raise pl.exceptions.PanicException("index out of bounds")

    assert not issubclass(pl.exceptions.PanicException, Exception)
    monkeypatch.setattr(gogooku3.cli.evaluate, "_predictions_file", panics)
    assert run("evaluate", "x") == 1
    err = capsys.readouterr().err
    assert err.startswith("internal error: PanicException: index out of bounds\n")
    assert "Traceback" not in err


@pytest.mark.parametrize("stop", [GeneratorExit, SystemExit(7), asyncio.CancelledError])
def test_other_base_exceptions_pass(
    stop: type[BaseException] | BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(_: object) -> None:
        raise stop

    monkeypatch.setattr(gogooku3.cli.evaluate, "_predictions_file", stops)
    with pytest.raises(BaseException) as raised:
        main(("evaluate", "x"))
    assert raised.value is stop or type(raised.value) is stop


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gogooku3.cli.evaluate, "_predictions_file", interrupted)
    assert run("evaluate", "x") == 130


TERMINATED = """
import os, signal, sys, time
import gogooku3.cli.evaluate
from gogooku3.files.atomic import atomic_path
from gogooku3.cli.main import main

def writes(_):
    with atomic_path("out.parquet"):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

gogooku3.cli.evaluate._predictions_file = writes
sys.argv = ["gogooku3", "evaluate", "x"]
main()
"""


def test_a_terminated_command_removes_its_unfinished_file_and_exits_with_143(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TERMINATED], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "interrupted\n")
    assert not list(tmp_path.iterdir())
