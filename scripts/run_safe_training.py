"""Deprecated: use `gogooku3 train --memory-limit GB --n-splits N`, which takes the same options.

python scripts/run_safe_training.py --memory-limit 8 --n-splits 5 [--data FILE] [key=value ...]
"""

import sys
import warnings

from gogooku3.cli.main import main

if __name__ == "__main__":
    warnings.warn(
        "scripts/run_safe_training.py is deprecated; use `gogooku3 train --memory-limit GB --n-splits N`",
        DeprecationWarning,
        stacklevel=1,
    )
    main(["train", "--memory-limit", "8", "--n-splits", "5", *sys.argv[1:]])
