"""Tests that a saved fold reproduces the run's predictions, from past days only."""

import datetime as dt
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from gogooku3.errors import DataError
from gogooku3.inference.predict import FoldPredictions, predict_days, read_inputs
from gogooku3.inference.prepare_days import DayInputs, prepare_days, select_days
from gogooku3.inference.saved_fold import SavedFold


@pytest.fixture(scope="module")
def fold(trained_run: Path) -> SavedFold:
    return SavedFold.load(trained_run)


def prepared(fold: SavedFold, frame: pl.DataFrame, day: dt.date) -> DayInputs:
    return prepare_days(fold, select_days(fold, frame, day, day))


def test_predictions_of_test_days_equal_the_runs_own(
    trained_run: Path, fold: SavedFold, small_dataset: Path
) -> None:
    table = pl.read_parquet(trained_run / "predictions.parquet")
    days = table["date"].unique().sort()
    for first, last in ((days[0], days[0]), (days[20], days[45])):
        predictions = predict_days(fold, read_inputs(fold, small_dataset, first, last))
        models = {
            "atft_gat_fan": predictions.network,
            "lightgbm": predictions.lightgbm,
            "linear": predictions.linear,
            "rank_average": predictions.rank_average,
        }
        for model, wide in models.items():
            for horizon in fold.horizons:
                expected = table.filter(pl.col("date").is_between(first, last), model=model, horizon=horizon)
                assert wide.select("date", "code").equals(expected.select("date", "code"))
                np.testing.assert_allclose(wide[f"prediction_{horizon}d"], expected["prediction"], atol=1e-6)
        for name, own in predictions.members.items():
            written = pl.read_parquet(
                trained_run / "fold_0" / "atft_gat_fan" / name.replace(" ", "_") / "predictions.parquet"
            )
            written = written.filter(pl.col("date").is_between(first, last))
            np.testing.assert_allclose(own["prediction_5d"], written["prediction_5d"], atol=1e-6)


def test_the_days_predicted_together_do_not_change_a_prediction(
    trained_run: Path, small_dataset: Path, small_frame: pl.DataFrame
) -> None:
    """Nor does the first day that is read."""
    fold = replace(SavedFold.open(trained_run), half_precision=False)
    for model in fold.networks.values():
        model.windows_share.fill_(1)
        for head in model.heads.values():
            torch.nn.init.normal_(head[-1].weight)
    days = small_frame["date"].unique().sort()[-50:]
    together = predict_days(fold, read_inputs(fold, small_dataset, days[0], days[-1]))
    assert len(set(days.dt.month())) == 4
    for day in (days[0], days[20], days[-1]):
        for name, alone in predict_days(fold, read_inputs(fold, small_dataset, day, day)).members.items():
            same_day = together.members[name].filter(date=day)
            assert alone["prediction_5d"].std() > 0.1
            np.testing.assert_allclose(alone["prediction_5d"], same_day["prediction_5d"], atol=1e-5)


def test_later_days_do_not_change_a_prediction_at_all(fold: SavedFold, small_frame: pl.DataFrame) -> None:
    days = small_frame["date"].unique().sort()
    day = days[-30]
    features = list(fold.file_features)
    later = pl.col("date") > day
    changed = small_frame.with_columns(pl.when(later).then(-pl.col(features)).otherwise(pl.col(features)))
    cut = small_frame.filter(~later).drop("target_1d", "target_5d", "target_10d", "target_20d")

    def predict(frame: pl.DataFrame) -> FoldPredictions:
        return predict_days(fold, prepared(fold, frame, day))

    whole = predict(small_frame)
    for other in (predict(changed), predict(cut)):
        assert other.rank_average.equals(whole.rank_average)
        assert all(other.members[name].equals(own) for name, own in whole.members.items())


