"""One flipped bit anywhere in a run: every reader gives the same result or an error for the user.

The long version is slow: `pytest tests/bad_input/test_flipped_bytes.py -k 500`.
"""

import json
import random
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from tests.bad_input.harness import Outcome, run

LONG = 500
RUN = "runs/train/20260101-000000"
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "evaluate": ("evaluate", RUN, "--json"),
    "predict": ("predict", "--run", RUN, "--data", "d.parquet", "--out", "o.csv"),
    "audit": ("audit", RUN, "--days", "1", "--json"),
    "runs": ("runs", "--out", "runs", "--json"),
    "export": ("export", "--run", RUN, "--format", "torch", "--out", "o.pt2"),
    "resume": ("train", "--resume", RUN),
}
"""Every command that reads a run; `audit` also draws its report again."""
QUICK = ("evaluate", "predict", "runs", "resume")
UNREAD = ("report.html", ".lock")
"""Written for people, or empty."""


def _results(home: Path, names: Iterable[str]) -> dict[str, tuple[Outcome, bytes]]:
    """Outcome of each command, and the ranking that `predict` wrote."""
    results = {}
    for name in names:
        outcome = run(COMMANDS[name], home)
        ranking = (home / "o.csv").read_bytes() if (home / "o.csv").is_file() else b""
        results[name] = outcome, ranking
        for written in ("o.csv", "o.pt2"):
            (home / written).unlink(missing_ok=True)
    return results


def _wrong(name: str, after: tuple[Outcome, bytes], before: tuple[Outcome, bytes]) -> str:
    """What is wrong with a command's outcome; empty for an error, or for the result of the unharmed run."""
    outcome, ranking = after
    if outcome.code not in (0, 2) or "Traceback" in outcome.err:
        return f"{name}: exit code {outcome.code}: {outcome.err}"
    if outcome.code == 2 or (outcome.out, ranking) == (before[0].out, before[1]):
        return ""
    noted = name == "runs" and json.loads(outcome.out)[0]["note"]
    return "" if noted else f"{name}: another result: {outcome.out}{outcome.err}{ranking!r}"


@pytest.mark.parametrize("flips", [40, pytest.param(LONG, marks=pytest.mark.slow)])
def test_a_flipped_bit_changes_no_number_in_silence(flips: int, home: Path) -> None:
    (home / "runs" / "train").mkdir(parents=True)
    (home / "run").rename(home / RUN)
    expected = _results(home, COMMANDS if flips == LONG else QUICK)
    assert not {name for name, (outcome, _) in expected.items() if outcome.code}, expected
    kept = shutil.copytree(home / RUN, home / "kept")
    files = sorted(path for path in kept.rglob("*") if path.is_file() and path.name not in UNREAD)
    chance = random.Random(0)
    wrong = []
    for _ in range(flips):
        file = chance.choice(files).relative_to(kept)
        content = bytearray((kept / file).read_bytes())
        position, bit = chance.randrange(len(content)), chance.randrange(8)
        content[position] ^= 1 << bit
        (home / RUN / file).write_bytes(content)
        unread = "predict" if len(file.parts) == 1 and file.name != "manifest.json" else "evaluate"
        names = [name for name in expected if flips == LONG or name != unread]
        for name, after in _results(home, names).items():
            if problem := _wrong(name, after, expected[name]):
                wrong.append(f"bit {bit} of byte {position} of {file}: {problem}")
        shutil.rmtree(home / RUN)
        shutil.copytree(kept, home / RUN)
    assert not wrong, "\n".join(wrong)
