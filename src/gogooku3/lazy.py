"""Load the modules of public names on first use, so that importing a package is cheap."""

import importlib
import sys
from collections.abc import Callable, Mapping


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Create a package's `__getattr__` and `__dir__` from `{public name: module that defines it}`.

    A name is resolved once and then stored in the package as a plain attribute.

    >>> load, names = lazy_names("gogooku3.lazy", {"sqrt": "math"})
    >>> load("sqrt")(4.0)
    2.0
    >>> load("cube")
    Traceback (most recent call last):
    AttributeError: module 'gogooku3.lazy' has no attribute 'cube'
    """

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted({*vars(sys.modules[package]), *homes})
