"""The formulas of the catalogue, in words, hold in the code: clipping, moments, and equal features."""

import re

import numpy as np
import polars as pl
import pytest

from gogooku3.features.catalog import CATALOG, FEATURE_NAMES
from gogooku3.features.compute import compute_features

FORMULAS = {feature.name: feature.formula for feature in CATALOG}
DIRECTIONS = {"aroon_up_25d", "aroon_down_25d", "up_share_20d", "streak_10d"}
"""They count days or directions: no size of a price enters."""
RANKS = {name for name in FEATURE_NAMES if name.startswith("sector_rank_")}
UNCLIPPED_PART = {"ret_z_1d_20d", "ret_z_5d_60d", "ret_volume_1d_20d", "ret_volume_corr_20d"}
"""Their numerator ret_*, or their volume, is not clipped."""


def spelled_out(formula: str) -> str:
    """A formula with those of the features that it names."""
    return re.sub(r"[a-z][a-z0-9_]*_\d+d\w*", lambda name: FORMULAS.get(name[0], name[0]), formula)


@pytest.fixture(name="with_tick", scope="module")
def with_tick_fixture(make_prices):
    """The features of a stock from the day on that one close and high were too high by a factor."""
    prices = make_prices(n_days=300, n_stocks=3, seed=3, dirt=0.0, index=True, sectors=1)
    index = prices.filter(pl.col("code") == "S01")["index_close"]
    # The last fall of the market that leaves time for all windows.
    day = prices["date"].unique().sort()[int((index.diff() < 0).head(260).arg_true()[-1])]

    def features(factor: float) -> pl.DataFrame:
        scale = pl.when((pl.col("code") == "S01") & (pl.col("date") == day)).then(factor).otherwise(1.0)
        # Volume falls as the price rises, so that the money traded is unchanged.
        ticked = prices.with_columns(pl.col("high", "close") * scale, pl.col("volume") / scale)
        return compute_features(ticked).filter(pl.col("code") == "S01", pl.col("date") >= day)

    return features


def test_exactly_the_formulas_that_say_clipped_limit_a_bad_tick(with_tick) -> None:
    usual, tripled, sixfold = with_tick(1.0), with_tick(3.0), with_tick(6.0)
    # Three times and six times are both beyond the clip.
    limited = {
        name for name in FEATURE_NAMES
        if tripled[name].equals(sixfold[name]) and not tripled[name].equals(usual[name])
    }  # fmt: skip
    said = {name for name, formula in FORMULAS.items() if "clipped" in spelled_out(formula)}
    assert limited - DIRECTIONS - RANKS == said - UNCLIPPED_PART - RANKS


def test_every_moment_of_a_population_is_named_as_one() -> None:
    named = {name for name, formula in FORMULAS.items() if "(population)" in formula}
    assert named == {
        *("skew_20d", "skew_60d", "kurt_60d", "bollinger_b_20d", "bollinger_width_20d"),
        *("idio_vol_60d", "idio_vol_120d"),
    }


def test_the_other_standard_deviations_are_of_samples(make_prices) -> None:
    prices = make_prices(n_days=80, n_stocks=1, dirt=0.0, index=True)
    got = compute_features(prices).row(-1, named=True)
    close, volume = prices["close"], prices["volume"]
    returns, market = close.pct_change(), prices["index_close"].pct_change()
    gap, excess = prices["open"] / close.shift(1) - 1, returns - market

    def std(values: pl.Series, days: int) -> float:
        return float(np.std(values.tail(days).to_numpy(), ddof=1))

    expected = {
        **{f"vol_{days}d": std(returns, days) for days in (5, 10, 20, 60)},
        "overnight_vol_20d": std(gap, 20),
        "gap_z_20d": (gap[-1] - gap.tail(20).mean()) / std(gap, 20),
        "close_z_10d": (close[-1] - close.tail(10).mean()) / std(close, 10),
        "ret_z_1d_20d": returns[-1] / std(returns.shift(1), 20),
        "volume_cv_20d": std(volume, 20) / volume.tail(20).mean(),
        "volume_z_60d": (volume.log()[-1] - volume.log().tail(60).mean()) / std(volume.log(), 60),
        "vol_of_vol_60d": std(returns.abs(), 60) / returns.abs().tail(60).mean(),
        "mom_per_vol_60d": returns.tail(60).mean() / std(returns, 60),
        "info_ratio_60d": excess.tail(60).mean() / std(excess, 60),
    }
    assert {name: got[name] for name in expected} == pytest.approx(expected, rel=1e-5)


def standardised(frame: pl.DataFrame, name: str) -> np.ndarray:
    """Each day's values less their mean, over their standard deviation; 0 on a day without differences."""
    value = pl.col(name).cast(pl.Float64)
    spread = pl.when(value.std() > 1e-9).then(value.std())
    return frame.select(((value - value.mean()) / spread).over("date").fill_null(0.0)).to_series().to_numpy()


@pytest.mark.parametrize("sectors", [0, 3])
def test_the_features_that_the_notes_call_equal_are_equal_within_the_day(make_prices, sectors) -> None:
    prices = make_prices(n_days=100, n_stocks=9, dirt=0.0, sectors=sectors, index=True)
    got = compute_features(prices).filter(pl.col("date") > prices["date"].unique().sort()[70])
    equal = {f"market_rel_ret_{days}d": f"ret_{days}d" for days in (1, 5, 20, 60)}
    if not sectors:
        equal |= {f"sector_rel_ret_{days}d": f"ret_{days}d" for days in (1, 5, 20)}
    for name, other in equal.items():
        np.testing.assert_allclose(standardised(got, name), standardised(got, other), atol=1e-5)
    for name in ("weekday", "month_sin", "month_cos", "turn_of_month"):
        assert not standardised(got, name).any()
    differs = np.abs(standardised(got, "sector_rel_ret_5d") - standardised(got, "ret_5d")).max()
    assert (differs > 0.1) == bool(sectors)


def test_without_sectors_a_sector_rank_is_the_rank_in_the_market(make_prices) -> None:
    prices = make_prices(n_days=40, n_stocks=9, dirt=0.0)
    last = compute_features(prices).filter(pl.col("date") == prices["date"].max())
    for rank, value in (("sector_rank_ret_5d", "ret_5d"), ("sector_rank_vol_20d", "vol_20d")):
        assert last[rank].to_list() == pytest.approx(((last[value].rank() - 0.5) / 9).to_list())
