"""Deprecated: use `gogooku3 train --config FILE`.

python scripts/train_atft.py --config-path configs/model/atft --config-name train [--data FILE] [KEY=VALUE]
"""

import argparse
import warnings
from pathlib import Path

from gogooku3.cli.main import main

if __name__ == "__main__":
    warnings.warn(
        "scripts/train_atft.py is deprecated; use `gogooku3 train --config FILE`",
        DeprecationWarning,
        stacklevel=1,
    )
    parser = argparse.ArgumentParser(description="Deprecated: use `gogooku3 train`.", allow_abbrev=False)
    parser.add_argument("--config-path", default="configs/model/atft", help="folder of the configuration")
    parser.add_argument("--config-name", default="train", help="its name, without .yaml")
    flags, others = parser.parse_known_args()
    main(["train", "--config", str(Path(flags.config_path) / flags.config_name), *others])
