"""Optional features: values worked out by hand, and independence of the future."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from gogooku3.errors import DataError
from gogooku3.features.catalog import FEATURE_NAMES
from gogooku3.features.extra import EXTRA, FAMILIES, compute_extra, extra_features

FACTS = sorted({fact for feature in EXTRA for fact in feature.facts})


def prices(n_days: int = 300, n_stocks: int = 3, seed: int = 1) -> pl.DataFrame:
    """Shuffled rows with gaps and some unknown facts."""
    random = np.random.default_rng(seed)
    days = [dt.date(2020, 1, 1) + dt.timedelta(n) for n in range(n_days)]
    rows = [(day, f"{1000 + s}") for day in days for s in range(n_stocks) if random.random() > 0.1]
    values = {f"known_{fact}": random.lognormal(size=len(rows)) for fact in FACTS}
    frame = pl.DataFrame({"date": [r[0] for r in rows], "code": [r[1] for r in rows], **values})
    unknown = pl.Series(random.random(len(rows)) < 0.1)
    frame = frame.with_columns(pl.when(~unknown).then(pl.col(f"known_{fact}")) for fact in FACTS)
    return frame.sample(fraction=1.0, shuffle=True, seed=seed)


def one_stock(**facts: list[float | None]) -> dict[str, list[float | None]]:
    length = len(next(iter(facts.values())))
    known = {f"known_{name}": facts.get(name, [1.0] * length) for name in FACTS}
    days = [dt.date(2020, 1, 1) + dt.timedelta(n) for n in range(length)]
    return compute_extra(pl.DataFrame({"date": days, "code": ["1"] * length, **known}), FAMILIES).to_dict(
        as_series=False
    )


def test_ratios_match_their_names() -> None:
    made = one_stock(
        market_cap=[200.0],
        net_profit_ttm=[10.0],
        equity=[100.0],
        total_assets=[400.0],
        net_profit_forecast=[14.0],
        net_profit_forecast_before=[16.0],
        margin_long_share=[0.02],
        margin_short_share=[0.01],
    )
    expected = {
        "log_market_cap": np.log(200),
        "earnings_yield_ttm": 0.05,
        "book_to_market": 0.5,
        "return_on_equity_ttm": 0.1,
        "equity_ratio": 0.25,
        "forecast_gap": 0.02,
        "forecast_revision": -0.01,
        "margin_balance": np.log(2),
    }
    assert {name: made[name][0] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_a_negative_or_unknown_denominator_gives_null() -> None:
    assert one_stock(equity=[-5.0])["return_on_equity_ttm"] == [None]
    assert one_stock(market_cap=[None])["earnings_yield_ttm"] == [None]
    assert one_stock(margin_short_share=[0.0])["margin_balance"] == [None]


def test_changes_and_means_count_trading_days() -> None:
    balances: list[float | None] = [float(n) for n in range(25)]
    made = one_stock(margin_long_share=balances, foreign_balance_share=balances)
    assert made["margin_long_change_20d"][19:22] == [None, 20.0, 20.0]
    assert made["foreign_balance_mean_20d"][24] == pytest.approx(14.5)
    sales: list[float | None] = [100.0] * 250 + [110.0]
    assert one_stock(sales_ttm=sales)["sales_growth_250d"][249:] == [None, pytest.approx(0.1)]


def test_later_rows_change_no_bit_of_earlier_rows() -> None:
    whole = prices()
    cut = dt.date(2020, 9, 1)
    changed = whole.with_columns(
        pl.when(pl.col("date") > cut).then(pl.col(name) * 7 - 3).otherwise(pl.col(name)).alias(name)
        for name in whole.columns[2:]
    )
    before = compute_extra(whole, FAMILIES).filter(pl.col("date") <= cut)
    assert compute_extra(changed, FAMILIES).filter(pl.col("date") <= cut).equals(before)
    removed = whole.filter(pl.col("date") <= cut)
    assert compute_extra(removed, FAMILIES).equals(before)
    assert before.null_count().sum_horizontal().item() < before.height * before.width / 2


def test_a_family_adds_only_its_own_features_and_names_are_unique() -> None:
    made = compute_extra(prices(), ["margin"])
    assert made.columns == ["date", "code", *(f.name for f in EXTRA if f.family == "margin")]
    assert made.select("date", "code").equals(prices().select("date", "code").sort("date", "code"))
    names = [feature.name for feature in EXTRA]
    assert len(set(names) | set(FEATURE_NAMES)) == len(names) + 139
    assert all(feature.formula and feature.known for feature in EXTRA)


def test_an_unknown_family_or_a_missing_fact_is_an_error() -> None:
    with pytest.raises(
        DataError, match="unknown feature family: news; choose among statements, margin, flows"
    ):
        extra_features(["news"])
    with pytest.raises(DataError, match=r"margin need known_margin_short_share, which the prices lack"):
        compute_extra(prices().drop("known_margin_short_share"), ["margin"])
