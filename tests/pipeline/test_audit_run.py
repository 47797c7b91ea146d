"""An honest run passes the audit; a run with changed files does not."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from run_files import change_json, match_checksums

from gogooku3.cli.main import main
from gogooku3.errors import DataError
from gogooku3.pipeline.audit_run import audit_run
from gogooku3.runs.json_file import read_json
from gogooku3.runs.seal import SEAL, write_seal


@pytest.fixture
def copy(trained_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained_run, tmp_path / "copy"))


def outcome(content: dict[str, Any], name: str) -> str:
    rows = {row["name"]: row["outcome"] for row in (*content["controls"], *content["probes"])}
    return str(rows[name])


def test_a_run_audits_its_own_tables_as_it_ends(trained_run: Path) -> None:
    content = json.loads((trained_run / "audit.json").read_text())
    assert content["verdict"] == "clean"
    assert content["smallest_gap_days"] == 20
    assert {row["model"] for row in content["shuffled_target_ic"]} >= {"atft_gat_fan", "lightgbm"}
    assert all(0 < row["share"] < 1 for row in content["dropped"])
    assert 'id="audit"' in (trained_run / "report.html").read_text()


def test_an_honest_run_is_clean(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", str(copy), "--days", "2"])
    assert not ended.value.code, capsys.readouterr().out
    content = json.loads((copy / "audit.json").read_text())
    assert (content["verdict"], content["findings"]) == ("clean", [])
    names = [row["name"] for row in (*content["controls"], *content["probes"])]
    assert names[-6:] == ["targets", "features", "scales", "repeated", "altered", "removed"]
    assert "repeats the predictions of some test days" in (copy / "report.html").read_text()


def test_predictions_that_the_saved_models_do_not_reproduce_are_found(copy: Path) -> None:
    table = pl.read_parquet(copy / "predictions.parquet")
    cheated = pl.when(pl.col("model") == "lightgbm").then(pl.col("target")).otherwise(pl.col("prediction"))
    table.with_columns(prediction=cheated.cast(pl.Float32)).write_parquet(copy / "predictions.parquet")
    match_checksums(copy)
    content = audit_run(copy, days_per_fold=1).to_dict()
    assert content["verdict"] == "leaks"
    assert outcome(content, "repeated") == "moved"
    assert outcome(content, "altered") == "clean"


def test_targets_that_differ_from_the_data_set_are_found(copy: Path) -> None:
    table = pl.read_parquet(copy / "predictions.parquet")
    table.with_columns(pl.col("target") * 1.5).write_parquet(copy / "predictions.parquet")
    match_checksums(copy)
    assert outcome(audit_run(copy, days_per_fold=1).to_dict(), "targets") == "moved"


def test_a_market_state_fitted_on_other_days_is_found(copy: Path) -> None:
    for file in copy.glob("fold_0/atft_gat_fan/seed_*/model.json"):
        state = json.loads(file.read_text())
        state["market_state"]["centre"] = [value + 1.0 for value in state["market_state"]["centre"]]
        file.write_text(json.dumps(state))
        # An audit must find it even in a folder that was sealed afterwards.
        names = read_json(file.with_name(SEAL))[0]["sha256"]
        write_seal(file.parent, [file.parent / name for name in names], {})
    content = audit_run(copy, days_per_fold=1).to_dict()
    assert outcome(content, "scales") == "moved"
    assert any("market_state (centre) was not fitted" in finding["says"] for finding in content["findings"])


def test_an_incomplete_run_or_a_different_data_set_is_refused(
    copy: Path, small_prices: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.parquet"
    pl.read_parquet(json.loads((copy / "manifest.json").read_text())["data"]["path"]).head(
        5000
    ).write_parquet(other)
    with pytest.raises(DataError, match=r"is not the data set of .*name the right file with --data"):
        audit_run(copy, other)
    change_json(copy / "manifest.json", lambda manifest: manifest.update(status="interrupted"))
    with pytest.raises(
        DataError, match=r"is interrupted, not complete; finish it with `gogooku3 train --resume"
    ):
        audit_run(copy)
    with pytest.raises(DataError, match="is not the folder of a run: expected"):
        audit_run(copy.parent)


def test_a_name_that_is_neither_run_nor_function_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", "no/such/run"])
    assert ended.value.code == 2
    assert "'no/such/run' is neither the folder of a run nor a pipeline" in capsys.readouterr().err
