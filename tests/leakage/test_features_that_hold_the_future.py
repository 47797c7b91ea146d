"""Features that hold the future are refused by train and validate, and found by the audit of a run."""

import json
from pathlib import Path

import polars as pl
import pytest
from run_files import match_checksums
from tests.conftest import TINY_RUN

from gogooku3.cli.main import main
from gogooku3.pipeline.audit_run import audit_run

CLOSE, OPEN = pl.col("close"), pl.col("open")
LEAKS = {
    "gap": (OPEN.shift(-1) / CLOSE - 1).over("code"),
    "up": (CLOSE.shift(-1) > CLOSE).cast(pl.Int8).over("code"),
    "drift": (CLOSE.shift(-2) / CLOSE - 1).over("code"),
}
"""The next day's open, "up tomorrow" and the return over two days, under names that reveal nothing."""
HONEST = ["ret_1d", "ret_5d", "vol_20d"]


@pytest.fixture(scope="module")
def leaky_data(small_dataset: Path, small_prices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    leaks = pl.read_parquet(small_prices).sort("code", "date").select("date", "code", **LEAKS)
    path = tmp_path_factory.mktemp("leaky") / "leaky.parquet"
    frame = pl.read_parquet(small_dataset).select("date", "code", pl.col("^target_.*$"), *HONEST)
    frame.join(leaks, on=["date", "code"], how="left").write_parquet(path)
    return path


@pytest.fixture(scope="module")
def allowed_run(leaky_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was told to keep the leaks."""
    from gogooku3.training import SafeTrainingPipeline

    dataset = {"feature_columns": [*HONEST, *LEAKS], "allow_features": list(LEAKS)}
    runs = tmp_path_factory.mktemp("runs")
    pipeline = SafeTrainingPipeline("leaky", leaky_data, {**TINY_RUN, "dataset": dataset}, runs_dir=runs)
    return Path(pipeline.run_pipeline(n_splits=1)["run_dir"])


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    return ended.value.code, captured.out + captured.err


@pytest.mark.parametrize("name", LEAKS)
def test_train_and_validate_refuse_each(
    name: str, leaky_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = tmp_path / "one.parquet"
    pl.read_parquet(leaky_data).drop(set(LEAKS) - {name}).write_parquet(one)
    settings = ["model.input_dim=null", "split.min_train_days=100", "time_series.sequence_length=20"]
    code, message = error_of(capsys, "train", "--data", str(one), "--out", str(tmp_path / "run"), *settings)
    assert code == 2
    assert f"features that follow a target this closely contain the future: {name} follows" in message
    found = tmp_path / "found.json"
    code, _ = error_of(capsys, "data", "validate", str(one), "--json", str(found))
    problems = [(each["name"], each["column"]) for each in json.loads(found.read_text())["problems"]]
    assert code
    assert ("target_copy", name) in problems


def test_a_name_to_allow_that_the_data_set_lacks_is_refused(
    leaky_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = error_of(capsys, "train", "--data", str(leaky_data), "dataset.allow_features=[gapp]")
    assert code == 2
    assert "allow_features needs the column gapp, which is missing" in message


def test_the_audit_of_a_run_finds_them_and_warns_of_those_allowed(allowed_run: Path) -> None:
    warned = audit_run(allowed_run, days_per_fold=1)
    assert warned.verdict == "clean"
    assert {(f.column, f.severity) for f in warned.findings} == {(name, "warning") for name in LEAKS}
    config = allowed_run / "config.yaml"
    lines = [
        line for line in config.read_text().splitlines() if line not in {f"  - {name}" for name in LEAKS}
    ]
    features = [f"  - {name}" for name in LEAKS]
    at = lines.index("  - vol_20d") + 1
    text = "\n".join([*lines[:at], *features, *lines[at:]]).replace(
        "allow_features:\n", "allow_features: null\n"
    )
    config.write_text(text + "\n")
    match_checksums(allowed_run)
    found = audit_run(allowed_run, days_per_fold=1)
    assert found.verdict == "leaks"
    assert {f.column for f in found.findings if f.severity == "leak"} == set(LEAKS)
