"""Every example runs as it stands, in an empty folder, prints something and leaves nothing behind."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))

SAYS = {
    "01_make_a_market": "oracle IC by horizon",
    "02_build_a_data_set": "139 features",
    "03_walk_forward_and_normalise": "labels that reach a test day: []",
    "04_lightgbm_baseline": "of the gain",
    "05_train_the_network": "pooled Sharpe net of costs",
}
"""A piece of what each prints."""


def test_every_example_has_its_line_here() -> None:
    assert [path.stem for path in EXAMPLES] == list(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_leaves_nothing_behind(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    runpy.run_path(str(path), run_name="__main__")

    assert SAYS[path.stem] in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_fits_on_a_screen(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
