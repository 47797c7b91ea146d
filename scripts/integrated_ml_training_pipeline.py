"""Deprecated: use `gogooku3 train --verbose --n-splits N`, which takes the same options.

python scripts/integrated_ml_training_pipeline.py --verbose --n-splits 5 [--data FILE] [key=value ...]
"""

import sys
import warnings

from gogooku3.cli.main import main

if __name__ == "__main__":
    warnings.warn(
        "scripts/integrated_ml_training_pipeline.py is deprecated; "
        "use `gogooku3 train --verbose --n-splits N`",
        DeprecationWarning,
        stacklevel=1,
    )
    main(["train", "--n-splits", "5", *sys.argv[1:]])
