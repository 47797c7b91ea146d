"""The signals and their expectation, by hand and against a slow reimplementation."""

import math

import numpy as np
import pytest

from gogooku3.data.synthetic import planted_signals as planted
from gogooku3.data.synthetic.planted_signals import KINDS, PlantedSignals, SignalState

VOLATILITY = np.array([0.01, 0.02, 0.015, 0.01, 0.03])
GROUP = np.array([0, 0, 0, 1, 1])
SLOW_LEVEL = np.array([-1.0, 0.5, 0.0, 1.0, 2.0])
TYPICAL = 0.015
PEER_CORRELATION = 0.5


def make(**strengths: float) -> PlantedSignals:
    by_kind = dict.fromkeys(KINDS, 0.0) | strengths
    return PlantedSignals(by_kind, VOLATILITY, TYPICAL, SLOW_LEVEL, GROUP, PEER_CORRELATION)


def after(signals: PlantedSignals, moves: np.ndarray, slow: np.ndarray) -> SignalState:
    state = signals.start()
    for day in range(len(moves)):
        state = signals.advance(state, moves[day], slow[day])
    return state


def slow_expectation(moves: list[np.ndarray], slow: np.ndarray, strengths: dict[str, float]) -> np.ndarray:
    """Expected return of the next day by kind, `[4, S]`, with a loop per sum and explicit filters."""
    out = np.zeros((4, len(VOLATILITY)))
    angle = 2 * math.pi / planted.BAND_PERIOD
    kernel = [planted.BAND_DECAY**lag * math.cos(angle * lag) for lag in range(1, 500)]
    band_norm = math.sqrt(sum(w * w for w in kernel))
    for stock, volatility in enumerate(VOLATILITY):
        peers = [s for s in range(len(GROUP)) if GROUP[s] == GROUP[stock] and s != stock]
        variance = PEER_CORRELATION + (1 - PEER_CORRELATION) / len(peers)
        peer_norm = math.sqrt(variance / (1 - planted.PEER_DECAY**2))
        for lag in range(1, len(moves) + 1):
            past = moves[-lag]
            if lag in planted.ECHO_LAGS:
                out[0, stock] += strengths["temporal"] * volatility * past[stock] / math.sqrt(3)
            out[1, stock] += strengths["frequency"] * volatility * kernel[lag - 1] * past[stock] / band_norm
            led = sum(past[p] for p in peers) / len(peers) * planted.PEER_DECAY ** (lag - 1)
            out[2, stock] += strengths["neighbour"] * volatility * led / peer_norm
        out[3, stock] = -strengths["cross_sectional"] * TYPICAL * slow[stock]
    return out


def test_a_single_move_echoes_only_on_the_third_to_fifth_day() -> None:
    signals = make(temporal=0.3)
    move = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    state = after(signals, move[None], SLOW_LEVEL[None])
    expected = []
    for _ in range(7):
        expected.append(signals.expected(state).sum(axis=0)[0])
        state = signals.advance(state, np.zeros(5), SLOW_LEVEL)
    echo = 0.3 * 0.01 / math.sqrt(3)
    assert expected == pytest.approx([0.0, 0.0, echo, echo, echo, 0.0, 0.0])


def test_a_move_leads_only_its_peers() -> None:
    signals = make(neighbour=0.2)
    state = after(signals, np.array([[1.0, 0.0, 0.0, 0.0, 0.0]]), SLOW_LEVEL[None])
    expected = signals.expected(state).sum(axis=0)
    assert (expected[1:3] > 0).all()
    assert expected[[0, 3, 4]].tolist() == [0.0, 0.0, 0.0]


def test_the_forecast_equals_a_slow_recursion_with_zero_shocks() -> None:
    rng = np.random.default_rng(0)
    strengths = {"temporal": 0.1, "frequency": 0.08, "neighbour": 0.12, "cross_sectional": 0.05}
    signals = make(**strengths)
    moves = rng.standard_normal((40, 5))
    slow = rng.standard_normal((40, 5))
    forecast = signals.forecast(after(signals, moves, slow), (1, 4, 9))

    past_moves, trait, total = list(moves), slow[-1], np.zeros((4, 5))
    by_hand = []
    for step in range(1, 10):
        parts = slow_expectation(past_moves, trait, strengths)
        total = total + parts
        if step in (1, 4, 9):
            by_hand.append(total)
        past_moves.append(parts.sum(axis=0) / VOLATILITY)
        trait = SLOW_LEVEL + 0.5 ** (1 / planted.SLOW_HALF_LIFE) * (trait - SLOW_LEVEL)
    np.testing.assert_allclose(forecast, np.stack(by_hand), rtol=1e-10, atol=1e-15)


def test_forecasting_all_days_at_once_equals_one_day_at_a_time() -> None:
    rng = np.random.default_rng(1)
    signals = make(temporal=0.1, frequency=0.1, neighbour=0.1, cross_sectional=0.1)
    states = [after(signals, rng.standard_normal((8, 5)), rng.standard_normal((8, 5))) for _ in range(3)]
    together = SignalState(
        moves=np.stack([s.moves for s in states], axis=1),
        band=np.stack([s.band for s in states]),
        peers=np.stack([s.peers for s in states]),
        slow=np.stack([s.slow for s in states]),
    )
    separate = np.stack([signals.forecast(s, (1, 5)) for s in states], axis=2)
    np.testing.assert_allclose(signals.forecast(together, (1, 5)), separate, rtol=1e-12)


def test_each_filter_has_unit_variance_on_independent_moves() -> None:
    rng = np.random.default_rng(2)
    stocks, days = 2000, 120
    group = np.arange(stocks)  # no stock has peers
    signals = PlantedSignals(
        dict.fromkeys(KINDS, 1.0), np.ones(stocks), 1.0, np.zeros(stocks), group, PEER_CORRELATION
    )
    state = signals.start()
    for _ in range(days):
        state = signals.advance(state, rng.standard_normal(stocks), rng.standard_normal(stocks))
    temporal, frequency, neighbour, cross_sectional = signals.expected(state).std(axis=1)
    assert [temporal, frequency, cross_sectional] == pytest.approx([1.0, 1.0, 1.0], abs=0.06)
    assert neighbour == 0.0


def test_echoes_die_away_if_the_loop_gain_is_below_one() -> None:
    strengths = {"temporal": 0.15, "frequency": 0.12, "neighbour": 0.1, "cross_sectional": 0.0}
    assert 0.5 < planted.loop_gain(strengths, 3, PEER_CORRELATION) < 1.0
    signals = make(**strengths)
    state = after(signals, np.full((1, 5), 10.0), SLOW_LEVEL[None])
    sizes = []
    for _ in range(400):
        move = signals.expected(state).sum(axis=0) / VOLATILITY
        sizes.append(np.abs(move).max())
        state = signals.advance(state, move, SLOW_LEVEL)
    assert sizes[-1] < 1e-3 * sizes[0]
