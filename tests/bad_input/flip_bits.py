"""Flips bits of a finished run and calls every command that reads it, as often as asked for.

From the repository's root: `PYTHONPATH=src:tests/support python -m tests.bad_input.flip_bits 500`
(about four seconds each). Exit code 1: a flip changed a number in silence, or a command crashed.
"""

import json
import random
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from tests.bad_input.harness import TINY, Outcome, data_set, run

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


def problems(home: Path, flips: int, commands: Collection[str], seed: int = 0) -> Iterator[str]:
    """What each flip broke; nothing for a flip that is refused or changes no result.

    Args:
        home: holds the run, as `RUN`, and its data set, as d.parquet.
        flips: number of flips, each in a random byte of a random file.
        commands: names of `COMMANDS`.
        seed: of the flips.
    """
    expected = _results(home, commands)
    assert not {name for name, (outcome, _) in expected.items() if outcome.code}, expected
    kept = shutil.copytree(home / RUN, home / "kept")
    files = sorted(path for path in kept.rglob("*") if path.is_file() and path.name not in UNREAD)
    chance = random.Random(seed)
    for _ in range(flips):
        file = chance.choice(files).relative_to(kept)
        content = bytearray((kept / file).read_bytes())
        position, bit = chance.randrange(len(content)), chance.randrange(8)
        content[position] ^= 1 << bit
        (home / RUN / file).write_bytes(content)
        # The quick version leaves out what reads no such file.
        unread = "predict" if len(file.parts) == 1 and file.name != "manifest.json" else "evaluate"
        names = [name for name in commands if len(commands) == len(COMMANDS) or name != unread]
        for name, after in _results(home, names).items():
            if problem := _wrong(name, after, expected[name]):
                yield f"bit {bit} of byte {position} of {file}: {problem}"
        shutil.rmtree(home / RUN)
        shutil.copytree(kept, home / RUN)


def main(flips: int) -> int:
    """Train a small run, flip its bits, print every problem and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        data_set().write_parquet(home / "d.parquet")
        trained = run(("train", "--data", "d.parquet", "--out", "runs", *TINY), home)
        assert trained.code == 0, trained.err
        (made,) = (home / "runs" / "train").iterdir()
        made.rename(home / RUN)
        found = list(problems(home, flips, COMMANDS))
    print(*found, f"{flips} flips, {len(found)} problems", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
