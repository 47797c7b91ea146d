"""Tests that the synthetic markets have their planted signals, and that small networks find them."""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from planted_markets import (
    ECHO_DAYS,
    EMBARGO_DAYS,
    MARKETS,
    STRENGTH,
    PlantedMarket,
    build_market,
    draw_shocks,
    split_days,
)
from signal_recovery import MODELS, Recovery, bars, main, mean_ic, recover

from gogooku3.evaluation.metrics import information_coefficient

PREDICTABLE = [name for name, kind in MARKETS.items() if kind.predictable]


@cache
def market(name: str) -> PlantedMarket:
    return build_market(name, draw_shocks(3, n_days=320, n_stocks=60))


def correlation(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.corrcoef(left.ravel(), right.ravel())[0, 1])


@pytest.mark.parametrize("name", PREDICTABLE)
def test_the_oracle_correlates_with_the_return_as_designed(name: str) -> None:
    planted = market(name)
    oracle = planted.oracle[ECHO_DAYS:]
    assert np.isfinite(oracle).all()
    np.testing.assert_allclose(oracle.mean(axis=1), 0, atol=1e-9)
    np.testing.assert_allclose(oracle.std(axis=1), 1, atol=1e-9)
    ic = information_coefficient(oracle, planted.panel.targets[ECHO_DAYS:, :, 0], np.arange(len(oracle)))
    # 280 days of 60 stocks: a standard error of 0.008.
    assert ic == pytest.approx(STRENGTH, abs=0.03)


def test_the_noise_market_has_no_oracle() -> None:
    assert np.isnan(market("noise").oracle).all()


@pytest.mark.parametrize("name", MARKETS)
def test_another_future_leaves_the_past_unchanged(name: str) -> None:
    shocks = draw_shocks(3, n_days=130, n_stocks=24)
    changed = shocks.copy()
    changed[90:] = draw_shocks(4, n_days=40, n_stocks=24)
    first, second = build_market(name, shocks), build_market(name, changed)
    for one, other in (
        (first.panel.values, second.panel.values),
        (first.panel.targets, second.panel.targets),
        (first.oracle, second.oracle),
        (first.statistics.variance, second.statistics.variance),
    ):
        np.testing.assert_array_equal(one[:90], other[:90])
    assert not np.array_equal(first.panel.values[90:], second.panel.values[90:])
    last = first.graphs.snapshot_index[89]
    assert first.graphs.graphs[: last + 1] == second.graphs.graphs[: last + 1]


@pytest.mark.parametrize("name", MARKETS)
def test_a_longer_market_begins_with_the_shorter_one(name: str) -> None:
    shocks = draw_shocks(3, n_days=130, n_stocks=24)
    short, long = build_market(name, shocks[:90]), build_market(name, shocks)
    np.testing.assert_array_equal(short.panel.values, long.panel.values[:90])
    np.testing.assert_array_equal(short.oracle, long.oracle[:90])


def test_an_event_echoes_only_after_forty_days() -> None:
    planted = market("temporal")
    event = planted.panel.values[:, :, 0]
    np.testing.assert_allclose(planted.oracle[ECHO_DAYS:], event[:-ECHO_DAYS], atol=1e-5)
    assert np.isnan(planted.oracle[:ECHO_DAYS]).all()


def test_the_tilt_pays_when_dispersion_is_low() -> None:
    planted = market("regime")
    tilt, stress = (planted.panel.feature_index(name) for name in ("tilt", "stress"))
    sign = np.where(planted.statistics.variance[:, stress] < 1, 1, -1)
    np.testing.assert_allclose(planted.oracle, sign[:, None] * planted.panel.values[:, :, tilt], atol=1e-5)
    assert 0.2 < (sign > 0).mean() < 0.8
    # After normalisation the stress feature's spread is the same on every day.
    np.testing.assert_allclose(planted.panel.values[:, :, stress].std(axis=1), 1, atol=0.05)


