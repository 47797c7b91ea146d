"""Deprecated: use `gogooku3 train --config FILE`. Kept so that old commands go on working.

python scripts/train_atft.py --config-path configs/model/atft --config-name train [--data FILE] [KEY=VALUE]
"""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the flags this script had."""
    parser = argparse.ArgumentParser(description="Deprecated: use `gogooku3 train --config FILE`.")
    parser.add_argument("--config-path", default="configs/model/atft", help="folder of the configuration")
    parser.add_argument("--config-name", default="train", help="its name, without .yaml")
    parser.add_argument("--data", type=Path, help="data set, instead of dataset.data_path")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings to change")
    return parser.parse_intermixed_args(arguments)


def main(flags: argparse.Namespace) -> None:
    """Hand the flags to the new command."""
    from gogooku3.cli.main import main as gogooku3

    config = str(Path(flags.config_path) / flags.config_name)
    data = [] if flags.data is None else ["--data", str(flags.data)]
    gogooku3(["train", "--config", config, *data, "--", *flags.overrides])


if __name__ == "__main__":
    chosen = parse()
    warnings.warn(
        "scripts/train_atft.py is deprecated; use `gogooku3 train --config "
        f"{Path(chosen.config_path) / chosen.config_name}.yaml`",
        DeprecationWarning,
        stacklevel=1,
    )
    main(chosen)
