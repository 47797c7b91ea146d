"""Tests the walk-forward protocol: its years and folds, a run on a small market, scores, bars and tables."""

import sys
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import market_years
import real_market
from market_scores import (
    AVERAGE,
    BASELINE,
    BLEND,
    LINEAR,
    MEAN,
    NETWORK,
    POOLED,
    TODAY,
    FitFacts,
    bars,
    block_interval,
    compare,
    daily_scores,
    report,
)
from market_years import MARKETS, MarketFile, choose_years, cut_prices, year_folds

from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market
from gogooku3.errors import ConfigError, DataError
from gogooku3.evaluation.significance import paired_difference
from gogooku3.schema import HORIZONS

SMALL = [
    "--overrides",
    "model.hidden_dim=8",
    "model.num_heads=2",
    "model.snapshot_dim=8",
    "lightgbm.num_boost_round=5",
    "lightgbm.min_data_in_leaf=20",
]


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the prices of a small market, June 2019 to January 2021."""
    folder = tmp_path_factory.mktemp("prices")
    config = SyntheticMarketConfig(n_stocks=20, n_days=400, seed=5, n_sectors=4, start_date=date(2019, 6, 3))
    market = generate_market(config).prices.drop("sector")
    market.rename({name: name.capitalize() for name in market.columns}).write_parquet(
        folder / "small.parquet"
    )
    assert market["date"].max() > date(2020, 12, 31)
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer only the small market."""
    monkeypatch.setattr(market_years, "MARKETS", {"small": MarketFile("small.parquet", (2020,))})
    monkeypatch.setattr(real_market, "MARKETS", market_years.MARKETS)


def test_years_for_choosing_and_final_years_are_separate() -> None:
    chosen = choose_years(None, None, final=False)
    assert {name: (own[0], own[-1], len(own)) for name, own in chosen.items()} == {
        "nasdaq": (2012, 2016, 5),
        "tokyo": (2012, 2016, 5),
        "china": (2020, 2023, 4),
    }
    assert choose_years(None, None, final=True) == {"china": [2024, 2025]}
    assert choose_years(None, [2013, 2021], final=False) == {
        "nasdaq": [2013],
        "tokyo": [2013],
        "china": [2021],
    }


@pytest.mark.parametrize(("market", "year"), [("nasdaq", 2017), ("china", 2024), ("tokyo", 2011)])
def test_a_year_that_is_not_for_choosing_is_refused(market: str, year: int) -> None:
    with pytest.raises(ConfigError, match=rf"--years has {year}, but the years of {market} are"):
        choose_years([market], [year], final=False)


def test_final_years_exist_only_for_china() -> None:
    with pytest.raises(ConfigError, match="--final has no years of nasdaq, only of china"):
        choose_years(["nasdaq"], None, final=True)


def test_prices_after_the_last_year_are_cut(prices: Path, tmp_path: Path) -> None:
    whole = pl.read_parquet(prices / "small.parquet")
    cut = pl.read_parquet(cut_prices(prices / "small.parquet", 2020, tmp_path / "cut.parquet"))
    assert cut.equals(whole.filter(pl.col("Date") < date(2021, 1, 1)))
    assert cut["Date"].max() == whole.filter(pl.col("Date").dt.year() == 2020)["Date"].max()


def test_a_fold_trains_on_all_days_before_its_year_but_the_embargo() -> None:
    dates = np.arange("2019-11-01", "2022-01-01", dtype="datetime64[D]")
    first, second = year_folds(dates, [2020, 2021], embargo_days=20)
    assert (first.train, first.test) == (range(0, 41), range(61, 427))
    assert (second.train, second.test) == (range(0, 407), range(427, 792))
    assert dates[second.test.start] == np.datetime64("2021-01-01")
    assert (first.number, first.gap_days, second.number, second.gap_days) == (0, 20, 1, 20)


@pytest.mark.parametrize("year", [2019, 2023])
def test_a_year_without_days_or_without_training_days_is_refused(year: int) -> None:
    dates = np.arange("2019-01-10", "2022-01-01", dtype="datetime64[D]")
    with pytest.raises(DataError, match=f"{year} has .* the prices are from 2019-01-10 to 2021-12-31"):
        year_folds(dates, [year], embargo_days=20)


def test_an_unknown_market_is_an_error_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        real_market.main(["--data", "x", "--out", "y", "--markets", "mars"])
    assert stopped.value.code == 2
    assert "invalid choice: 'mars'" in capsys.readouterr().err


