"""How long a user waits before anything happens: the import, the help, and the first training step.

    python benchmarks/start_up.py [--rounds 5] [--json]

Fresh processes, the median of the rounds; the first run, which may read the disk, is left out. Import and
help are processor time: on a quiet machine the clock shows no more, since nothing in them waits. The first
step is by the clock, for it uses every core: measure it on a quiet machine. The limits are the project's own.

The first step is that of `gogooku3 train --config model/atft/quickstart` in an empty folder: market made,
data set built, split and normalised, LightGBM trained, graphs built, network made, one step of its optimiser.
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
whole = ATFTModule.optimizer_step
def stop(self, *arguments, **options):
    whole(self, *arguments, **options)
    os._exit(0)
ATFTModule.optimizer_step = stop
from gogooku3.cli.main import main
sys.argv = ["gogooku3", "train", "--config", "model/atft/quickstart", *sys.argv[1:]]
main()
"""
"""Trains until the first step of the optimiser is taken, then ends the process where it stands."""


def figures(given: argparse.Namespace) -> list[Figure]:
    """The three waits beside their limits."""
    arms = {
        "import gogooku3": lambda: run_process([sys.executable, "-c", "import gogooku3"]),
        "gogooku3 --help": lambda: run_process([sys.executable, "-m", "gogooku3", "--help"]),
    }
    if not given.tiny:
        arms[FIRST] = first_step
    runs: dict[str, list[Run]] = in_turns(arms, 1 + given.rounds)
    return [figure(name, found[1:]) for name, found in runs.items()]


def figure(name: str, runs: list[Run]) -> Figure:
    """One wait beside its limit."""
    wall, processor = (
        median(seconds) for seconds in zip(*((run.wall_s, run.processor_s) for run in runs), strict=True)
    )
    peak_mb, limit = median(run.peak_mb for run in runs), LIMITS_S[name]
    if name != FIRST:
        return Figure(name, processor, "s", "limit", limit, peak_mb=peak_mb)
    note = f"{processor:.1f} s of processor time; fastest run {min(run.wall_s for run in runs):.1f} s"
    return Figure(f"{name}: by the clock", wall, "s", "limit", limit, peak_mb=peak_mb, note=note)


def first_step() -> Run:
    """The process that ends with its first step, in a folder of its own."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-c", FIRST_STEP, "--out", folder]
        return run_process(command, {"GOGOOKU3_DATA_DIR": folder}, as_a_user=True)


if __name__ == "__main__":
    main(figures, __doc__)
