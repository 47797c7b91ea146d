"""A run resumes only with its original data, settings and libraries, in one process."""

import json
from pathlib import Path
from typing import Any

import pytest

from gogooku3.config import RunConfig
from gogooku3.errors import DataError
from gogooku3.pipeline.resume import InterruptedRun
from gogooku3.runs.folder import RunFolder
from gogooku3.training import SafeTrainingPipeline
from gogooku3.training.reproducibility import versions


def started(folder: Path, **manifest: Any) -> RunFolder:
    """A run that was cut off after its data was loaded."""
    config = RunConfig()
    run = RunFolder(folder, "x")
    run.write_text("config.yaml", config.to_yaml())
    about = {
        "status": "running",
        "config": config.model_dump(mode="json"),
        "versions": versions(),
        "data": {"path": "a.parquet", "fingerprint": "abc"},
        "threads": 3,
    }
    run.write_json("manifest.json", about | manifest)
    return run


def test_an_interrupted_run_can_be_resumed(tmp_path: Path) -> None:
    earlier = InterruptedRun.read(started(tmp_path))
    assert (earlier.config, earlier.threads) == (RunConfig(), 3)
    earlier.refuse_other_data("abc")


def test_a_changed_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.parquet has changed .*abc then, xyz now"):
        InterruptedRun.read(started(tmp_path)).refuse_other_data("xyz")


def test_a_changed_setting_is_named(tmp_path: Path) -> None:
    run = started(tmp_path)
    path = run.path / "config.yaml"
    path.write_text(path.read_text().replace("hidden_dim: 256", "hidden_dim: 64"))
    with pytest.raises(DataError, match=r"model\.hidden_dim is 64, but the run was started with 256"):
        InterruptedRun.read(run)


def test_a_changed_version_is_named(tmp_path: Path) -> None:
    run = started(tmp_path, versions={**versions(), "torch": "1.0"})
    with pytest.raises(DataError, match=r"started with torch 1\.0, but this is"):
        InterruptedRun.read(run)


def test_a_changed_kernel_is_accepted(tmp_path: Path) -> None:
    InterruptedRun.read(started(tmp_path, versions={**versions(), "platform": "Linux-1"}))


def test_a_complete_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is complete; there is nothing to resume"):
        InterruptedRun.read(started(tmp_path, status="complete"))


def test_a_folder_without_a_run_is_refused_with_its_contents(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match=r"not the folder of a run: expected config\.yaml .*found notes\.txt"):
        SafeTrainingPipeline.resume(tmp_path)


def test_a_broken_manifest_is_refused(tmp_path: Path) -> None:
    run = started(tmp_path)
    (run.path / "manifest.json").write_text('{"status": ')
    with pytest.raises(DataError, match="is not JSON"):
        InterruptedRun.read(run)


def test_the_folder_of_an_active_run_is_refused(tmp_path: Path) -> None:
    run = started(tmp_path)
    before = json.loads((run.path / "manifest.json").read_text())
    with run.locked(), pytest.raises(DataError, match="another process is at work in"):
        SafeTrainingPipeline.resume(run.path)
    assert json.loads((run.path / "manifest.json").read_text()) == before
