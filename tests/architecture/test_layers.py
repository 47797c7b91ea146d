"""The rooms import one way only; the contracts stand in pyproject.toml."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_imports_go_one_way(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    status = lint_imports(no_cache=True)
    assert status == 0, capsys.readouterr().out


def test_no_source_file_is_longer_than_five_hundred_lines() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for folder in ("src", "tests", "scripts", "benchmarks", "examples")
        for file in (ROOT / folder).rglob("*.py")
    }
    assert {name: lines for name, lines in lengths.items() if lines > 500} == {}
