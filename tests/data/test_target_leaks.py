"""A copy of a target among the features is found; real features are not reported."""

import datetime as dt
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogooku3.data.later_returns import later_returns
from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market
from gogooku3.data.target_leaks import SUSPECT, TargetCopy, copies_in, find_target_copies, future_names
from gogooku3.data.targets import add_targets
from gogooku3.features.compute import compute_features

TARGETS = ["target_1d", "target_5d"]


def market(n_stocks: int = 20, n_days: int = 30, seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=day) for day in range(n_days)]
    keys = pl.DataFrame({"date": days}).join(pl.DataFrame({"code": range(n_stocks)}), how="cross")
    names = [*TARGETS, "fair"]
    return keys.with_columns(pl.Series(name, random.standard_t(3, keys.height) * 0.02) for name in names)


def found(frame: pl.DataFrame, *features: str) -> list[TargetCopy]:
    return copies_in(frame, features, TARGETS)


def test_by_hand_three_days_with_one_reversed() -> None:
    ranks = [1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25]
    day, other = dt.date(2024, 1, 4), dt.date(2024, 1, 5)
    swapped = [2.0, 1, *ranks[2:]]
    frame = pl.DataFrame(
        {
            "date": [day] * 25 + [other] * 25 + [dt.date(2024, 1, 6)] * 25,
            "code": [*range(25)] * 3,
            "target_1d": ranks * 3,
            "target_5d": [None] * 75,
            "leak": [*ranks, *(-value for value in ranks), *swapped],
        },
        schema_overrides={"target_5d": pl.Float64},
    )
    # Spearman's formula for the third day: 1 - 6 * (1 + 1) / (25 * (625 - 1)).
    mean = (1 + 1 + 1 - 12 / (25 * 624)) / 3
    (copy,) = found(frame, "leak")
    assert copy.correlation == pytest.approx(mean, abs=1e-12)
    assert (copy.feature, copy.target, copy.days) == (
        "leak",
        "target_1d",
        tuple(frame["date"].unique().sort()),
    )
    assert str(copy) == (
        "leak follows target_1d (rank correlation within a day 1.00; "
        "first on 2024-01-04, 2024-01-05, 2024-01-06)"
    )


MONOTONE: list[Callable[[np.ndarray, float, float], np.ndarray]] = [
    lambda x, a, b: a * x + b,
    lambda x, a, b: np.exp(a * x),
    lambda x, a, b: np.arctan(a * x) + b,
    lambda x, a, b: a * np.sign(x) * np.abs(x) ** 0.3,
    lambda x, a, b: a * x**3 - b,
]


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    shape=st.sampled_from(MONOTONE),
    scale=st.floats(0.01, 10),
    sign=st.sampled_from([-1, 1]),
    shift=st.floats(-3, 3),
    n_stocks=st.integers(2, 90),
    known=st.floats(0.1, 1),
    seed=st.integers(0, 1000),
)
def test_every_strictly_monotone_transform_of_a_target_is_found(
    shape: Callable[[np.ndarray, float, float], np.ndarray],
    scale: float,
    sign: int,
    shift: float,
    n_stocks: int,
    known: float,
    seed: int,
) -> None:
    frame = market(n_stocks, 30 if n_stocks > 20 else 200, seed)
    leak = sign * shape(frame["target_5d"].to_numpy(), scale, shift)
    here = np.random.default_rng(seed).random(frame.height) < known
    frame = frame.with_columns(leak=pl.Series(np.where(here, leak, np.nan)))
    frame = frame.sample(fraction=1, shuffle=True, seed=seed)
    assert [(copy.feature, copy.target) for copy in found(frame, "fair", "leak")] == [("leak", "target_5d")]


@pytest.mark.parametrize(
    "copy",
    [
        pl.col("target_1d").rank().over("date"),
        ((pl.col("target_1d") - pl.col("target_1d").mean()) / pl.col("target_1d").std()).over("date"),
        pl.col("target_1d") * pl.col("date").dt.day(),
        pl.when(pl.col("date").dt.weekday() < 3).then("target_1d").otherwise(-pl.col("target_1d")),
        pl.col("target_1d") + 0.3 * pl.col("fair"),
        pl.col("target_1d").round(3),
        pl.col("target_1d").sign(),
        pl.when(pl.col("code") == 3).then("target_1d"),
        pl.when(pl.col("date").dt.day() == 17).then("target_1d"),
    ],
    ids=str,
)
def test_a_near_copy_of_a_target_is_found(copy: pl.Expr) -> None:
    frame = market(100, 200).with_columns(leak=copy)
    assert [(copy.feature, copy.target) for copy in found(frame, "fair", "leak")] == [("leak", "target_1d")]


