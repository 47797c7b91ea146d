"""Every speed benchmark, each in a process of its own, as one table: `make bench`.

python benchmarks/run_all.py [--tiny] [--json] [--only loader start_up]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import Figure, as_json, from_json, hardware, run_process, table

HERE = Path(__file__).resolve().parent
SCRIPTS = (
    "data_path",
    "features",
    "memory_limit",
    "loader",
    "training_step",
    "gpu_training",
    "start_up",
    "prediction",
)
"""In the order of the table."""


def figures_of(name: str, options: Sequence[str]) -> list[Figure]:
    """What a script measures; one that breaks is a row that says so, so that the others are still seen."""
    try:
        return from_json(run_process([sys.executable, str(HERE / f"{name}.py"), "--json", *options]).result)
    except (RuntimeError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[-1]
        return [Figure(name, None, "", bar=None, note=f"benchmarks/{name}.py failed: {reason}")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scripts and print the table; 1 when one of them failed, which a missed bar is not."""
    there = [name for name in SCRIPTS if (HERE / f"{name}.py").is_file()]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--tiny", action="store_true", help="smallest sizes: to see that it runs, not how fast"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--only", nargs="+", choices=there, default=there, help="scripts to run")
    given = parser.parse_args(arguments)
    figures: list[Figure] = []
    for name in given.only:
        print(f"{name} ...", file=sys.stderr, flush=True)
        figures += figures_of(name, ["--tiny"] if given.tiny else [])
    print(as_json(figures) if given.json else f"{table(figures)}\n\n{hardware()}")
    return int(any("failed:" in figure.note for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
