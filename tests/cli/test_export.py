"""`gogooku3 export`: the file, its summary, and early refusals."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.commands import run_command

from gogooku3.inference.export import FORMATS, Arrays, Format, one_day_network
from gogooku3.inference.saved_fold import SavedFold

export = partial(run_command, "export")


def test_one_seeds_network_is_written_and_its_difference_printed(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = one_day_network(SavedFold.open(trained_run), "seed 0")

    def predict(inputs: Arrays) -> np.ndarray:
        with torch.inference_mode():
            return network(**{name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()

    # Tracing takes long and has its own tests.
    monkeypatch.setattr("gogooku3.inference.export.trace", lambda network: None)
    form = Format(".pt2", (), lambda program, about: about.encode(), lambda content: predict)
    monkeypatch.setitem(FORMATS, "torch", form)
    out = tmp_path / "new" / "model.pt2"
    options = ["--run", trained_run, "--format", "torch", "--out", out, "--seed", 0, "--fold", 0]
    code, text, err = export(capsys, *options)
    assert code == 0 and not err
    assert "fold 0, seed 0; not in it: seed 1; differs from PyTorch by at most 0.0e+00 on" in text
    assert "on days of 2, 9, 33 stocks" in text
    assert json.loads(out.read_text())["network"] == "seed 0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--format", "tflite", "--out", "model.onnx"],
            "the format is 'tflite'; it must be one of onnx, torch",
        ),
        (["--format", "torch", "--out", "model.onnx"], "for the format torch its name must end in .pt2"),
        (["--format", "torch", "--out", "a.pt2", "--fold", "7"], "does not have a network of fold 7"),
        (
            ["--format", "torch", "--out", "a.pt2", "--seed", "5"],
            "has no network of seed 5; it has seed 0, seed 1",
        ),
        (["--format", "torch", "--out", "a.pt2", "--run", "nowhere"], "nowhere is not a folder"),
        (["--format", "torch", "--out", "folder.pt2"], "folder.pt2 is a folder; name a file"),
        (["--format", "torch", "--out", "file/a.pt2"], "something else has this name; choose another"),
    ],
)
def test_impossible_exports_are_refused_in_one_line(
    options: list[str],
    message: str,
    trained_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.pt2").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    code, _, err = export(capsys, "--run", trained_run, *options)
    assert code == 2 and message in err and err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
