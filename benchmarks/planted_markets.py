"""Synthetic markets with one planted signal each, as pure functions of an array of random shocks.

A market is built day by day from `shocks[day, stock, channel]`; each day depends only on that day's and
earlier shocks, which a test verifies by changing later ones. The features are normalised by gogooku3's own
day-wise normaliser. `oracle` is the expected return given the past. Imports nothing of the network.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_discrete_are
from scipy.special import ndtri

from gogooku3.data.panel import Panel
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.preprocessing.cross_section import PanelNormalizer
from gogooku3.preprocessing.day_columns import DayStatistics
from gogooku3.safety.walk_forward import split_tail

Floats = npt.NDArray[np.float64]

FEATURES = 8
"""Features of every market; those without signal are noise."""
CHANNELS = 40
"""Random numbers per stock and day: the first for its return, the rest for features."""
STRENGTH = 0.3
"""Correlation of the expected with the realised return: the oracle's information coefficient."""
EMBARGO_DAYS = 20
"""Trading days between training and validation, and between validation and test."""

CYCLE_PERIODS = (30.0, 12.0, 5.0, 2.5)
"""Frequency: period in days of each cycle of a wave."""
WAVE_BANDS = ((0, 1), (2, 3), (3, 0), (1, 2), (2, 0))
"""Frequency: for each wave, the predictive cycle when the dial is up, and when it is down."""
CYCLE_DECAY = 0.99
"""Frequency: decay of a cycle per day; sets the width of the bands."""
CYCLE_OTHERS = 2.5
"""Frequency: deviation of a wave's two cycles that are never predictive; the other two have deviation 1."""
CYCLE_NOISE = 1.0
"""Frequency: deviation of the noise added to the cycles."""
DIAL_DAYS = 500
"""Frequency: mean days before a stock's dial switches."""
ECHO_DAYS = 40
"""Temporal: trading days after which an event echoes in the return."""
GROUP_SIZE = 6
"""Neighbour: stocks that move together in a month."""
GROUP_SHARE = 0.8
"""Neighbour: share of a return's variance that is common to the group."""
REGIME_DAYS = 6
"""Regime: mean days before the regime switches."""


@dataclass(frozen=True)
class PlantedMarket:
    """A market and its expected returns.

    Attributes:
        name: of the market; a key of `MARKETS`.
        owner: switch of the network's part that should find the signal; None if no single part does.
        window: steps in a model's window.
        panel: normalised by day; one horizon, 1 day.
        statistics: each day's statistics before normalisation.
        graphs: monthly as-of snapshots from the correlations of returns.
        oracle: expected return, float64 `[days, stocks]`, mean 0 and deviation 1 by day; NaN where returns
            are unpredictable.
    """

    name: str
    owner: str | None
    window: int
    panel: Panel
    statistics: DayStatistics
    graphs: GraphSchedule
    oracle: Floats


@dataclass(frozen=True)
class _Signal:
    """Raw features by name, the expected return (any scale), and the returns for the graph."""

    features: dict[str, Floats]
    expected: Floats | None
    returns: Floats | None = None


@dataclass(frozen=True)
class Kind:
    """A market's signal, the switch of the part that should find it, and the steps of a window."""

    plant: Callable[[Floats, npt.NDArray[np.datetime64]], _Signal]
    owner: str | None
    window: int
    predictable: bool = True


def draw_shocks(seed: int, n_days: int = 640, n_stocks: int = 80) -> Floats:
    """Independent standard normal numbers, `[days, stocks, CHANNELS]`."""
    return np.random.default_rng(seed).standard_normal((n_days, n_stocks, CHANNELS))


