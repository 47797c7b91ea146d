"""The embedded market: shape, exchange rules, and recovery of exactly the planted signals."""

import dataclasses
import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from gogooku3.data.synthetic import market, tokyo_rules
from gogooku3.data.synthetic.market import (
    PRESETS,
    SyntheticMarket,
    SyntheticMarketConfig,
    generate_market,
    simulate,
    write_market,
)
from gogooku3.data.synthetic.oracle_files import oracle_paths
from gogooku3.data.synthetic.planted_signals import BAND_DECAY, BAND_PERIOD, KINDS
from gogooku3.data.synthetic.simulated_exchange import draw_randomness
from gogooku3.errors import ConfigError, DataError

SMALL = SyntheticMarketConfig(
    n_stocks=60,
    n_days=150,
    listing_share=0.3,
    delisting_share=0.3,
    suspension_rate=0.01,
    no_trade_rate=0.01,
    split_share=0.95,
)
SILENT = {f"{kind}_strength": 0.0 for kind in KINDS}


@pytest.fixture(scope="module")
def demo() -> SyntheticMarket:
    return generate_market(PRESETS["demo"])


@pytest.fixture(scope="module")
def small() -> SyntheticMarket:
    return generate_market(SMALL)


@pytest.fixture(scope="module")
def volatile() -> SyntheticMarket:
    """A market so volatile that prices hit limits, split and consolidate."""
    return generate_market(dataclasses.replace(SMALL, n_stocks=100, own_volatility=0.05, split_share=0.99))


def wide(frame: pl.DataFrame, column: str) -> np.ndarray:
    """One column as `[T, S]`, NaN without a row; dates and codes ascending."""
    table = frame.sort("date", "code").pivot(on="code", index="date", values=column).sort("date")
    return table.select(sorted(table.columns[1:])).cast(pl.Float64).to_numpy(writable=True)


def relative_returns(market: SyntheticMarket) -> np.ndarray:
    closes = wide(market.prices, "close")
    returns = np.full_like(closes, np.nan)
    returns[1:] = closes[1:] / closes[:-1] - 1.0
    known = np.isfinite(returns)
    mean = np.where(known, returns, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.where(known, returns - mean[:, None], 0.0)


def next_day_ic(score: np.ndarray, market: SyntheticMarket, first_day: int = 60) -> float:
    closes = wide(market.prices, "close")
    target = closes[1:] / closes[:-1] - 1.0
    daily = [
        np.corrcoef(score[day][known], target[day][known])[0, 1]
        for day in range(first_day, len(target))
        if (known := np.isfinite(target[day])).sum() > 5
    ]
    return float(np.mean(daily))


def as_quoted(market: SyntheticMarket) -> pl.DataFrame:
    """Prices as quoted on their day: without the adjustment for the splits in the summary; adds `base`."""
    splits = pl.DataFrame(
        market.summary["splits"], schema={"code": pl.String, "date": pl.String, "ratio": pl.Float64}
    ).with_columns(pl.col("date").str.to_date())
    frame = market.prices.sort("code", "date")
    for name in ("later", "since"):
        frame = frame.with_columns(pl.lit(1.0).alias(name))
    previous = pl.col("date").shift(1).over("code")
    frame = frame.with_columns(previous=previous)
    for code, date, ratio in splits.iter_rows():
        own_rows = pl.col("code") == code
        frame = frame.with_columns(
            later=pl.when(own_rows & (pl.col("date") < date))
            .then(pl.col("later") * ratio)
            .otherwise("later"),
            since=pl.when(own_rows & (pl.col("date") >= date) & (pl.col("previous") < date))
            .then(pl.col("since") * ratio)
            .otherwise("since"),
        )
    frame = frame.with_columns(pl.col("open", "high", "low", "close") * pl.col("later"))
    return frame.with_columns(base=pl.col("close").shift(1).over("code") / pl.col("since"))


# Shape


def test_a_market_has_the_canonical_columns_sorted_by_code_and_date(small: SyntheticMarket) -> None:
    assert small.prices.schema == {
        "date": pl.Date,
        "code": pl.String,
        **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64),
        "sector": pl.String,
    }
    assert_frame_equal(small.prices, small.prices.sort("code", "date"))
    assert small.prices["code"].str.contains(r"^\d{4}$").all()


def test_a_stock_has_one_row_a_day_and_the_oracle_has_the_same_rows(small: SyntheticMarket) -> None:
    keys = small.prices.select("date", "code")
    assert not keys.is_duplicated().any()
    assert_frame_equal(small.oracle.select("date", "code"), keys.sort("date", "code"))
    assert small.oracle.null_count().sum_horizontal().item() == 0
    assert small.summary["rows"] == keys.height