def test_last_months_graph_predicts_and_this_months_does_not() -> None:
    planted = market("neighbour")
    move = planted.panel.values[:, :, planted.panel.feature_index("move")]
    days = np.flatnonzero(planted.graphs.snapshot_index > 0)
    later = len(planted.graphs.graphs) - 1
    last_month, this_month = (
        np.stack([move[day][graphs.neighbours[number[day]]].mean(axis=1) for day in days])
        for graphs, number in (
            (planted.graphs, planted.graphs.snapshot_index),
            (planted.graphs, np.minimum(planted.graphs.snapshot_index + 1, later)),
        )
    )
    assert correlation(last_month, planted.oracle[days]) > 0.9
    assert abs(correlation(this_month, planted.oracle[days])) < 0.3
    assert abs(correlation(move[days], planted.oracle[days])) < 0.1


def test_causal_filters_recover_the_selected_bands_and_todays_values_do_not() -> None:
    planted = market("frequency")
    values = planted.panel.values.astype(np.float64)
    windows = sliding_window_view(values, 60, axis=0)[:, :, :6]
    up = windows[:, :, 0].mean(axis=-1, keepdims=True) > 0
    expected = planted.oracle[59:].ravel()

    def explained(waves: np.ndarray) -> float:
        flat = waves.reshape(*waves.shape[:2], -1)
        by_dial = np.concatenate([flat * up, flat * ~up], axis=2).reshape(len(expected), -1)
        # The normal equations: as exact as this needs, and far faster than a decomposition of all rows.
        weights = np.linalg.lstsq(by_dial.T @ by_dial, by_dial.T @ expected, rcond=None)[0]
        return correlation(by_dial @ weights, expected)

    assert explained(windows[:, :, 1:]) > 0.75
    assert explained(windows[:, :, 1:, -1:]) < 0.4


def test_parts_are_separated_by_an_embargo() -> None:
    train, validation, test = split_days(640)
    assert train.start == 0 and test.stop == 640
    assert validation.start - train.stop == test.start - validation.stop == EMBARGO_DAYS


def scored(market: str, model: str, ic: float, t: float = 9.0) -> Recovery:
    return Recovery(market, 0, model, ic, t, float("nan"), 1, 1.0)


def test_bars_compare_shares_with_their_limits() -> None:
    recoveries = [scored("regime", model, 0.3) for model in MODELS]
    recoveries[MODELS.index("full")] = scored("regime", "full", 0.21)
    recoveries[MODELS.index("no regime")] = scored("regime", "no regime", 0.15)
    share, kept = bars(recoveries)
    assert share.value == pytest.approx(0.7) and share.passed
    assert kept.value == pytest.approx(0.15 / 0.21) and not kept.passed


def test_noise_fails_its_bar_if_any_model_has_a_large_t() -> None:
    calm = [scored("noise", model, 0.0, t=-1.0) for model in MODELS]
    assert [bar.passed for bar in bars(calm)] == [True]
    assert [bar.passed for bar in bars([*calm, scored("noise", "full", -0.1, t=-2.6)])] == [False]


def test_ics_are_averaged_over_seeds() -> None:
    assert mean_ic([scored("level", "full", 0.1), scored("level", "full", 0.3)]) == pytest.approx(
        {"full": 0.2}
    )


def test_the_help_explains_markets_and_bars(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    printed = capsys.readouterr().out
    assert "70 % of the oracle's IC" in " ".join(printed.split())
    assert all(name in printed for name in MARKETS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "part", "n_days", "n_stocks", "epochs"),
    [("regime", "no regime", 300, 40, 5), ("neighbour", "no graph", 260, 30, 4)],
)
def test_only_the_right_part_finds_the_signal(
    name: str, part: str, n_days: int, n_stocks: int, epochs: int
) -> None:
    small = replace(build_market(name, draw_shocks(0, n_days, n_stocks)), window=2)
    ic = {model: recover(small, model, epochs).ic for model in ("oracle", "full", part)}
    assert ic["full"] > 0.6 * ic["oracle"]
    assert ic[part] < 0.5 * ic["full"]