def test_days_before_the_runs_start_date_are_not_read(
    fold: SavedFold, small_dataset: Path, small_frame: pl.DataFrame
) -> None:
    days = small_frame["date"].unique().sort()
    start, day = days[100], days[125]
    late = replace(fold, dataset={**fold.dataset, "start_date": start.isoformat()})
    from_rows, from_file, of_all_days = (
        inputs.schedule.summary()
        for inputs in (
            prepared(late, small_frame, day),
            read_inputs(late, small_dataset, day, day),
            prepared(fold, small_frame, day),
        )
        if inputs.schedule is not None
    )
    assert from_rows.equals(from_file)
    assert not from_rows.equals(of_all_days)


def test_the_newest_day_needs_no_target(fold: SavedFold, small_frame: pl.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "today.parquet"
    small_frame.drop("target_1d", "target_5d", "target_10d", "target_20d").write_parquet(path)
    predictions = predict_days(fold, read_inputs(fold, path))
    assert predictions.network["date"].unique().to_list() == [small_frame["date"].max()]


@pytest.mark.parametrize(
    ("day", "message"),
    [
        (dt.date(2035, 1, 1), "has no rows on 2035-01-01; it covers"),
        (None, "needs a window of 20 trading days"),
    ],
)
def test_a_day_that_cannot_be_predicted_is_refused(
    fold: SavedFold, small_dataset: Path, small_frame: pl.DataFrame, day: dt.date | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_inputs(fold, small_dataset, *(2 * [day or small_frame["date"].unique().sort()[5]]))


READ = """
import sys
from gogooku3.inference.prepare_days import read_days
from gogooku3.inference.saved_fold import SavedFold
read = read_days(SavedFold.open(sys.argv[1]), sys.argv[2])
assert not {"torch", "lightgbm"} & set(sys.modules)
print(read.panel.n_stocks, len(read.days))
"""


def test_a_day_is_read_without_importing_torch_or_lightgbm(
    trained_run: Path, small_dataset: Path, fold: SavedFold
) -> None:
    command = [sys.executable, "-c", READ, str(trained_run), str(small_dataset)]
    done = subprocess.run(command, capture_output=True, text=True)
    expected = read_inputs(fold, small_dataset)
    assert done.stdout.split() == [str(expected.panel.n_stocks), "1"], done.stderr


def test_a_missing_fold_is_refused(trained_run: Path) -> None:
    with pytest.raises(DataError, match="does not have a network of fold 7; folds with a network: 0"):
        SavedFold.load(trained_run, 7)


def test_a_model_without_a_run_is_refused(trained_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "alone"
    shutil.copytree(trained_run / "fold_0" / "atft_gat_fan" / "seed_0", folder)
    state = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({"model": state["model"]}))
    with pytest.raises(DataError, match="lacks 'features'"):
        SavedFold.load(folder)


def test_a_broken_tree_file_is_refused(trained_run: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_run, tmp_path / "run")
    (tmp_path / "run" / "fold_0" / "lightgbm" / "lightgbm_5d.txt").write_text("not a model")
    with pytest.raises(DataError, match=r"lightgbm_5d\.txt is not the LightGBM model that was written there"):
        SavedFold.load(tmp_path / "run")


def test_a_flipped_byte_in_any_file_of_a_model_is_refused(trained_run: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_run, tmp_path / "run")
    random = np.random.default_rng(0)
    fold = tmp_path / "run" / "fold_0"
    patterns = ("atft_gat_fan/**/*.json", "atft_gat_fan/**/*.safetensors", "linear/*", "lightgbm/*.txt")
    files = [path for pattern in patterns for path in fold.glob(pattern) if path.name != "fit.json"]
    assert len(files) >= 12
    for path in files:
        original = path.read_bytes()
        for position in random.integers(0, len(original), 5):
            changed = bytearray(original)
            changed[position] ^= 1 << int(random.integers(8))
            path.write_bytes(changed)
            with pytest.raises(DataError):
                SavedFold.load(tmp_path / "run")
        path.write_bytes(original)
    SavedFold.load(tmp_path / "run")


def test_a_network_of_an_older_version_is_refused(trained_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    folder = run / "fold_0" / "atft_gat_fan" / "seed_0"
    weights = load_file(folder / "model.safetensors")
    weights["direct.bias"] = weights.pop("heads_norm.bias")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"as 'direct\.bias': an older version trained it, .*; train again"):
        SavedFold.load(run)