def test_open_and_close_are_between_low_and_high_and_prices_are_positive(small: SyntheticMarket) -> None:
    prices = small.prices
    assert prices.filter(pl.col("low") > pl.min_horizontal("open", "close")).is_empty()
    assert prices.filter(pl.col("high") < pl.max_horizontal("open", "close")).is_empty()
    assert prices["low"].min() > 0
    assert prices["volume"].min() == 0


def test_a_day_without_trade_repeats_the_last_close(small: SyntheticMarket) -> None:
    rows = small.prices.with_columns(last=pl.col("close").shift(1).over("code"))
    idle = rows.filter((pl.col("volume") == 0) & pl.col("last").is_not_null())
    assert small.summary["rows_without_trade"] >= idle.height > 20
    for name in ("open", "high", "low", "close"):
        assert (idle[name] / idle["last"] - 1.0).abs().max() < 1e-12


def test_stocks_are_listed_delisted_and_suspended(small: SyntheticMarket) -> None:
    present = np.isfinite(wide(small.prices, "close"))
    first, last = present.argmax(axis=0), len(present) - 1 - present[::-1].argmax(axis=0)
    assert small.summary["stocks"] == present.shape[1]
    assert small.summary["listings"] == (first > 0).sum() > 3
    assert small.summary["delistings"] == (last < len(present) - 1).sum() > 1
    assert small.summary["suspended_days"] == (last - first + 1).sum() - present.sum() > 20


def test_a_market_starts_on_any_date() -> None:
    config = SyntheticMarketConfig(n_stocks=6, n_days=30, start_date=dt.date(2010, 5, 1))
    assert generate_market(config).prices["date"].min() == dt.date(2010, 5, 6)


def test_volume_rises_with_the_size_of_the_return(demo: SyntheticMarket) -> None:
    volumes, closes = wide(demo.prices, "volume"), wide(demo.prices, "close")
    log_volume, size = (
        np.log(np.where(volumes[1:] > 0, volumes[1:], np.nan)),
        np.abs(closes[1:] / closes[:-1] - 1.0),
    )
    known = np.isfinite(log_volume) & np.isfinite(size)
    by_stock = [np.corrcoef(log_volume[known[:, s], s], size[known[:, s], s])[0, 1] for s in range(100)]
    assert np.mean(by_stock) > 0.2


# Rules


def test_quoted_prices_respect_limits_and_ticks(volatile: SyntheticMarket) -> None:
    quoted = as_quoted(volatile).drop_nulls("base")
    low, high = tokyo_rules.price_limits(np.round(quoted["base"].to_numpy(), 6))
    for name in ("open", "high", "low", "close"):
        price = quoted[name].to_numpy()
        # A split during a suspension leaves the base off the tick grid; a day without trade repeats it.
        traded = quoted["volume"].to_numpy() > 0
        np.testing.assert_allclose(price[traded], tokyo_rules.round_to_tick(price)[traded], rtol=1e-9)
        assert (price >= low - 1e-6).all()
        assert (price <= high + 1e-6).all()
    assert volatile.summary["closes_at_limit"] > 10


def test_a_split_leaves_adjusted_prices_continuous(volatile: SyntheticMarket) -> None:
    splits = volatile.summary["splits"]
    assert {0.1, 2.0} <= {split["ratio"] for split in splits} <= {0.1, 2.0, 3.0, 5.0}
    change = pl.col("close") / pl.col("close").shift(1).over("code")
    rows = volatile.prices.with_columns(change=change, day=pl.col("date").cast(pl.String))
    on_the_day = rows.join(pl.DataFrame(splits), left_on=["code", "day"], right_on=["code", "date"])
    assert on_the_day.height > 10
    # A split at least halves the quoted price; a consolidation multiplies it by ten.
    assert on_the_day.filter(pl.col("ratio") > 1)["change"].is_between(0.66, 1.4).all()
    assert on_the_day.filter(pl.col("ratio") < 1)["change"].is_between(0.2, 3.0).all()


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 100), st.integers(0, 400))
def test_exact_rows_are_reached_exactly(seed: int, fewer: int) -> None:
    config = dataclasses.replace(SMALL, n_stocks=24, n_days=60, listing_share=0.1, seed=seed)
    natural = generate_market(config).prices.height
    market = generate_market(dataclasses.replace(config, exact_rows=natural - fewer))
    assert market.prices.height == natural - fewer == market.summary["rows"]


def test_unreachable_exact_rows_are_refused_with_the_reachable_range() -> None:
    with pytest.raises(ConfigError, match="exact_rows is 8990, but this market has"):
        generate_market(dataclasses.replace(SMALL, exact_rows=8990))


