"""Commands of the documents' bash blocks: the tutorial's are run, the others' options and settings read."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from gogooku3.cli.main import app
from gogooku3.config import load_config

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs/tutorial.md"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]

# What is no command of ours, by its first word, and why no test runs it from here.
NOT_OURS = {
    "make": "continuous integration calls the targets; each would run this test again",
    "pip": "needs the network",
    "echo": "writes a key",
    ".venv/bin/python": "runs the tests, among which this one",
    ".venv/bin/ruff": "continuous integration runs it",
    "chromium": "takes a picture of a report; may not be installed",
    "RUN=$(ls": "the shell's; run as part of the tutorial",
}


def blocks(document: Path) -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(document: Path) -> list[list[str]]:
    lines = "\n".join(blocks(document)).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def ours(words: list[str]) -> bool:
    return Path(words[0]).name == "gogooku3"


OURS = [(path, words) for path in DOCUMENTS for words in commands(path) if ours(words)]


def test_every_other_command_is_listed_with_a_reason() -> None:
    assert len(OURS) > 20
    others = {words[0] for path in DOCUMENTS for words in commands(path) if not ours(words)}
    assert others == set(NOT_OURS)


@pytest.mark.parametrize("words", [words for _, words in OURS], ids=lambda words: " ".join(words[1:])[:70])
def test_the_options_and_settings_of_a_command_exist(words: list[str]) -> None:
    command: Any = get_command(app)
    arguments = words[1:]
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    context = command.context_class(command)
    values, extra, _ = command.make_parser(context).parse_args(arguments)
    assert extra == []
    required = [p for p in command.params if p.required and values.get(p.name) in (None, ())]
    assert [p.name for p in required] == []
    if command.name == "train":
        settings = [word for word in arguments if re.match(r"[a-z_]+\.[\w.]+=", word)]
        load_config(str(values.get("config") or "model/atft/train"), settings)


@pytest.mark.slow
def test_the_tutorial_runs_from_prices_to_a_list(tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + "\n".join(blocks(TUTORIAL))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert len((tmp_path / "tomorrow.csv").read_text().splitlines()) > 20
    assert "clean: no look-ahead found" in " ".join(done.stdout.split())
