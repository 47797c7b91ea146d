"""Steps record time and peak memory; memory is estimated before it is allocated."""

import time

import numpy as np
import pytest

from gogooku3.errors import ConfigError
from gogooku3.pipeline.memory_plan import plan_memory
from gogooku3.pipeline.step_log import StepLog


def test_steps_are_recorded_in_order_with_time_and_peak_memory() -> None:
    log = StepLog()
    with log.step("load"):
        time.sleep(0.02)
    with log.step("split"):
        pass
    assert [step["name"] for step in log.steps] == ["load", "split"]
    assert 0.02 <= log.steps[0]["seconds"] < 2
    assert log.steps[1]["seconds"] < log.steps[0]["seconds"]
    assert 0.01 < log.peak_memory_gb < 100
    assert log.peak_memory_gb == max(step["peak_memory_gb"] for step in log.steps)


def test_a_steps_peak_counts_memory_released_during_the_step() -> None:
    log = StepLog()
    with log.step("small"):
        pass
    with log.step("large"):
        block = np.ones(40_000_000)
        del block
    assert log.steps[1]["peak_memory_gb"] - log.steps[0]["peak_memory_gb"] > 0.2


def test_a_step_that_fails_is_not_recorded() -> None:
    log = StepLog()
    with pytest.raises(RuntimeError), log.step("load"):
        raise RuntimeError
    assert log.steps == []


def test_dropped_rows_are_recorded_with_the_reason() -> None:
    log = StepLog()
    log.drop("load", "no target", 3)
    log.drop("load", "no date", 0)
    assert log.dropped == [{"step": "load", "reason": "no target", "rows": 3}]


def test_steps_are_printed_only_when_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        log = StepLog(verbose)
        with log.step("load"):
            pass
        log.drop("load", "no target", 1234)
    told = capsys.readouterr().out
    assert told.count("1. load") == 1
    assert "1,234 rows left out: no target" in told


def test_a_data_set_that_fits_stays_in_memory() -> None:
    assert plan_memory((959, 632, 145), 30_000_000, limit_gb=8) is False


def test_a_cube_that_does_not_fit_with_its_copies_is_stored_on_disk() -> None:
    # 2,000 x 3,000 x 145: 3.48 GB; 0.7 + 0.1 + 3.48 (copied) + 0.87 (bins) + 0.87 (a copy) = 6.02.
    shape = (2000, 3000, 145)
    assert plan_memory(shape, 100_000_000, limit_gb=9.6) is False
    assert plan_memory(shape, 100_000_000, limit_gb=9.4) is True


def test_an_impossible_limit_is_refused_with_a_sufficient_one() -> None:
    shape = (2000, 3000, 145)
    with pytest.raises(
        ConfigError, match=r"memory_limit_gb is 3 but this data set needs about 6\.1 GB.*6\.2"
    ):
        plan_memory(shape, 100_000_000, limit_gb=3)
    assert plan_memory(shape, 100_000_000, limit_gb=6.3) is True


def test_each_booster_trained_at_the_same_time_needs_a_copy_of_the_rows() -> None:
    # 0.58 G cells: the cube 2.32 GB, the binned rows 0.58, the sample of their bins 0.35 or the copies.
    shape = (1000, 4000, 145)
    assert plan_memory(shape, 0, limit_gb=6.7, side_by_side=1) is False
    assert plan_memory(shape, 0, limit_gb=6.7, side_by_side=4) is True
    with pytest.raises(ConfigError, match=r"needs about 6\.0 GB"):
        plan_memory(shape, 0, limit_gb=5.5, side_by_side=4)


def test_the_refusal_names_scoring_if_the_predictions_need_more_than_the_panel() -> None:
    # The cube needs 0.8 + 0.35 + 0.088 + 0.348 = 1.59 GB, ten million predictions 0.8 + 1.75.
    shape = (959, 632, 145)
    assert plan_memory(shape, 0, limit_gb=2.6, predictions=10_000_000) is False
    with pytest.raises(ConfigError, match=r"about 2\.5 GB .*to score the predictions of all folds.*2\.6"):
        plan_memory(shape, 0, limit_gb=2, predictions=10_000_000)
    assert plan_memory(shape, 0, limit_gb=2, predictions=6_000_000) is False
