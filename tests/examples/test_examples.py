"""Tests that every example runs unchanged in an empty folder, prints its result and leaves no files."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))

OUTPUTS = {
    "01_make_a_market": "oracle IC by horizon",
    "02_build_a_data_set": "139 features",
    "03_walk_forward_and_normalise": "labels that reach a test day: []",
    "04_lightgbm_baseline": "of the gain",
    "05_train_the_network": "pooled Sharpe net of costs",
}
"""Part of each example's output."""


def test_every_example_has_an_expected_output() -> None:
    assert [path.stem for path in EXAMPLES] == list(OUTPUTS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_leaves_no_files(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    runpy.run_path(str(path), run_name="__main__")

    assert OUTPUTS[path.stem] in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_fits_on_a_screen(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
