"""Loads LightGBM for a command without scikit-learn and pandas, which would take most of the time."""

import sys

LEFT_OUT = ("sklearn", "pandas", "pyarrow", "dask", "matplotlib", "graphviz")
"""What `import lightgbm` loads where it is installed, for interfaces that no command uses."""


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
