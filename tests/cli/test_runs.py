"""`gogooku3 runs` on a real run and broken ones: list, comparison and refusals."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from run_files import change_json
from tests.cli.commands import run_command


@pytest.fixture
def home(trained_run: Path, tmp_path: Path) -> Path:
    """Folder of four runs: complete, another one with other settings, failed, broken."""
    kept = ("manifest.json", "metrics.json", "audit.json", "config.yaml")
    for name in ("trained/20260101-000000", "other/20260102-000000"):
        (tmp_path / name).mkdir(parents=True)
        for file in kept:
            if (trained_run / file).is_file():
                shutil.copy(trained_run / file, tmp_path / name)
    changed = tmp_path / "other/20260102-000000/manifest.json"
    change_json(changed, lambda about: about["config"]["training"].update(epochs=99))
    change_json(changed, lambda about: about["data"].update(fingerprint="another"))
    for name, text in {
        "trained/20260103-000000": '{"status": "failed", "error": "DataError: no space"}',
        "trained/20260104-000000": "{",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)
    return tmp_path


runs = partial(run_command, "runs")


def test_every_run_is_listed_with_its_scores_or_its_problem(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, notes = runs(capsys, "--out", home)
    assert code == 0
    names = [line.split()[0] for line in text.splitlines() if "/2026" in line]
    assert [name[-10:-7] for name in names] == ["104", "103", "102", "101"]
    scores = json.loads((home / "trained/20260101-000000/metrics.json").read_text())
    pooled = scores["models"]["lightgbm"]["horizons"]["5"]["pooled"]
    row = next(line for line in reversed(text.splitlines()) if " lightgbm " in line)
    assert row.split()[-3:] == [
        f"{pooled['mean_rank_ic']:+.4f}",
        f"{pooled['sharpe_net']:+.2f}",
        f"{pooled['max_drawdown_net']:.1%}",
    ]
    assert "trained/20260103-000000: DataError: no space" in notes
    assert "trained/20260104-000000: manifest.json is not JSON" in notes


def test_json_has_the_requested_runs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = runs(capsys, "--out", home, "--json", "--experiment", "trained", "--sort", "rank_ic")
    listed = json.loads(text)
    assert code == 0
    assert [run["run"][-15:] for run in listed] == ["20260101-000000", "20260104-000000", "20260103-000000"]
    assert [run["status"] for run in listed] == ["complete", "broken", "failed"]
    assert set(listed[0]["scores"]) == {"atft_gat_fan", "lightgbm", "linear", "rank_average"}
    assert len(json.loads(runs(capsys, "--out", home, "--json", "--limit", 1)[1])) == 1


def test_a_comparison_shows_scores_and_differing_settings(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["trained/20260101-000000", home / "other/20260102-000000"]
    code, text, notes = runs(capsys, "--out", home, *names)
    assert code == 0
    assert next(line for line in text.splitlines() if "training.epochs" in line).split()[1:] == ["1", "99"]
    assert "training.batch_size" not in text and "lightgbm: Rank IC" in text
    assert "different data" in notes
    listed = json.loads(runs(capsys, "--out", home, "--json", *names)[1])
    assert listed["settings"] == {"training.epochs": [1, 99]}
    code, text, _ = runs(capsys, "--out", home, "trained/20260101-000000", "trained/20260104-000000")
    assert code == 0 and "broken" in text and "do not differ" not in text


def test_missing_runs_are_reported_in_one_line(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, notes = runs(capsys, "--out", home / "nowhere")
    assert (code, text) == (0, "") and "no runs in" in notes
    assert runs(capsys, "--out", home / "nowhere", "--json")[:2] == (0, "[]\n")
    code, _, notes = runs(capsys, "--out", home, "--experiment", "x")
    assert code == 2 and "there are: other, trained" in notes
    code, _, notes = runs(capsys, "--sort", "sharp")
    assert code == 2 and "'--sort': 'sharp' is not one of 'newest', 'ic_1d'" in notes
    code, _, notes = runs(capsys, "--out", home, "trained/1")
    assert code == 2 and "no run in trained/1" in notes
    code, _, notes = runs(capsys, "--out", home, "--limit", 1, "trained/20260101-000000")
    assert code == 2 and "drop them" in notes


def test_listing_loads_nothing_heavy(home: Path) -> None:
    statement = (
        "import sys; from gogooku3.cli.main import main\n"
        f"try: main(['runs', '--out', {str(home)!r}])\n"
        "except SystemExit as done: assert done.code == 0\n"
        "print({'torch', 'polars', 'numpy', 'scipy', 'lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
