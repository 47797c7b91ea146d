"""A run of ours is clean on a changed future; a run whose files were tampered with is not."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gogooku3.cli.main import main
from gogooku3.errors import DataError
from gogooku3.pipeline.audit_run import audit_run


@pytest.fixture
def copy(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "copy"))


def outcome(told: dict[str, Any], name: str) -> str:
    rows = {row["name"]: row["outcome"] for row in (*told["controls"], *told["probes"])}
    return str(rows[name])


def test_a_run_audits_its_own_tables_as_it_ends(trained_run: Path) -> None:
    told = json.loads((trained_run / "audit.json").read_text())
    assert told["verdict"] == "clean"
    assert told["smallest_gap_days"] == 20
    assert {row["model"] for row in told["shuffled_target_ic"]} >= {"atft_gat_fan", "lightgbm"}
    assert all(0 < row["share"] < 1 for row in told["dropped"])
    assert 'id="audit"' in (trained_run / "report.html").read_text()


def test_an_honest_run_is_clean(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(copy), "--days", "2"])
    assert not ended.value.code, capsys.readouterr().out
    told = json.loads((copy / "audit.json").read_text())
    assert (told["verdict"], told["findings"]) == ("clean", [])
    names = [row["name"] for row in (*told["controls"], *told["probes"])]
    assert names[-5:] == ["targets", "scales", "made again", "altered", "removed"]
    assert "makes predictions of some test days again" in (copy / "report.html").read_text()


def test_other_predictions_than_the_saved_models_make_are_found(copy: Path) -> None:
    table = pl.read_parquet(copy / "predictions.parquet")
    cheated = pl.when(pl.col("model") == "lightgbm").then(pl.col("target")).otherwise(pl.col("prediction"))
    table.with_columns(prediction=cheated.cast(pl.Float32)).write_parquet(copy / "predictions.parquet")
    told = audit_run(copy, days_a_fold=1).to_dict()
    assert told["verdict"] == "leaks"
    assert outcome(told, "made again") == "moved"
    assert outcome(told, "altered") == "clean"


def test_other_targets_than_the_data_sets_are_found(copy: Path) -> None:
    table = pl.read_parquet(copy / "predictions.parquet")
    table.with_columns(pl.col("target") * 1.5).write_parquet(copy / "predictions.parquet")
    assert outcome(audit_run(copy, days_a_fold=1).to_dict(), "targets") == "moved"


def test_a_scale_that_was_fitted_on_other_days_is_found(copy: Path) -> None:
    for file in copy.glob("fold_0/atft_gat_fan/seed_*/model.json"):
        state = json.loads(file.read_text())
        state["market_state"]["centre"] = [value + 1.0 for value in state["market_state"]["centre"]]
        file.write_text(json.dumps(state))
    told = audit_run(copy, days_a_fold=1).to_dict()
    assert outcome(told, "scales") == "moved"
    assert any("market_state (centre) was not fitted" in finding["says"] for finding in told["findings"])


def test_an_unfinished_run_or_another_data_set_is_refused(
    copy: Path, small_prices: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.parquet"
    pl.read_parquet(json.loads((copy / "manifest.json").read_text())["data"]["path"]).head(
        5000
    ).write_parquet(other)
    with pytest.raises(DataError, match=r"is not the data set of .*name the right file with --data"):
        audit_run(copy, other)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    with pytest.raises(
        DataError, match=r"is interrupted, not complete; finish it with `gogooku3 train --resume"
    ):
        audit_run(copy)
    with pytest.raises(DataError, match="is not the folder of a run: expected"):
        audit_run(copy.parent)


def test_what_is_neither_run_nor_function_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", "no/such/run"])
    assert ended.value.code == 2
    assert "'no/such/run' is neither the folder of a run nor a pipeline" in capsys.readouterr().err
