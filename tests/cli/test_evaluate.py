"""`gogooku3 evaluate` on tables of its own and on a run's."""

import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gogooku3.cli.main import main
from gogooku3.config import RunConfig
from gogooku3.evaluation.scores import score_predictions


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """A table of two models, 30 days, 15 stocks and one horizon."""
    random = np.random.default_rng(0)
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=day) for day in range(30)]
    keys = pl.DataFrame({"date": days}).join(
        pl.DataFrame({"code": [f"{c:04}" for c in range(15)]}), how="cross"
    )
    target = random.normal(scale=0.02, size=keys.height)
    tables = [
        keys.with_columns(
            pl.lit(0, pl.Int32).alias("fold"),
            pl.lit(model).alias("model"),
            pl.lit(1, pl.Int32).alias("horizon"),
            pl.Series("prediction", skill * target + random.normal(scale=0.02, size=keys.height)),
            pl.Series("target", target),
        )
        for model, skill in (("lightgbm", 0.1), ("atft_gat_fan", 0.3))
    ]
    pl.concat(tables).write_parquet(tmp_path / "predictions.parquet")
    return tmp_path / "predictions.parquet"


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", *arguments])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, *capsys.readouterr()


def test_a_file_and_its_folder_give_the_same_table(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, _ = evaluate(capsys, str(predictions))
    assert code == 0
    assert "atft_gat_fan" in text and "lightgbm" in text and "Sharpe" in text
    assert evaluate(capsys, str(predictions.parent)) == (code, text, "")


def test_no_number_is_cut_where_the_output_is_no_terminal(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text, _ = evaluate(capsys, str(predictions))
    scores = score_predictions(pl.read_parquet(predictions))
    for model in scores["models"].values():
        assert f"{model['horizons']['1']['pooled']['mean_ic']:+.4f}" in text


def test_json_holds_every_score_and_nothing_else(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, text, _ = evaluate(capsys, str(predictions), "--json", "--cost-bps", "3", "--quantile", "0.3")
    assert json.loads(text) == score_predictions(pl.read_parquet(predictions), 3.0, 0.3)


def test_a_runs_own_costs_are_the_default(predictions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = RunConfig.from_mapping({"evaluation": {"cost_bps": 25.0}})
    predictions.with_name("config.yaml").write_text(config.to_yaml())
    for arguments, cost in (((), 25.0), (("--cost-bps", "1"), 1.0)):
        _, text, _ = evaluate(capsys, str(predictions), "--json", *arguments)
        assert json.loads(text)["settings"]["cost_bps"] == cost


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "none.parquet", "no predictions at"),
        (None, "", "has no predictions.parquet, so no run has ended there; it has other.txt"),
        ("x", "other.txt", "can't be read as Parquet"),
    ],
)
def test_what_is_no_prediction_table_is_refused(
    content: str | None, name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.txt").write_text(content or "")
    code, _, err = evaluate(capsys, str(tmp_path / name))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
