"""No path is read as a pattern: `[`, `]`, `*` and `?` may be in the name of a folder."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
SCANS = {f"{verb}_{kind}" for verb in ("read", "scan") for kind in ("parquet", "csv", "ipc", "ndjson")}
PATTERNS_ALWAYS = {"read_parquet_schema", "read_ipc_schema"}
"""Have no argument `glob`."""


def test_every_polars_reader_of_a_file_has_glob_false() -> None:
    wrong = []
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            off = any(word.arg == "glob" and ast.unparse(word.value) == "False" for word in node.keywords)
            if node.func.attr in PATTERNS_ALWAYS or (node.func.attr in SCANS and not off):
                wrong.append(f"{file}:{node.lineno} {ast.unparse(node)}")
    assert not wrong, wrong