@pytest.mark.parametrize(("n_stocks", "n_days"), [(60, 60), (10, 40), (5, 20), (2, 60), (1, 90)])
def test_none_of_a_hundred_random_features_is_reported(n_stocks: int, n_days: int) -> None:
    frame = market(n_stocks, n_days)
    random = np.random.default_rng(1)
    noise = {f"noise_{i}": random.normal(size=frame.height) for i in range(100)}
    coarse = {f"coarse_{i}": random.integers(0, 2, frame.height) for i in range(20)}
    by_day = {"weekday": frame["date"].dt.weekday(), "flat": pl.Series([1.0] * frame.height)}
    frame = frame.with_columns(**{k: pl.Series(v) for k, v in {**noise, **coarse, **by_day}.items()})
    assert found(frame, *noise, *coarse, *by_day) == []


def test_the_catalogues_features_are_not_reported_and_far_below_the_limit() -> None:
    prices = generate_market(SyntheticMarketConfig(n_stocks=40, n_days=320)).prices
    ahead = add_targets(prices.select("date", "code", "close")).drop("close")
    frame = compute_features(prices).join(ahead, on=["date", "code"])
    targets = [name for name in ahead.columns if name.startswith("target_")]
    features = frame.drop("date", "code", *targets).columns
    assert (len(features), len(targets)) == (139, 4)
    assert copies_in(frame, features, targets) == []
    days = frame.with_columns(pl.col(*features, *targets).rank().over("date")).group_by("date")
    table = days.agg(pl.corr(f, t).alias(f"{f} {t}") for f in features for t in targets).drop("date")
    assert max(abs(value or 0) for value in table.select(pl.all().fill_nan(None).mean()).row(0)) < SUSPECT


@pytest.mark.parametrize(
    ("leak", "is_refused"),
    [
        (pl.col("open").shift(-1) / pl.col("close") - 1, True),
        ((pl.col("close").shift(-1) > pl.col("close")).cast(pl.Int8), True),
        (pl.col("close").shift(-2) / pl.col("close") - 1, True),
        (pl.col("close").shift(-1) / pl.col("close") - 1 + 0.03 * pl.col("noise"), False),
    ],
    ids=["the next open", "up tomorrow", "two days ahead", "a noisy next return"],
)
def test_features_that_hold_the_future_in_part_are_found(leak: pl.Expr, is_refused: bool) -> None:
    prices = generate_market(SyntheticMarketConfig(n_stocks=40, n_days=120)).prices
    noise = pl.Series("noise", np.random.default_rng(0).normal(size=prices.height))
    rows = prices.sort("code", "date").with_columns(noise).with_columns(leak=leak.over("code"))
    frame = add_targets(rows, [1, 5])
    copies = found(frame, "leak", "noise")
    assert {copy.feature for copy in copies} == {"leak"}
    assert any(copy.is_refused for copy in copies) == is_refused


def without_a_one_day_target(leak: pl.Expr) -> pl.DataFrame:
    """A data set with a 20-day target only, and a feature computed from prices stock by stock."""
    prices = generate_market(SyntheticMarketConfig(n_stocks=40, n_days=160)).prices.sort("code", "date")
    change = pl.col("close") / pl.col("close").shift(1) - 1
    rows = prices.with_columns(leak=leak.over("code"), ret_1d=change.over("code"))
    return add_targets(rows, [20])