def test_a_missing_file_of_prices_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert real_market.main(["--data", str(tmp_path), "--out", str(tmp_path), "--markets", "tokyo"]) == 2
    assert f"error: {tmp_path} has no {MARKETS['tokyo'].name}" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_a_year_is_trained_scored_and_read_back(
    prices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["--data", str(prices), "--out", str(tmp_path), "--seeds", "0", "1", *SMALL]
    assert real_market.main(command) == 0
    first = capsys.readouterr()
    assert first.out == (tmp_path / "table.md").read_text()
    for model in (BASELINE, LINEAR, NETWORK, TODAY, BLEND, AVERAGE):
        assert f"\n| {model} | " in first.out
    progress = [line for line in first.err.splitlines() if line.startswith("[")]
    assert len(progress) == 4
    assert "[3/4] small 2020, network, seed 0: " in progress[2] and "min left" in progress[2]
    data = pl.read_parquet(tmp_path / "small_to_2020" / "data.parquet")
    assert data["date"].max() <= date(2020, 12, 31)
    last_day = data.filter(pl.col("date") == pl.col("date").max())
    assert last_day["target_1d"].null_count() == last_day.height, "known only after the cut"

    monkeypatch.setattr("gogooku3.pipeline.fit.run_fit", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(market_years, "build_panel", lambda *_: pytest.fail("prepared again"))
    assert real_market.main(command) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert second.err.count("read back") == 4

    assert real_market.main([*command, "model.dropout=0.5"]) == 2
    assert "was created with other settings" in capsys.readouterr().err


def test_the_windows_are_switched_off_before_predicting(monkeypatch: pytest.MonkeyPatch) -> None:
    share = torch.ones(4)
    network = SimpleNamespace(
        model=SimpleNamespace(windows_share=share), predict=lambda fold: (fold, share.tolist())
    )
    monkeypatch.setattr(real_market.NetworkForecaster, "load", lambda folder: network)
    assert real_market.without_windows(Path("x"), "fold") == ("fold", [0, 0, 0, 0])


def wide(days: int, seed: int) -> pl.DataFrame:
    """Random predictions of 8 stocks."""
    random = np.random.default_rng(seed)
    keys = {
        "date": [date(2020, 1, 1) + timedelta(day) for day in range(days) for _ in range(8)],
        "code": [f"{stock}" for stock in range(8)] * days,
    }
    return pl.DataFrame(keys | {f"prediction_{h}d": random.normal(size=days * 8) for h in HORIZONS})


def test_scores_are_means_over_seeds_and_the_mean_needs_all_horizons() -> None:
    members, random = [wide(3, 0), wide(3, 1)], np.random.default_rng(2)
    targets = members[0].select(
        "date", "code", *(pl.Series(f"target_{h}d", random.normal(size=24)) for h in HORIZONS)
    )
    last = pl.col("date") == date(2020, 1, 3)
    targets = targets.with_columns(pl.when(~last).then("target_20d").alias("target_20d"))
    daily = daily_scores({"m": members}, targets)
    both = targets.join(members[0], on=["date", "code"]).join(members[1], on=["date", "code"], suffix="_b")
    day = both.filter(pl.col("date") == date(2020, 1, 2))
    expected = [
        np.mean([np.corrcoef(day[f"prediction_{h}d{b}"], day[f"target_{h}d"])[0, 1] for b in ("", "_b")])
        for h in HORIZONS
    ]
    own = daily.filter(pl.col("date") == date(2020, 1, 2))
    assert own["horizon"].to_list() == [MEAN, *HORIZONS]
    assert own["ic"].to_list() == pytest.approx([np.mean(expected), *expected])
    assert daily.filter(pl.col("date") == date(2020, 1, 3), horizon=MEAN)["ic"].to_list() == [None]


def daily_table(levels: Mapping[str, Mapping[tuple[str, int], float]], days: int = 60) -> pl.DataFrame:
    """Daily scores whose mean is a model's level in each market-year, at all horizons."""
    wave = np.tile([0.01, -0.01, 0.02, -0.02], days // 4)
    frames = [
        pl.DataFrame(
            {
                "market": market,
                "year": year,
                "model": model,
                "horizon": pl.Series([horizon] * days, dtype=pl.Int32),
                "date": [date(year, 1, 1) + timedelta(day) for day in range(days)],
                "rank_ic": level + wave * (model != BASELINE),
                "ic": level / 2 + wave * (model != BASELINE),
            }
        )
        for model, by_year in levels.items()
        for (market, year), level in by_year.items()
        for horizon in (MEAN, *HORIZONS)
    ]
    return pl.concat(frames)


YEARS = (("a", 2012), ("a", 2013), ("b", 2012))


def levels(network: tuple[float, float, float], blend: float = 0.06) -> pl.DataFrame:
    flat = {BASELINE: 0.03, LINEAR: 0.02, TODAY: 0.03, BLEND: blend}
    by_model = {model: dict.fromkeys(YEARS, level) for model, level in flat.items()}
    return daily_table(by_model | {NETWORK: dict(zip(YEARS, network, strict=True))})


def row(result: pl.DataFrame, market: str, model: str, score: str, horizon: int = MEAN) -> dict[str, Any]:
    return result.filter(market=market, model=model, score=score, horizon=horizon).row(0, named=True)


def test_pooled_differences_are_tested_with_market_years_as_blocks() -> None:
    result = compare(levels((0.04, 0.05, 0.03)))
    pooled = row(result, POOLED, NETWORK, "rank_ic")
    # Blocks .01, .02, 0: mean .01, deviation .01; t with 2 degrees of freedom is 4.3027 at 97.5 %.
    half = 4.3027 * 0.01 / 3**0.5
    assert pooled["mean"] == pytest.approx(0.04)
    assert (pooled["difference"], pooled["low"], pooled["high"]) == pytest.approx(
        (0.01, 0.01 - half, 0.01 + half), abs=1e-6
    )
    assert row(result, "a", NETWORK, "rank_ic")["difference"] == pytest.approx(0.015)
    assert np.isnan(block_interval([0.1])[1])


def test_a_market_has_the_calibrated_interval_over_all_its_days() -> None:
    daily = levels((0.04, 0.05, 0.03))
    own = row(compare(daily), "a", NETWORK, "ic", horizon=5)
    series = [
        daily.filter(market="a", model=model, horizon=5).sort("date")["ic"] for model in (NETWORK, BASELINE)
    ]
    expected = paired_difference(*series, horizon=5)
    assert (own["difference"], own["low"], own["high"]) == pytest.approx((expected.mean, *expected.interval))


def test_a_single_market_is_pooled_with_its_own_interval() -> None:
    daily = levels((0.04, 0.05, 0.03)).filter(market="a")
    result = compare(daily)
    same = row(result, POOLED, NETWORK, "rank_ic") | {"market": "a"}
    assert same == row(result, "a", NETWORK, "rank_ic")
    assert f"### {POOLED}" not in report(daily, [])


def reached(daily: pl.DataFrame) -> list[bool]:
    """The bars in rank IC: pooled, each market, 1 day, average above both."""
    return [bar.reached for bar in bars(compare(daily))][:4]


def test_the_bars_are_reached_or_missed_by_their_figures() -> None:
    assert reached(levels((0.040, 0.041, 0.042))) == [True, True, True, True]
    assert reached(levels((0.040, 0.041, 0.042), blend=0.041)) == [True, True, True, False]
    # On market b below by .003; pooled above, but not significantly.
    assert reached(levels((0.050, 0.051, 0.027))) == [False, False, True, True]
    assert reached(levels((0.0285, 0.0285, 0.0285))) == [False, True, False, True]


def test_the_report_lists_markets_years_stages_seconds_and_bars() -> None:
    stages = {"linear": {str(h): 0.01 * h for h in HORIZONS}}
    facts = [
        FitFacts("a", 2012, 0, NETWORK, 12.3, stages),
        FitFacts("a", 2012, 0, BASELINE, None),
    ]
    lines = report(levels((0.04, 0.05, 0.03)), facts).splitlines()
    assert "| model | 1 day | 5 days | 10 days | 20 days | mean | 2012 | 2013 |" in lines
    cells = " | ".join([".0450 / .0225"] * 5)
    assert f"| network | {cells} | .0400 / .0200 | .0500 / .0250 |" in lines
    assert "| a | 2012 | 0 | network | linear | .0100 | .0500 | .1000 | .2000 |" in lines
    assert [
        line for line in lines if line.startswith(("| market | year | seed | L", "| a | 2012 | 0 | ?"))
    ] == ["| market | year | seed | LightGBM | network |", "| a | 2012 | 0 | ? | 12 |"]
    bar = "- rank IC: network on no market below LightGBM by more than .0020: +.0000 (b): reached"
    assert bar in lines and len([line for line in lines if line.startswith("- ")]) == 8
