"""`gogooku3 evaluate` on prediction tables and on runs."""

import datetime as dt
import json
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.cli.commands import run_command

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


evaluate = partial(run_command, "evaluate")


def test_a_file_and_its_folder_give_the_same_table(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, _ = evaluate(capsys, str(predictions))
    assert code == 0
    assert "atft_gat_fan" in text and "lightgbm" in text and "Sharpe" in text
    assert evaluate(capsys, str(predictions.parent)) == (code, text, "")


def test_numbers_are_not_cut_without_a_terminal(
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


def test_the_costs_of_the_run_are_the_default(predictions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = RunConfig.from_mapping({"evaluation": {"cost_bps": 25.0}})
    predictions.with_name("config.yaml").write_text(config.to_yaml())
    for arguments, cost in (((), 25.0), (("--cost-bps", "1"), 1.0)):
        _, text, _ = evaluate(capsys, str(predictions), "--json", *arguments)
        assert json.loads(text)["settings"]["cost_bps"] == cost


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (None, "none.parquet", "no predictions at"),
        (
            None,
            "",
            "has no predictions.parquet, so it is not a complete run; it has other.txt; name the",
        ),
        ("x", "other.txt", "expected a prediction table in Parquet"),
    ],
)
def test_other_files_are_refused(
    content: str | None, name: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.txt").write_text(content or "")
    code, _, err = evaluate(capsys, str(tmp_path / name))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def prices_of(predictions: Path, folder: Path) -> Path:
    """Prices whose every stock opens where it closed before: all profit is made during the day."""
    table = pl.read_parquet(predictions).filter(model="lightgbm").sort("code", "date")
    after = (pl.col("target") + 1).cum_prod().over("code")
    close = after.shift(1, fill_value=1.0).over("code") * 100
    prices = table.select("date", "code", close=close)
    last = table.group_by("code").agg(
        pl.col("date").last() + dt.timedelta(1), close=(pl.col("target") + 1).product() * 100
    )
    prices = pl.concat([prices, last.select("date", "code", "close")]).sort("code", "date")
    opened = pl.col("close").shift(1).over("code").fill_null(pl.col("close"))
    path = folder / "prices.parquet"
    prices.with_columns(open=opened, volume=1000.0).with_columns(
        high=pl.max_horizontal("open", "close"), low=pl.min_horizontal("open", "close")
    ).write_parquet(path)
    return path


def test_entry_at_the_open_uses_prices_and_reports_the_capacity(
    predictions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = str(prices_of(predictions, tmp_path))
    _, plain, _ = evaluate(capsys, str(predictions), "--json")
    _, text, _ = evaluate(capsys, str(predictions), "--json", "--prices", prices, "--entry", "open")
    at_open, at_close = json.loads(text), json.loads(plain)
    assert at_open["settings"]["entry"] == "open"
    for model in ("lightgbm", "atft_gat_fan"):
        opened, closed = (s["models"][model]["horizons"]["1"]["pooled"] for s in (at_open, at_close))
        assert opened["sharpe_net"] == pytest.approx(closed["sharpe_net"], rel=1e-6)
        assert opened["exposure"]["capacity"] > 0 and closed["exposure"]["capacity"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--entry", "open"], "evaluation.prices"),
        (["--entry", "noon", "--prices", "x"], "evaluation.entry"),
        (["--borrow-rate", "-1"], "evaluation.borrow_rate"),
        (["--prices", "nowhere.parquet"], "nowhere.parquet"),
    ],
)
def test_impossible_trading_rules_are_refused(
    arguments: list[str], message: str, predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = evaluate(capsys, str(predictions), *arguments)
    assert code == 2
    assert message in err


def test_the_probability_of_overfitting_includes_the_models_of_all_runs(
    predictions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pl.read_parquet(predictions)
    other = tmp_path / "other"
    other.mkdir()
    changed = pl.when(pl.col("model") == "atft_gat_fan").then(-pl.col("prediction")).otherwise("prediction")
    # Sixteen blocks of two days need more days than the fixture has.
    later = table.with_columns(pl.col("date") + dt.timedelta(days=30))
    pl.concat([table, later]).write_parquet(predictions)
    pl.concat([table, later]).with_columns(changed.alias("prediction")).write_parquet(
        other / "predictions.parquet"
    )
    code, text, _ = evaluate(capsys, str(predictions), str(other), "--pbo", "--json")
    assert code == 0
    result = json.loads(text)
    assert result["n_configurations"] == len(result["configurations"]) == 3
    assert result["probability"] == 0.0 and result["outside"] > 5
    _, text, _ = evaluate(capsys, str(predictions), str(other), "--pbo")
    assert "Probability of overfitting" in text and "0%" in text and f"{other}: atft_gat_fan" in text


def test_several_tables_are_scored_one_at_a_time(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = evaluate(capsys, str(predictions), str(predictions))
    assert code == 2
    assert "--pbo" in err


def test_earlier_trials_of_a_run_are_counted_again(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = score_predictions(pl.read_parquet(predictions), earlier_sharpes=[0.1, -0.2])
    predictions.with_name("metrics.json").write_text(json.dumps(scores))
    _, text, _ = evaluate(capsys, str(predictions), "--json")
    assert json.loads(text) == scores
    assert scores["trials"]["n"] == 4


def test_scores_are_compared_with_those_the_run_recorded(
    predictions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = predictions.with_name("metrics.json")
    scores = score_predictions(pl.read_parquet(predictions))
    metrics.write_text(json.dumps(scores))
    assert f"the same scores as in {metrics}" in evaluate(capsys, str(predictions.parent))[1]
    scores["models"]["lightgbm"]["pooled_sharpe_net"] = 9.5
    metrics.write_text(json.dumps(scores))
    text = evaluate(capsys, str(predictions.parent))[1]
    assert f"not the scores in {metrics}: models.lightgbm.pooled_sharpe_net is " in text
    assert " here, 9.5 there" in text
