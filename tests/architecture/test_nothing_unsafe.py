"""No source file calls anything that unpickles objects or evaluates text."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "scripts", "benchmarks", "examples")

MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
"""Modules that build arbitrary objects from a file."""
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "torch.load",
    "torch.jit.load",
    "pandas.read_pickle",
    "pd.read_pickle",
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.unsafe_load",
    "yaml.unsafe_load_all",
    "shutil.unpack_archive",
    "os.system",
}
METHODS = {"extractall", "load_from_checkpoint", "read_pickle", "unpack_archive"}
NAMES = {"FullLoader", "UnsafeLoader", "CUnsafeLoader", "CFullLoader"}
SWITCHES = {"allow_pickle": True, "weights_only": False, "shell": True, "trust_remote_code": True}


def unsafe(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of each unsafe construct; import aliases are resolved."""
    tree = ast.parse(source)
    full: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                full[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
                if alias.name.split(".")[0] in MODULES:
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                if (node.module or "").split(".")[0] in MODULES or alias.name in NAMES | METHODS | MODULES:
                    yield node.lineno, f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = _dotted(node, full)
            if name in CALLS or node.attr in METHODS | NAMES or name.split(".")[0] in MODULES:
                yield node.lineno, name
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                name = full.get(node.func.id, node.func.id)
                if name in CALLS or (name in BUILTINS and node.func.id not in full):
                    yield node.lineno, name
            for keyword in node.keywords:
                if keyword.arg in SWITCHES and _constant(keyword.value) is SWITCHES[keyword.arg]:
                    yield node.lineno, f"{keyword.arg}={SWITCHES[keyword.arg]}"


def _dotted(node: ast.expr, full: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, full)}.{node.attr}"
    return full.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def _constant(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def test_no_source_file_evaluates_text_or_unpickles() -> None:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    calls = [
        f"{file.relative_to(ROOT)}:{line}: {name}"
        for file in files
        for line, name in unsafe(file.read_text(encoding="utf-8"))
    ]
    assert calls == []


@pytest.mark.parametrize(
    "planted",
    [
        "import torch\ntorch.load('a')",
        "import torch as t\nt.load('a')",
        "from torch import load\nload('a')",
        "from torch import load as read\nread('a')",
        "import torch\nread = torch.load",
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "import joblib",
        "import cloudpickle",
        "import shelve",
        "import marshal",
        "def f():\n    import dill",
        "eval('1')",
        "exec('1')",
        "__import__('os')",
        "import yaml\nyaml.load('a', Loader=yaml.SafeLoader)",
        "import yaml\nyaml.unsafe_load('a')",
        "import yaml\nyaml.full_load('a')",
        "from yaml import UnsafeLoader",
        "import yaml\nyaml.UnsafeLoader",
        "import numpy as np\nnp.load('a', allow_pickle=True)",
        "import pandas as pd\npd.read_pickle('a')",
        "import tarfile\ntarfile.open('a').extractall()",
        "import shutil\nshutil.unpack_archive('a')",
        "import os\nos.system('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "Model.load_from_checkpoint('a')",
        "load('a', weights_only=False)",
    ],
)
def test_each_unsafe_call_is_found(planted: str) -> None:
    assert list(unsafe(planted))


@pytest.mark.parametrize(
    "harmless",
    [
        "model.eval()",
        "import json\njson.load(open('a'))",
        "import yaml\nyaml.safe_load('a')",
        "import numpy as np\nnp.load('a', allow_pickle=False)",
        "import re\nre.compile('a')",
        "'torch.load, pickle and eval() are words here'",
    ],
)
def test_harmless_lookalikes_are_accepted(harmless: str) -> None:
    assert not list(unsafe(harmless))