# What was planted


def test_the_demo_has_the_promised_oracle_ic(demo: SyntheticMarket) -> None:
    overall = demo.summary["oracle_ic"]
    assert 0.14 < overall["1d"] < 0.18
    assert overall["5d"] > 0.12
    assert overall["10d"] > 0.09
    assert overall["20d"] > 0.09
    for kind in KINDS:
        assert demo.summary["oracle_ic_by_kind"][kind]["1d"] > 0.03
        assert demo.summary["oracle_ic_by_kind"][kind]["5d"] > 0.05


@pytest.mark.parametrize("horizon", [1, 5, 10, 20])
def test_realised_returns_have_slope_one_on_the_oracle(demo: SyntheticMarket, horizon: int) -> None:
    closes, oracle = wide(demo.prices, "close"), wide(demo.oracle, f"oracle_{horizon}d")[:-horizon]
    target = closes[horizon:] / closes[:-horizon] - 1.0
    known = np.isfinite(target) & np.isfinite(oracle)
    target = np.where(known, target, 0.0)
    target = target - target.sum(axis=1, keepdims=True) / known.sum(axis=1, keepdims=True)
    slope = (oracle * target)[known].sum() / (oracle**2)[known].sum()
    assert slope == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_signal_is_visible_in_prices(kind: str) -> None:
    strength = {f"{kind}_strength": 0.1}
    market = generate_market(SyntheticMarketConfig(n_stocks=90, n_days=260, **(SILENT | strength)))
    oracle_ic = market.summary["oracle_ic"]["1d"]
    assert oracle_ic > 0.05
    assert market.summary["oracle_ic_by_kind"][kind]["1d"] == oracle_ic
    others = [market.summary["oracle_ic_by_kind"][other]["1d"] for other in KINDS if other != kind]
    assert others == [0.0, 0.0, 0.0]
    assert next_day_ic(visible_signal(kind, market), market) > 0.6 * oracle_ic


def test_without_strengths_there_is_no_signal() -> None:
    market = generate_market(SyntheticMarketConfig(n_stocks=90, n_days=260, **SILENT))
    assert set(market.summary["oracle_ic"].values()) == {0.0}
    for kind in KINDS:
        # Four standard errors of 200 days x 90 stocks, widened for common factors.
        assert abs(next_day_ic(visible_signal(kind, market), market)) < 0.04


def visible_signal(kind: str, market: SyntheticMarket) -> np.ndarray:
    """Signal computed only from prices, `[T, S]`."""
    moves = relative_returns(market)
    days = len(moves)
    out = np.zeros_like(moves)
    if kind == "temporal":
        out[5:] = moves[3:-2] + moves[2:-3] + moves[1:-4]
    if kind == "frequency":
        for lag in range(1, 40):
            weight = BAND_DECAY**lag * np.cos(2 * np.pi * lag / BAND_PERIOD)
            out[40:] += weight * moves[41 - lag : days + 1 - lag]
    if kind == "neighbour":
        for day in range(60, days):
            out[day] = moves[day, closest(moves[day - 60 : day])].mean(axis=1)
    if kind == "cross_sectional":
        for day in range(60, days):
            out[day] = -np.log(moves[day - 60 : day + 1].std(axis=0) + 1e-9)
    return out


def closest(moves: np.ndarray) -> np.ndarray:
    """The five most correlated other stocks of each stock, `[S, 5]`."""
    spread = moves + 1e-9 * np.random.default_rng(0).standard_normal(moves.shape)
    correlation = np.corrcoef(spread.T) - 2.0 * np.eye(moves.shape[1])
    return np.argsort(-correlation, axis=1)[:, :5]


