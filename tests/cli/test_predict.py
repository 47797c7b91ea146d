"""`gogooku3 predict`: the ranking, its printed ends, and refusals."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from run_files import match_checksums
from tests.cli.commands import run_command

predict = partial(run_command, "predict")


def test_the_newest_day_is_ranked_with_reasons_at_both_ends(
    trained_run: Path, small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "day.parquet"
    code, text, _ = predict(capsys, "--run", trained_run, "--data", small_dataset, "--out", out, "--top", 4)
    assert code == 0
    table = pl.read_parquet(out)
    run = pl.read_parquet(trained_run / "predictions.parquet").filter(
        pl.col("date") == table["date"][0], model="rank_average", horizon=5
    )
    assert table["rank_5d"].is_sorted() and table["rank_5d"][0] == 1
    expected = table.select("code", "score_5d").join(run, on="code")
    np.testing.assert_allclose(expected["score_5d"], expected["prediction"], atol=1e-6)
    assert table.height == expected.height
    explained = table["reasons_5d"].is_not_null()
    assert explained.to_list() == [*[True] * 4, *[False] * (table.height - 8), *[True] * 4]
    assert table["code"][0] in text and table["code"][-1] in text and table["code"][10] not in text.split()
    features = json.loads((trained_run / "fold_0" / "atft_gat_fan" / "seed_0" / "model.json").read_text())[
        "features"
    ]
    name, size = table["reasons_5d"][0].split(", ")[0].split(" ")
    assert name in features and float(size) != 0


def test_a_newest_day_with_a_fraction_of_the_stocks_draws_a_warning(
    trained_run: Path, small_frame: pl.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = small_frame["date"].max()
    few = small_frame["code"].unique().sort().head(15).implode()
    data = tmp_path / "thin.parquet"
    small_frame.filter((pl.col("date") < last) | pl.col("code").is_in(few)).write_parquet(data)
    options = ["--run", trained_run, "--data", data, "--out", tmp_path / "o.csv"]
    code, _, err = predict(capsys, *options)
    assert code == 0 and f"warning: {last} has " in err and "is the data complete?" in err


LOADED = """
import json, sys
from gogooku3.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted(sys.modules)))
"""


def test_no_training_or_configuration_libraries_are_loaded(
    trained_run: Path, small_dataset: Path, tmp_path: Path
) -> None:
    options = ["--run", str(trained_run), "--data", str(small_dataset), "--out", str(tmp_path / "o.csv")]
    done = subprocess.run(
        [sys.executable, "-c", LOADED, "predict", *options], capture_output=True, text=True, check=True
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert {"torch", "lightgbm", "polars"} <= set(loaded)
    costly = ("lightning", "torchmetrics", "torch._dynamo", "sympy", "hydra", "omegaconf")
    unused = ("plotly", "gogooku3.config", "gogooku3.pipeline")
    assert not [name for name in loaded if name.startswith((*costly, *unused))]


def test_ranks_and_disagreement_are_those_of_the_scores(
    trained_run: Path, small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    day = pl.read_parquet(trained_run / "predictions.parquet")["date"].unique().sort()[5]
    out = tmp_path / "day.csv"
    options = ["--run", trained_run, "--data", small_dataset, "--out", out, "--date", day]
    assert predict(capsys, *options, "--horizon", 1, "--top", 0)[0] == 0
    table = pl.read_csv(out)
    assert "reasons_1d" not in table.columns and table["rank_1d"].is_sorted()
    members = [
        pl.read_parquet(
            trained_run / "fold_0" / "atft_gat_fan" / f"seed_{seed}" / "predictions.parquet"
        ).filter(date=day)
        for seed in (0, 1)
    ]
    ranks = [
        dict(zip(own["code"], own["prediction_1d"].rank("min", descending=True), strict=True))
        for own in members
    ]
    for row in table.with_columns(pl.col("code").cast(pl.String)).iter_rows(named=True):
        own = [rank[row["code"]] for rank in ranks]
        largest = table.height - 1
        assert row["seed_spread_1d"] == pytest.approx((max(own) - min(own)) / largest, abs=1e-6)
        own.append(row["lightgbm_rank_1d"])
        assert row["disagreement_1d"] == pytest.approx((max(own) - min(own)) / largest, abs=1e-6)


def test_other_features_are_refused_and_drift_and_training_days_are_reported(
    trained_run: Path,
    small_dataset: Path,
    small_frame: pl.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(frame: pl.DataFrame, *more: object) -> tuple[int, str, str]:
        path = tmp_path / "data.parquet"
        frame.write_parquet(path)
        out = tmp_path / "x.csv"
        return predict(capsys, "--run", trained_run, "--data", path, "--out", out, "--top", 0, *more)

    code, _, err = run(small_frame.rename({"ret_5d": "returns"}))
    assert code == 2 and "lacks 1 of the 139 features" in err and "ret_5d and has returns" in err
    assert not (tmp_path / "x.csv").exists()
    code, _, err = run(small_frame.with_columns(pl.lit(1.0).alias("extra")))
    assert code == 2 and "not trained on: extra" in err
    code, _, err = run(small_frame.with_columns(pl.col("ret_5d") * 100))
    assert code == 0 and "ret_5d: mean" in err and "inputs do not look like those of training" in err
    early = small_frame["date"].unique().sort()[60]
    code, _, err = run(small_frame, "--date", early)
    assert code == 0 and "is not out of sample" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "day.xlsx"], "expected a name that ends in .csv or .parquet"),
        (["--out", "day.csv", "--date", "5/1/2024"], "write a day as 2024-01-31"),
        (
            ["--out", "day.csv", "--horizon", "7"],
            "horizon is 7, but the model predicts 1, 5, 10, 20",
        ),
        (["--out", "day.csv", "--fold", "3"], "does not have a network of fold 3"),
    ],
)
def test_impossible_predictions_are_refused_in_one_line(
    options: list[str],
    message: str,
    trained_run: Path,
    small_dataset: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, _, err = predict(capsys, "--run", trained_run, "--data", small_dataset, *options)
    assert code == 2 and message in err and err.count("\n") == 1


def test_a_ranking_never_replaces_its_inputs(
    trained_run: Path, small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data, link = tmp_path / "run", tmp_path / "data.parquet", tmp_path / "link.parquet"
    shutil.copytree(trained_run, run)
    shutil.copy(small_dataset, data)
    link.symlink_to(data)
    for out, message in (
        (data, "the data set itself"),
        (link, "the data set itself"),
        (run / "predictions.parquet", "a file of the run"),
    ):
        before = out.read_bytes()
        code, _, err = predict(capsys, "--run", run, "--data", data, "--out", out)
        assert code == 2 and message in err and "elsewhere" in err and err.count("\n") == 1
        assert out.read_bytes() == before
    (tmp_path / "folder.csv").mkdir()
    code, _, err = predict(capsys, "--run", run, "--data", data, "--out", tmp_path / "folder.csv")
    assert code == 2 and "is a folder; name a file in it" in err


def test_a_run_without_statistics_or_without_trees_still_predicts(
    trained_run: Path, small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    (run / "fold_0" / "feature_statistics.parquet").unlink()
    match_checksums(run)
    shutil.rmtree(run / "fold_0" / "lightgbm")
    out = tmp_path / "x.parquet"
    code, _, err = predict(capsys, "--run", run, "--data", small_dataset, "--out", out, "--top", 1)
    assert code == 0 and "drift can't be checked" in err
    assert pl.read_parquet(out)["lightgbm_rank_5d"].null_count() == pl.read_parquet(out).height
