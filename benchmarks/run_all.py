"""Run every speed benchmark, each in a separate process, and print one table: `make bench`.

python benchmarks/run_all.py [--tiny] [--json] [--rounds 5] [--only loader start_up]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import harness
from harness import Figure, from_json, run_process

HERE = Path(__file__).resolve().parent
SCRIPTS = (
    *("data_path", "features", "memory_limit", "loader"),
    *("training_step", "gpu_training", "start_up", "prediction"),
)
"""In the order of the table."""


def figures_of(name: str, options: Sequence[str]) -> list[Figure]:
    """Figures of one script; a script that fails becomes a row with the reason."""
    try:
        return from_json(run_process([sys.executable, str(HERE / f"{name}.py"), "--json", *options]).result)
    except (RuntimeError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[-1]
        return [Figure(name, None, "", bar=None, note=f"benchmarks/{name}.py failed: {reason}")]


def measure(given: argparse.Namespace) -> list[Figure]:
    """Figures of all requested scripts."""
    options = [f"--rounds={given.rounds}", *(["--tiny"] if given.tiny else [])]
    figures: list[Figure] = []
    for name in given.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        figures += figures_of(name, options)
    return figures


def add_only(parser: argparse.ArgumentParser) -> None:
    """Add `--only`."""
    names = [name for name in SCRIPTS if (HERE / f"{name}.py").is_file()]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="scripts to run")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if a script failed; a bar that is not reached is no failure."""
    figures = harness.main(measure, __doc__, arguments=arguments, extend=add_only)
    return int(any("failed:" in figure.note for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
