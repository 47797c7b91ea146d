"""Tests the real-market comparison on a small synthetic market: its days, trainings and tables."""

import sys
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import market_days
import real_market
from market_days import EMBARGO_DAYS, Market, Setting
from real_market import BASELINE, BLEND, NETWORK, VALIDATION_YEAR, Job, compare, prediction_table

from gogooku3.config import load_config
from gogooku3.evaluation.rank_average import rank_average
from gogooku3.schema import HORIZONS

SMALL = [
    "model.hidden_dim=8",
    "model.num_heads=2",
    "model.snapshot_dim=8",
    "training.epochs=1",
    "lightgbm.num_boost_round=5",
    "lightgbm.min_data_in_leaf=20",
]


@pytest.fixture(scope="module")
def out(small_prices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small market's normalised panel."""
    folder = tmp_path_factory.mktemp("real_market")
    Market.make(small_prices, folder)
    return folder


@pytest.fixture
def setting(out: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Training, validation and test within the small market's 230 days."""
    dates = [day.item() for day in Market(out).panel.dates]
    setting = Setting(dates[40], dates[130], dates[180], dates[225])
    monkeypatch.setitem(market_days.SETTINGS, "small", setting)
    return setting


def test_labels_close_before_the_next_part_begins(out: Path, setting: Setting) -> None:
    parts = setting.parts(Market(out).panel.dates)
    assert parts["train"] == range(40, 130 - EMBARGO_DAYS)
    assert parts["validation"] == range(130, 180 - EMBARGO_DAYS)
    assert parts["test"] == range(180, 226)
    assert max(HORIZONS) <= EMBARGO_DAYS


@pytest.mark.parametrize(("name", "train"), [("2013", date(2011, 1, 2)), ("2010", date(2010, 1, 4))])
def test_an_earlier_validation_year_has_earlier_training_days_and_no_test_days(
    name: str, train: date
) -> None:
    shipped = market_days.SETTINGS[name]
    assert shipped.walked_back(VALIDATION_YEAR) == shipped
    earlier = shipped.walked_back(2014)
    assert earlier.train == train
    dates = np.arange("2010-01-04", "2017-12-09", dtype="datetime64[D]")
    parts = earlier.parts(dates)
    assert dates[parts["train"].start] == np.datetime64(train)
    assert dates[parts["train"].stop + EMBARGO_DAYS] == dates[parts["validation"].start]
    assert dates[parts["validation"].start] == np.datetime64("2014-01-01")
    assert dates[parts["validation"].stop + EMBARGO_DAYS] == np.datetime64("2015-01-01")
    assert not parts["test"]


@pytest.mark.parametrize("name", market_days.SETTINGS)
def test_the_settings_are_those_of_the_published_benchmark(name: str) -> None:
    shipped = market_days.SETTINGS[name]
    assert (shipped.validation, shipped.test, shipped.end) == (
        date(2016, 1, 4),
        date(2017, 1, 3),
        date(2017, 12, 8),
    )
    assert shipped.train.year == int(name)


@pytest.mark.slow
def test_the_comparison_trains_averages_and_scores(out: Path, setting: Setting) -> None:
    market, year = Market(out), setting.validation.year
    models = [BASELINE, NETWORK, "without FAN"]
    for model in models:
        for seed in (0, 1):
            overrides = [*SMALL, *{**real_market.TREES, **real_market.VARIANTS}[model]]
            config = load_config(
                real_market.CONFIG, [*overrides, "training.progress_bar=false", "logging.tensorboard=false"]
            )
            real_market.train(Job("small", year, model, seed), market, config, out)
    table = prediction_table(out, "small", models, [0, 1], "test", [year])
    assert set(table["model"].unique()) == {
        *models,
        BLEND,
        *(f"{model}, seed {seed}" for model in models for seed in (0, 1)),
    }
    days = setting.parts(market.panel.dates)["test"]
    assert table["date"].unique().sort().to_list() == [
        d.item() for d in market.panel.dates[days.start : days.stop]
    ]
    result = compare(table)
    own = result.filter(pl.col("model") == BASELINE)
    assert (own["difference"] == 0).all()
    whole = result.filter((pl.col("model") == NETWORK) & (pl.col("score") == "rank_ic"))
    assert whole["horizon"].sort().to_list() == [0, *HORIZONS]
    single = whole.filter(pl.col("horizon") == 1)
    versus = result.filter(
        (pl.col("model") == BASELINE) & (pl.col("score") == "rank_ic") & (pl.col("horizon") == 1)
    )
    assert single["difference"].item() == pytest.approx(single["mean"].item() - versus["mean"].item())
    members = [pl.read_parquet(Job("small", year, NETWORK, seed).file(out, "test")) for seed in (0, 1)]
    expected = rank_average(members).sort("date", "code")["prediction_5d"].to_numpy()
    average = table.filter((pl.col("model") == NETWORK) & (pl.col("horizon") == 5)).sort("date", "code")
    np.testing.assert_allclose(average["prediction"].to_numpy(), expected)
