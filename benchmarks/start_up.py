"""How long a user waits before anything happens: the import, the help, and the first training step.

    python benchmarks/start_up.py [--rounds 5] [--json]

Processor time of fresh processes, the median of the rounds. On a quiet machine the clock shows no more than
that, since nothing here waits; on a busy one the clock would measure the neighbours. The first run, which may
read the disk, is left out. The limits are the project's own.

The first step is that of `gogooku3 train --config model/atft/quickstart` in an empty folder: market made,
data set built, split and normalised, LightGBM trained, graphs built, network made, one step of its optimiser.
"""

import argparse
import sys
from statistics import median
from tempfile import TemporaryDirectory

from harness import Figure, Run, in_turns, main, run_process

LIMITS_S = {"import gogooku3": 0.3, "gogooku3 --help": 0.7, "first training step, demo market": 15.0}

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
        arms["first training step, demo market"] = first_step
    runs: dict[str, list[Run]] = in_turns(arms, 1 + given.rounds)
    return [
        Figure(
            name,
            median(run.processor_s for run in found[1:]),
            "s",
            "limit",
            LIMITS_S[name],
            peak_mb=median(run.peak_mb for run in found[1:]),
        )
        for name, found in runs.items()
    ]


def first_step() -> Run:
    """The process that ends with its first step, in a folder of its own."""
    with TemporaryDirectory() as folder:
        return run_process([sys.executable, "-c", FIRST_STEP, "--out", folder], {"GOGOOKU3_DATA_DIR": folder})


if __name__ == "__main__":
    main(figures, __doc__)
