"""Deprecated: use `gogooku3 train --memory-limit GB --n-splits N`. Kept so that old commands go on working.

python scripts/run_safe_training.py --memory-limit 8 --n-splits 5 [--data FILE] [key=value ...]
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags this script had."""
    parser = argparse.ArgumentParser(
        description="Deprecated: use `gogooku3 train --memory-limit GB --n-splits N`."
    )
    parser.add_argument("--memory-limit", type=float, default=8.0, help="memory the run may take, in GB")
    parser.add_argument("--n-splits", type=int, default=5, help="walk-forward folds")
    parser.add_argument("--config", default="model/atft/train", help="configuration")
    parser.add_argument("--data", type=Path, help="data set, instead of dataset.data_path")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings to change")
    return parser.parse_intermixed_args(arguments)


def main(flags: argparse.Namespace) -> None:
    """Hand the flags to the new command."""
    from gogooku3.cli.main import main as gogooku3

    limits = ["--memory-limit", str(flags.memory_limit), "--n-splits", str(flags.n_splits)]
    data = [] if flags.data is None else ["--data", str(flags.data)]
    gogooku3(["train", "--config", flags.config, *limits, *data, "--", *flags.overrides])


if __name__ == "__main__":
    chosen = parse()
    warnings.warn(
        "scripts/run_safe_training.py is deprecated; use `gogooku3 train --memory-limit "
        f"{chosen.memory_limit:g} --n-splits {chosen.n_splits}`",
        DeprecationWarning,
        stacklevel=1,
    )
    main(chosen)
