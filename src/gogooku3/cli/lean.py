"""Loads libraries for a command without what they load for others, which would take most of the time."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

LEFT_OUT = ("sklearn", "pandas", "pyarrow", "dask", "matplotlib", "graphviz")
"""What `import lightgbm` loads where it is installed, for interfaces that no command uses."""
TURN_S = 5e-5
"""Seconds a thread waits for its turn in Python where another is at work; Python's own default is 5e-3."""
SIGNAL = "scipy.signal"
"""What Lightning's torchmetrics loads for its audio metrics."""


def load_lightgbm_alone() -> None:
    """Import LightGBM now, unless it is loaded: 0.4 s instead of 2.2.

    In this process its scikit-learn interface is then off, so this is for a command's own process. The
    packages left out can be imported afterwards as ever.
    """
    if "lightgbm" in sys.modules:
        return
    hidden = [name for name in LEFT_OUT if name not in sys.modules]
    # None makes Python say that there is no such module, which LightGBM takes as "not installed".
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        import lightgbm  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def load_lightning_alone() -> None:
    """Import Lightning now, unless it is loaded, without `scipy.signal`: 2.4 s instead of 3.6, torch aside.

    torchmetrics finds an empty module in its place, which is gone afterwards: SciPy then loads the true one
    for whoever asks for it, torchmetrics included.
    """
    if "torchmetrics" in sys.modules or SIGNAL in sys.modules:
        return
    instead = ModuleType(SIGNAL)
    # torchmetrics adds this window where SciPy has none; that would load the true module.
    instead.hamming = None  # type: ignore[attr-defined]
    sys.modules[SIGNAL] = instead
    try:
        import lightning.pytorch  # noqa: F401
    finally:
        del sys.modules[SIGNAL]


@contextmanager
def never_garbage() -> Iterator[None]:
    """Inside, nothing looks for garbage, and nothing made there is ever looked through for it.

    Modules live as long as their process. Looking through torch's takes a fifth of its import, and 0.3 s when
    the interpreter ends.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if before:
            gc.enable()


@contextmanager
def quick_turns() -> Iterator[None]:
    """Inside, threads take turns in Python 100 times as often.

    A thread that computes in NumPy asks for a turn between any two steps; beside one that imports it would
    wait a hundred times as long as it computes.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def load_prediction() -> None:
    """Import all that runs a trained fold's models."""
    with never_garbage():
        import gogooku3.inference.ranking  # noqa: F401

        load_lightgbm_alone()


def load_training() -> None:
    """Import all that a training command needs."""
    with never_garbage():
        load_lightgbm_alone()
        load_lightning_alone()
        import gogooku3.pipeline.pipeline  # noqa: F401