@pytest.mark.parametrize("source", ["ret_1d", "book_return", "Close"])
@pytest.mark.parametrize(
    "leak",
    [
        pl.col("open").shift(-1) / pl.col("close") - 1,
        (pl.col("close").shift(-1) > pl.col("close")).cast(pl.Int8),
        pl.col("close").shift(-2) / pl.col("close") - 1,
        pl.col("close").shift(-8) / pl.col("close").shift(-7) - 1,
    ],
    ids=["the next open", "up tomorrow", "two days ahead", "the eighth day"],
)
def test_returns_of_later_days_are_refused_without_a_one_day_target(leak: pl.Expr, source: str) -> None:
    frame = without_a_one_day_target(leak).rename({"close": "Close"})
    frame = frame.rename({"ret_1d": source}) if source != "Close" else frame.drop("ret_1d")
    (copy,) = [copy for copy in copies_in(frame, ["leak", "volume"], ["target_20d"]) if copy.is_refused]
    assert copy.feature == "leak"
    assert copy.target in {"the return on day t+1", "the return on day t+2", "the return on day t+8"}


def test_a_single_later_day_is_read_from_the_stocks_own_rows() -> None:
    days = [dt.date(2024, 1, day) for day in (4, 5, 8)]
    frame = pl.DataFrame({"date": days * 2, "code": ["B"] * 3 + ["A"] * 3}).sample(
        fraction=1, shuffle=True, seed=3
    )
    own = {("A", 4): 0.1, ("A", 5): 0.2, ("A", 8): 0.3, ("B", 4): 1.0, ("B", 5): 2.0, ("B", 8): 3.0}
    rows = [(code, day.day) for day, code in frame.select("date", "code").rows()]
    later = later_returns(frame, frame.with_columns(book_return=pl.Series([own[row] for row in rows])))
    taken = later.take(np.arange(6), ["the return on day t+1", "the return on day t+2"])
    by_row = dict(zip(rows, taken.rows(), strict=True))
    assert by_row["A", 4] == pytest.approx((0.2, 0.3))
    assert by_row["B", 5] == pytest.approx((3.0, float("nan")), nan_ok=True)
    # The one-day target of a day is the return on the next one.
    ahead = later_returns(frame, frame.with_columns(target_1d=pl.Series([own[row] for row in rows])))
    by_row = dict(zip(rows, ahead.take(np.arange(6), ahead.names[:2]).rows(), strict=True))
    assert by_row["A", 4] == pytest.approx((0.1, 0.2))
    previous = later.previous(np.arange(6))
    assert [rows[row] if row >= 0 else None for row in previous] == [
        (code, {5: 4, 8: 5}[day]) if day > 4 else None for code, day in rows
    ]


@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
def test_prices_of_a_later_day_are_found_by_their_changes(name: str) -> None:
    prices = generate_market(SyntheticMarketConfig(n_stocks=40, n_days=160)).prices.sort("code", "date")
    rows = add_targets(prices.with_columns(leak=pl.col(name).shift(-2).over("code")), [1, 5])
    copies = copies_in(rows, ["leak", "open", "high", "low", "close", "volume"], TARGETS)
    assert {(copy.feature, copy.is_change) for copy in copies} == {("leak", True)}
    assert all("the change of leak follows the return on day t+" in str(copy) for copy in copies)
    assert any(copy.is_refused for copy in copies)


def test_names_of_later_values_are_recognised() -> None:
    names = [
        "Target",
        "label",
        "ret_fwd_5d",
        "next_open",
        "future_close",
        "翌日始値",
        "NextOpen",
        "fwdRet5",
        "close_t+1",
    ]
    assert future_names([*names, "ret_1d", "context", "targeted_flow", "leader", "text+3"]) == names


def test_few_rows_are_compared_only_for_equality() -> None:
    frame = market(3, 4).with_columns(
        same=pl.col("target_1d").cast(pl.Float32), scaled=pl.col("target_1d") * 2
    )
    assert [copy.feature for copy in found(frame, "same", "scaled", "fair")] == ["same"]
    constant = frame.with_columns(target_1d=pl.lit(0.0), holiday=pl.lit(0.0))
    assert found(constant, "holiday") == []


def test_without_rows_features_or_targets_nothing_is_found() -> None:
    frame = market()
    assert found(frame.clear(), "fair") == []
    assert found(frame) == []
    assert copies_in(frame, ["fair"], []) == []


def test_a_large_table_is_sampled_instead_of_read() -> None:
    read = []
    frame = market(200, 400)

    def take(rows: np.ndarray, names: list[str]) -> pl.DataFrame:
        read.append(len(rows) * len(names))
        return frame.select(names)[rows]

    assert find_target_copies(frame["date"], take, ["fair"] * 1, TARGETS) == []
    assert read == [60 * 50 * 3]