def test_sixty_days_of_returns_identify_the_peers() -> None:
    config = SyntheticMarketConfig(n_stocks=60, n_days=70, listing_share=0.0, suspension_rate=0.0)
    market = generate_market(config)
    codes = market.prices["code"].unique().sort().to_list()
    group = np.array([(int(code) - 1301) // 13 // config.group_size for code in codes])
    neighbours = closest(relative_returns(market)[-60:])
    assert (group[neighbours] == group[:, None]).mean() > 0.9


# Time and seeds


def test_equal_seeds_give_identical_markets_and_other_seeds_do_not() -> None:
    config = dataclasses.replace(SMALL, n_days=40)
    first, second = generate_market(config), generate_market(config)
    assert_frame_equal(first.prices, second.prices, check_exact=True)
    assert_frame_equal(first.oracle, second.oracle, check_exact=True)
    assert first.summary == second.summary
    other = generate_market(dataclasses.replace(config, seed=8))
    assert not first.prices["close"].head(100).equals(other.prices["close"].head(100))


def test_shocks_after_a_day_change_neither_its_oracle_nor_its_returns() -> None:
    day = 80
    random = draw_randomness(SMALL)
    future = np.random.default_rng(99)
    # Listings depend on traits, not on shocks; replace every random number of the later days.
    changed = {
        field.name: np.concatenate([values[: day + 1], future.permuted(values[day + 1 :], axis=0)])
        for field in dataclasses.fields(random)
        if field.name != "traits" and (values := getattr(random, field.name)) is not None
    }
    before, after = simulate(SMALL, random), simulate(SMALL, dataclasses.replace(random, **changed))
    assert not before.prices.equals(after.prices)
    as_of = before.prices["date"].unique().sort()[day]
    assert_frame_equal(
        before.oracle.filter(pl.col("date") <= as_of), after.oracle.filter(pl.col("date") <= as_of)
    )
    assert_same_up_to_scale(before.prices, after.prices, as_of)


def test_a_longer_market_has_the_same_past() -> None:
    short = generate_market(dataclasses.replace(SMALL, n_days=90))
    long = generate_market(SMALL)
    as_of = short.prices["date"].max()
    assert_frame_equal(short.oracle, long.oracle.filter(pl.col("date") <= as_of))
    assert_same_up_to_scale(short.prices, long.prices, as_of)


def assert_same_up_to_scale(left: pl.DataFrame, right: pl.DataFrame, as_of: dt.date) -> None:
    """Assert equal prices and volumes up to `as_of`, apart from the adjustment for later splits."""
    names = ("open", "high", "low", "close")
    scaled = [
        frame.filter(pl.col("date") <= as_of).with_columns(
            pl.col(*names) / pl.col("close").first().over("code"),
            pl.col("volume") * pl.col("close").first().over("code"),
        )
        for frame in (left, right)
    ]
    assert_frame_equal(*scaled, rel_tol=1e-9)


def test_a_larger_market_has_the_same_shocks_for_the_stocks_of_a_smaller_one() -> None:
    few, many = (draw_randomness(dataclasses.replace(SMALL, n_stocks=n, n_days=30)) for n in (12, 18))
    for name in ("own", "halt", "volume"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:, :12])
    assert np.array_equal(few.traits, many.traits[:12])


# Presets, errors, files


def test_the_reference_preset_has_the_reference_number_of_rows() -> None:
    assert PRESETS["reference"].exact_rows == 606_127
    assert PRESETS["reference"].n_days == 959


def test_the_reference_market_has_exactly_its_rows() -> None:
    market = generate_market(PRESETS["reference"])
    assert market.prices.height == 606_127
    assert market.prices["date"].n_unique() == 959


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_stocks", 1),
        ("n_days", 29),
        ("n_sectors", 34),
        ("neighbour_strength", -0.1),
        ("own_volatility", 0.0),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value}; give a value from"):
        dataclasses.replace(SMALL, **{field: value})


def test_strengths_whose_echoes_would_not_die_away_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"lower them until that is below 0\.9"):
        dataclasses.replace(SMALL, frequency_strength=0.4)


def test_more_exact_rows_than_stock_days_are_refused() -> None:
    with pytest.raises(ConfigError, match="hold at most 9000"):
        dataclasses.replace(SMALL, exact_rows=9001)


def test_prices_oracle_and_summary_are_written_to_one_folder(tmp_path: Path, small: SyntheticMarket) -> None:
    path = tmp_path / "new" / "market.parquet"
    written = write_market(small, path)
    assert written == (path, *oracle_paths(path))
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "market.oracle.json",
        "market.oracle.parquet",
        "market.parquet",
    ]
    assert_frame_equal(pl.read_parquet(path), small.prices)
    assert_frame_equal(pl.read_parquet(written[1]), small.oracle)
    assert json.loads(written[2].read_text()) == small.summary


def test_a_market_is_only_written_as_parquet(tmp_path: Path, small: SyntheticMarket) -> None:
    with pytest.raises(DataError, match=r"name it 'market\.parquet'"):
        write_market(small, tmp_path / "market.csv")
    assert not list(tmp_path.iterdir())


def test_the_daily_correlation_counts_each_day_once_and_skips_constant_days() -> None:
    score = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 9.0]])
    target = np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], [-0.1, -0.2, -0.3, np.nan]])
    assert market._mean_daily_ic(score, target) == pytest.approx(0.0)
    assert market._mean_daily_ic(score[:2], target[:2]) == pytest.approx(1.0)
