"""No password is stored in a run, nor printed."""

from pathlib import Path

import pytest
from tests.bad_input.harness import Case, data_set, refuse

from gogooku3.config import RunConfig


@pytest.mark.parametrize(
    "uri",
    [
        "https://me:hunter2@mlflow.example.org",
        "https://hunter2@mlflow.example.org/path",
        "postgresql://me:hunter2@db.example.org/mlflow",
        "postgresql://db.example.org/mlflow?user=me&password=hunter2",
    ],
)
def test_an_address_with_a_password_is_refused_without_printing_it(uri: str, tmp_path: Path) -> None:
    data_set().write_parquet(tmp_path / "d.parquet")
    words = ("train", "--data", "d.parquet", "--out", "runs", f"logging.mlflow_uri='{uri}'")
    case = Case(uri, lambda folder: words, ("logging.mlflow_uri", "MLFLOW_TRACKING_PASSWORD"))
    with pytest.raises(ValueError) as error:
        RunConfig.from_mapping({"logging": {"mlflow_uri": uri}})
    assert "hunter2" not in str(error.value)
    refuse(case, tmp_path)


@pytest.mark.parametrize(
    "uri", ["https://mlflow.example.org:5000", "file:/data/mlruns", "sqlite:///a.db", "databricks"]
)
def test_an_address_without_a_password_is_taken(uri: str) -> None:
    assert RunConfig.from_mapping({"logging": {"mlflow_uri": uri}}).logging.mlflow_uri == uri