def build_market(name: str, shocks: Floats, strength: float = STRENGTH) -> PlantedMarket:
    """Build a market.

    The return of the day after t is `strength * expected + sqrt(1 - strength^2) * noise`: the expected return
    standardised over the day's stocks, and a shock that enters no feature.

    Args:
        name: a key of `MARKETS`.
        shocks: from `draw_shocks`, `[days, stocks, CHANNELS]`.
        strength: correlation of the expected with the realised return, 0 to 1.

    Raises:
        KeyError: no such market.
    """
    kind = MARKETS[name]
    n_days, n_stocks, _ = shocks.shape
    dates = _weekdays(n_days)
    signal = kind.plant(shocks[:, :, 1:], dates)
    target = shocks[:, :, 0]
    oracle = np.full((n_days, n_stocks), np.nan)
    if signal.expected is not None:
        oracle = _by_day(signal.expected)
        target = strength * np.nan_to_num(oracle) + np.sqrt(1 - strength**2) * target
    features = dict(signal.features)
    for number in range(FEATURES - len(features)):
        features[f"noise_{number}"] = shocks[:, :, -1 - number]
    codes = tuple(f"{1000 + number}" for number in range(n_stocks))
    panel = Panel(
        dates=dates,
        codes=codes,
        features=tuple(features),
        values=np.stack(list(features.values()), axis=2).astype(np.float32),
        mask=np.ones((n_days, n_stocks), dtype=bool),
        targets=target[:, :, None].astype(np.float32),
        horizons=(1,),
    )
    returns = features["noise_0"] if signal.returns is None else signal.returns
    builder = FinancialGraphBuilder(
        correlation_window=20, max_edges_per_node=GROUP_SIZE - 1, min_edges_per_node=GROUP_SIZE - 1
    )
    graphs = GraphSchedule.build(dates, codes, returns, builder)
    statistics = PanelNormalizer(panel).statistics
    return PlantedMarket(name, kind.owner, kind.window, panel, statistics, graphs, oracle)


def split_days(n_days: int) -> tuple[range, range, range]:
    """Days of training, of validation (for the choice of the epoch) and of test, with embargoes between."""
    rest, test = split_tail(range(n_days), 0.2, EMBARGO_DAYS)
    train, validation = split_tail(rest, 0.16, EMBARGO_DAYS)
    return train, validation, test


def _frequency(shocks: Floats, dates: npt.NDArray[np.datetime64]) -> _Signal:
    """Each of five waves has four cycles; a stock's slow dial selects the predictive cycle of each wave.

    The expected return is the sum of the best estimates of those cycles' current values from the waves so
    far (steady-state Kalman filter), so that causal filters can recover it.
    """
    dial = _switching(shocks[:, :, 0], DIAL_DAYS)
    features = {"dial": dial + 0.5 * shocks[:, :, 1]}
    expected = np.zeros(dial.shape)
    for number, (high, low) in enumerate(WAVE_BANDS):
        own = shocks[:, :, 2 + 5 * number : 7 + 5 * number]
        wave = CYCLE_NOISE * own[:, :, -1]
        sizes = [1.0 if band in (high, low) else CYCLE_OTHERS for band in range(len(CYCLE_PERIODS))]
        for band, (period, size) in enumerate(zip(CYCLE_PERIODS, sizes, strict=True)):
            wave = wave + size * _cycle(own[:, :, band], period)
        estimates = _band_estimates(wave, sizes)
        expected += np.where(dial > 0, estimates[high], estimates[low])
        features[f"wave_{number}"] = wave
    return _Signal(features, expected)


def _temporal(shocks: Floats, dates: npt.NDArray[np.datetime64]) -> _Signal:
    """An event moves the stock again 40 trading days later, and on no other day."""
    event = shocks[:, :, 0]
    expected = np.full(event.shape, np.nan)
    expected[ECHO_DAYS:] = event[:-ECHO_DAYS]
    return _Signal({"event": event}, expected)


def _neighbour(shocks: Floats, dates: npt.NDArray[np.datetime64]) -> _Signal:
    """A stock follows today's move of last month's group.

    Groups are redrawn monthly, and a stock's own move follows its new group, so it predicts nothing.
    """
    n_days, n_stocks, _ = shocks.shape
    _, first_days, month = np.unique(dates.astype("datetime64[M]"), return_index=True, return_inverse=True)
    # Consecutive ranks of a shock on the month's first day form a group.
    groups = np.argsort(np.argsort(shocks[first_days, :, 0], axis=1), axis=1) // GROUP_SIZE
    returns = np.sqrt(1 - GROUP_SHARE) * shocks[:, :, 1]
    expected = np.full((n_days, n_stocks), np.nan)
    for day in range(n_days):
        current = groups[month[day]]
        returns[day] += np.sqrt(GROUP_SHARE) * shocks[day, current, 2]
        if month[day]:
            expected[day] = _mean_of_peers(returns[day], groups[month[day] - 1])
    return _Signal({"move": returns}, expected, returns)


def _regime(shocks: Floats, dates: npt.NDArray[np.datetime64]) -> _Signal:
    """A tilt pays in a calm market and costs in a stressed one; only raw dispersion shows the regime."""
    calm = _switching(shocks[:, :1, 0], REGIME_DAYS)
    tilt = shocks[:, :, 1]
    return _Signal({"tilt": tilt, "stress": shocks[:, :, 2] * np.exp(-0.4 * calm)}, calm * tilt)


