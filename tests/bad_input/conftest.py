"""A tiny run for the tests to damage."""

import shutil
from pathlib import Path

import pytest
from tests.bad_input.harness import TINY, data_set, run


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of one fold on `data_set()`, which is saved as d.parquet."""
    folder = tmp_path_factory.mktemp("tiny")
    data_set().write_parquet(folder / "d.parquet")
    outcome = run(("train", "--data", "d.parquet", "--out", "runs", *TINY), folder)
    assert outcome.code == 0, outcome.err
    (run_folder,) = (folder / "runs" / "train").iterdir()
    return run_folder


@pytest.fixture
def home(tiny_run: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the run, as `run`, and of its data set."""
    shutil.copytree(tiny_run, tmp_path / "run")
    shutil.copy(tiny_run.parents[2] / "d.parquet", tmp_path / "d.parquet")
    return tmp_path
