"""Importing the package and printing help load no heavy library."""

import subprocess
import sys

import pytest

import gogooku3
import gogooku3.models
import gogooku3.training

HEAVY = {
    "torch",
    "lightning",
    "lightgbm",
    "polars",
    "numpy",
    "scipy",
    "sklearn",
    "pydantic_core",
    "hydra",
    "rich",
}


def modules_after(statement: str) -> set[str]:
    """Top-level modules loaded by a statement in a fresh interpreter."""
    code = f"{statement}\nimport sys; print('\\n'.join(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["gogooku3", "gogooku3.models", "gogooku3.training"])
def test_importing_the_package_loads_nothing_heavy(package: str) -> None:
    assert modules_after(f"import {package}") & HEAVY == set()


def test_the_command_line_loads_nothing_heavy_before_a_command_runs() -> None:
    assert modules_after("import gogooku3.cli.main") & (HEAVY - {"rich"}) == set()


@pytest.mark.parametrize("package", [gogooku3, gogooku3.models, gogooku3.training], ids=lambda p: p.__name__)
def test_every_public_name_is_there(package: object) -> None:
    for name in package.__all__:  # type: ignore[attr-defined]
        assert name in dir(package)
        assert getattr(package, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = gogooku3.nothing