def _level(shocks: Floats, dates: npt.NDArray[np.datetime64]) -> _Signal:
    """Only today's values: a threshold, a valley, and an interaction."""
    a, b, c, d = (shocks[:, :, number] for number in range(4))
    expected = 1.5 * (a > 0.7) + (np.abs(b) < 0.6) + 0.7 * np.sign(c) * np.clip(d, -1, 1)
    return _Signal({"threshold": a, "valley": b, "left": c, "right": d}, expected)


def _noise(shocks: Floats, dates: npt.NDArray[np.datetime64]) -> _Signal:
    """Nothing predicts."""
    return _Signal({}, None)


MARKETS = {
    "frequency": Kind(_frequency, "use_frequency_norm", 60),
    "temporal": Kind(_temporal, "use_temporal_attention", 50),
    "neighbour": Kind(_neighbour, "use_graph_attention", 12),
    "regime": Kind(_regime, "use_regime", 12),
    "level": Kind(_level, None, 12),
    "noise": Kind(_noise, None, 12, predictable=False),
}
"""Every market, in the order of the report."""


def _weekdays(n_days: int) -> npt.NDArray[np.datetime64]:
    """The first `n_days` weekdays of 2020 and later."""
    return np.busday_offset(np.datetime64("2020-01-01"), np.arange(n_days), roll="forward").astype(
        "datetime64[D]"
    )


def _by_day(values: Floats) -> Floats:
    """Scale to mean 0 and deviation 1 over each day's stocks."""
    centred = values - values.mean(axis=1, keepdims=True)
    result: Floats = centred / centred.std(axis=1, keepdims=True)
    return result


def _pole(period: float) -> tuple[complex, float]:
    """The rotation per day, and the size of a shock for a cycle of deviation 1."""
    pole = CYCLE_DECAY * np.exp(2j * np.pi / period)
    response = np.real(pole ** np.arange(2000))
    return complex(pole), float(1 / np.sqrt((response**2).sum()))


def _cycle(shocks: Floats, period: float) -> Floats:
    """A random cycle of deviation 1, `[days, stocks]`: the real part of a damped rotation."""
    pole, size = _pole(period)
    state = np.zeros(shocks.shape[1], dtype=np.complex128)
    values = np.empty_like(shocks)
    for day, shock in enumerate(shocks):
        state = pole * state + size * shock
        values[day] = state.real
    return values


def _band_estimates(wave: Floats, sizes: Sequence[float]) -> Floats:
    """Estimates of each cycle's current value from the wave up to that day, `[cycles, days, stocks]`.

    The steady-state Kalman filter of the cycles and the noise (Anderson and Moore, 1979, chapter 4).
    """
    size = 2 * len(CYCLE_PERIODS)
    turn, spread = np.zeros((size, size)), np.zeros((size, size))
    for number, (period, deviation) in enumerate(zip(CYCLE_PERIODS, sizes, strict=True)):
        pole, shock = _pole(period)
        own = slice(2 * number, 2 * number + 2)
        turn[own, own] = [[pole.real, -pole.imag], [pole.imag, pole.real]]
        spread[2 * number, 2 * number] = (deviation * shock) ** 2
    seen = np.zeros((1, size))
    seen[0, ::2] = 1
    noise = np.array([[CYCLE_NOISE**2]])
    ahead = solve_discrete_are(turn.T, seen.T, spread, noise)
    gain = ahead @ seen.T / (seen @ ahead @ seen.T + noise)
    state = np.zeros((size, wave.shape[1]))
    estimates = np.empty((len(CYCLE_PERIODS), *wave.shape))
    for day, value in enumerate(wave):
        state = turn @ state
        state = state + gain * (value - seen @ state)
        estimates[:, day] = state[::2]
    return estimates


def _switching(shocks: Floats, mean_days: float) -> Floats:
    """+1 or -1, changing sign after `mean_days` days on average; starts with the first shock's sign."""
    threshold = float(-ndtri(1 / mean_days))
    signs = np.where(shocks > threshold, -1.0, 1.0)
    signs[0] = np.where(shocks[0] > 0, 1.0, -1.0)
    result: Floats = signs.cumprod(axis=0)
    return result


def _mean_of_peers(moves: Floats, group: npt.NDArray[np.int64]) -> Floats:
    """Mean move of the others in each stock's group; 0 for a group of one."""
    count = np.bincount(group)
    total = np.bincount(group, moves)
    result: Floats = (total[group] - moves) / np.maximum(count[group] - 1, 1)
    return result
