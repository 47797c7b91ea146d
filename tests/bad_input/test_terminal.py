"""Names in files reach the terminal as plain text: markup, escape sequences and bidi marks do nothing."""

from pathlib import Path

import polars as pl
import pytest
from tests.bad_input.harness import predictions, run

from gogooku3.cli.output import print_table, progress_bar, say, show
from gogooku3.pipeline.step_log import StepLog

HOSTILE = "[/][bold]:bomb:\x1b[2J\u202ecba\r\x9b\udce9"
CLEAN = "[/][bold]:bomb:?[2J?cba???"


def hidden(text: str) -> set[str]:
    return {letter for letter in text if letter in "\x1b\u202e\r\x9b\udce9"}


def test_every_way_of_printing_shows_a_hostile_name_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    say(HOSTILE)
    show(HOSTILE)
    print_table(HOSTILE, [HOSTILE, "value"], [[HOSTILE, HOSTILE]], wrapped=(HOSTILE,))
    log = StepLog(verbose=True)
    log.say(HOSTILE)
    log.warn(HOSTILE)
    out, err = capsys.readouterr()
    assert out.count(CLEAN) == 6 and err.count(CLEAN) == 2
    assert not hidden(out + err)


def test_a_bar_shows_a_hostile_name_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(HOSTILE) as progress:
        progress(HOSTILE, 0.5)
    assert not hidden(capsys.readouterr().err) - {"\x1b", "\r"}


def test_a_hostile_model_and_folder_are_scored_and_listed(tmp_path: Path) -> None:
    name = HOSTILE[:-1]
    folder = tmp_path / "runs" / "train" / "[-x]\x1b[31m\u202e"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"status": "[/]\\u001b[1m"}')
    table = predictions().with_columns(pl.col("model").replace("mine", name))
    table.write_parquet(folder / "predictions.parquet")
    scored = run(("evaluate", folder), tmp_path)
    listed = run(("runs", "--out", "runs"), tmp_path)
    assert scored.code == listed.code == 0, scored.err + listed.err
    assert "[/][bold]:bomb:?[2J?cba??" in scored.out
    assert "train/[-x]?[31m?" in listed.out
    assert not hidden(scored.out + scored.err + listed.out + listed.err)


def test_an_error_shows_a_hostile_name_as_text(tmp_path: Path) -> None:
    outcome = run(("evaluate", f"no{HOSTILE}"), tmp_path)
    assert outcome.code == 2 and CLEAN in outcome.err
    assert not hidden(outcome.err)
    assert not hidden(run(("train", "--config", HOSTILE), tmp_path).err)
