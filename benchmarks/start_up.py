"""Time until a command starts to work: the import, the help, and the first training step.

    python benchmarks/start_up.py [--rounds 5] [--json]

New processes; the median of the rounds after a first run that may read from the disk. Import and help are in
processor time, which equals wall time on a quiet machine. The first step is in wall time, because it uses
every core: measure on a quiet machine. The limits are the project's own.

The first step is that of `gogooku3 train --config model/atft/quickstart` in an empty folder: generate the
market, build, split and normalise the data set, train LightGBM, build graphs and network, one optimiser step.
"""

import argparse
import sys
from statistics import median
from tempfile import TemporaryDirectory

from harness import Figure, Run, in_turns, main, run_process

FIRST = "first training step, demo market"
LIMITS_S = {"import gogooku3": 0.3, "gogooku3 --help": 0.7, FIRST: 15.0}

FIRST_STEP = """
import os, sys
from gogooku3.training.module import ATFTModule
original = ATFTModule.optimizer_step
def stop(self, *arguments, **options):
    original(self, *arguments, **options)
    os._exit(0)
ATFTModule.optimizer_step = stop
from gogooku3.cli.main import main
sys.argv = ["gogooku3", "train", "--config", "model/atft/quickstart", *sys.argv[1:]]
main()
"""
"""Ends the process right after the first step of the optimiser."""


def figures(given: argparse.Namespace) -> list[Figure]:
    """The three times against their limits."""
    arms = {
        "import gogooku3": lambda: run_process([sys.executable, "-c", "import gogooku3"]),
        "gogooku3 --help": lambda: run_process([sys.executable, "-m", "gogooku3", "--help"]),
    }
    if not given.tiny:
        arms[FIRST] = first_step
    runs: dict[str, list[Run]] = in_turns(arms, 1 + given.rounds)
    return [figure(name, measured[1:]) for name, measured in runs.items()]


def figure(name: str, runs: list[Run]) -> Figure:
    """One time against its limit."""
    wall, processor = median(run.wall_s for run in runs), median(run.processor_s for run in runs)
    peak_mb, limit = median(run.peak_mb for run in runs), LIMITS_S[name]
    if name != FIRST:
        return Figure(name, processor, "s", "limit", limit, peak_mb=peak_mb)
    note = f"{processor:.1f} s of processor time; fastest run {min(run.wall_s for run in runs):.1f} s"
    return Figure(f"{name}: wall time", wall, "s", "limit", limit, peak_mb=peak_mb, note=note)


def first_step() -> Run:
    """Run until the first training step, in an empty folder."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-c", FIRST_STEP, "--out", folder]
        return run_process(command, {"GOGOOKU3_DATA_DIR": folder}, as_a_user=True)


if __name__ == "__main__":
    main(figures, __doc__)
