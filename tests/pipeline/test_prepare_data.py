"""Folds that are given to `prepare` replace those of the splitter, and keep the embargo."""

from pathlib import Path

import pytest
from tests.conftest import SMALL_RUN

from gogooku3.config import RunConfig
from gogooku3.errors import ConfigError
from gogooku3.pipeline.input_checks import check_inputs
from gogooku3.pipeline.prepare_data import PreparedData, build_panel, load_frame, prepare
from gogooku3.pipeline.step_log import StepLog
from gogooku3.runs.folder import FEATURE_STATISTICS, RunFolder
from gogooku3.safety.walk_forward import Fold


def prepared(data: Path, run: RunFolder, folds: list[Fold]) -> PreparedData:
    plain = RunConfig.from_mapping({**SMALL_RUN, "dataset": {"data_path": data}})
    inputs = check_inputs(plain)
    panel = build_panel(inputs, load_frame(inputs, StepLog())[0], run, StepLog())
    return prepare(inputs, panel, run, StepLog(), folds)


def test_given_folds_are_used(small_dataset: Path, tmp_path: Path) -> None:
    folds = [Fold(0, range(0, 120), range(140, 160)), Fold(1, range(0, 150), range(175, 200))]
    run = RunFolder(tmp_path, "x")
    data = prepared(small_dataset, run, folds)
    assert data.folds == folds
    second = data.fold(1)
    assert (second.train, second.test) == (range(0, 150), range(175, 200))
    assert second.state["fold"]["gap_days"] == 25
    assert (run.path / "fold_1" / FEATURE_STATISTICS).is_file()


def test_a_given_fold_without_the_embargo_is_refused(small_dataset: Path, tmp_path: Path) -> None:
    fold = Fold(0, range(0, 120), range(139, 160))
    with pytest.raises(ConfigError, match=r"fold 0 has 19 trading days .* split\.embargo_days is 20"):
        prepared(small_dataset, RunFolder(tmp_path, "x"), [fold])
