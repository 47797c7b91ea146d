"""The four planted signals of the embedded market. Each is linear in a slow trait or in past *moves* (returns
beyond market and sector, over a stock's usual daily volatility), so a recursion gives every forecast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

KINDS = ("temporal", "frequency", "neighbour", "cross_sectional")
"""Planted kinds of predictability, in the order of every `kind` axis."""
ECHO_LAGS = (3, 4, 5)
"""Temporal: a move echoes on the 3rd to 5th trading day after it."""
BAND_PERIOD = 20.0
"""Frequency: period of the resonance in trading days (3 cycles in a 60-day window)."""
BAND_DECAY = 0.92
"""Frequency: share of the resonance that is left after a day; sets the width of the band."""
PEER_DECAY = 0.5
"""Neighbour: weight of the peers' move per further day back."""
SLOW_HALF_LIFE = 60.0
"""Cross-sectional: trading days in which a stock's volatility reverts half-way to its level."""
SLOW_DECAY = 0.5 ** (1.0 / SLOW_HALF_LIFE)

_POLE = BAND_DECAY * np.exp(2j * np.pi / BAND_PERIOD)
_BAND_NORM = float(np.sqrt(np.sum(np.real(_POLE ** np.arange(1, 500)) ** 2)))


@dataclass(frozen=True)
class SignalState:
    """Memory of the signals at a close; `...` is empty or a day axis, S the stocks.

    moves: `[5, ..., S]`, the latest first, in units of the stock's usual volatility.
    band: `[..., S]` complex, the resonance.
    peers: `[..., S]`, the decayed sum of the peers' mean moves.
    slow: `[..., S]`, the standardised log volatility.
    """

    moves: FloatArray
    band: ComplexArray
    peers: FloatArray
    slow: FloatArray


@dataclass(frozen=True)
class PlantedSignals:
    """Expected relative returns by kind, from what is known at a close.

    A strength is, to first order, the correlation of that kind's part with the stock's relative return of the
    next day; every filter below has unit variance on independent unit moves.

    strengths: one per kind, without unit.
    volatility: `[S]`, usual daily volatility beyond market and sector, as a fraction.
    typical_volatility: its median over the market, the scale of the cross-sectional part.
    slow_level: `[S]`, the level to which the slow trait reverts.
    group: `[S]` of int, ascending: peers share a number.
    peer_correlation: of two peers' moves on the same day; sets the scale of the neighbour filter.
    """

    strengths: Mapping[str, float]
    volatility: FloatArray
    typical_volatility: float
    slow_level: FloatArray
    group: npt.NDArray[np.int64]
    peer_correlation: float

    @cached_property
    def _peers(self) -> FloatArray:
        """Number of peers, `[S]`; 1 for a stock without any."""
        return np.maximum(np.bincount(self.group)[self.group] - 1, 1).astype(np.float64)

    def start(self) -> SignalState:
        """State before the first day: no moves, every slow trait at its level."""
        nothing = np.zeros(len(self.volatility))
        moves = np.zeros((max(ECHO_LAGS), len(nothing)))
        return SignalState(moves, nothing.astype(np.complex128), nothing, self.slow_level)

    def expected(self, state: SignalState) -> FloatArray:
        """Expected relative return of the next day by kind, `[4, ..., S]`, as a fraction.

            temporal         s * v * (m[t-2] + m[t-3] + m[t-4]) / sqrt(3)
            frequency        s * v * sum_l d^l cos(2 pi l / period) m[t+1-l] / norm,  l >= 1
            neighbour        s * v * sum_l 0.5^(l-1) peers' mean m[t+1-l] / norm
            cross-sectional  -s * v_typical * slow[t]

        with moves m, strength s, volatility v and band decay d; the day after t is t+1.
        """
        echo = sum(state.moves[lag - 1] for lag in ECHO_LAGS) / np.sqrt(len(ECHO_LAGS))
        parts = {
            "temporal": self.volatility * echo,
            "frequency": self.volatility * np.real(_POLE * state.band) / _BAND_NORM,
            "neighbour": self.volatility * state.peers / peer_norm(self._peers, self.peer_correlation),
            "cross_sectional": -self.typical_volatility * state.slow,
        }
        return np.stack([self.strengths[kind] * parts[kind] for kind in KINDS])

    def advance(self, state: SignalState, move: FloatArray, slow: FloatArray) -> SignalState:
        """State of the next day, after `move` and with the new `slow` trait, both `[..., S]`."""
        sums = np.add.reduceat(move, np.flatnonzero(np.diff(self.group, prepend=-1)), axis=-1)
        mean_of_peers = (sums[..., self.group] - move) / self._peers
        return SignalState(
            moves=np.concatenate([move[None], state.moves[:-1]]),
            band=_POLE * state.band + move,
            peers=PEER_DECAY * state.peers + mean_of_peers,
            slow=slow,
        )

    def forecast(self, state: SignalState, horizons: Sequence[int]) -> FloatArray:
        """Expected relative return over each horizon by kind, `[H, 4, ..., S]`, as a fraction.

        Runs the recursion ahead with zero shocks and sums the days. A kind's part is the sum of its own
        term, so the kinds sum to the total. Exact for summed returns; compounding adds products of daily
        returns, which matter from about 20 days.
        """
        total = np.zeros((len(KINDS), *state.slow.shape))
        by_horizon = {}
        for step in range(1, max(horizons) + 1):
            parts = self.expected(state)
            total += parts
            if step in horizons:
                by_horizon[step] = total.copy()
            slow = self.slow_level + SLOW_DECAY * (state.slow - self.slow_level)
            state = self.advance(state, parts.sum(axis=0) / self.volatility, slow)
        return np.stack([by_horizon[horizon] for horizon in horizons])


def peer_norm(others: FloatArray | float, peer_correlation: float) -> FloatArray:
    """Standard deviation of the decayed mean move of `others` peers, for moves of unit variance."""
    variance = peer_correlation + (1.0 - peer_correlation) / np.asarray(others)
    return np.sqrt(variance / (1.0 - PEER_DECAY**2))


def loop_gain(strengths: Mapping[str, float], group_size: int, peer_correlation: float) -> float:
    """Largest amplification, over all frequencies, of a move by the signals that follow it.

    Below one, echoes of moves die away for any shocks (small-gain theorem).

    >>> loop_gain(dict.fromkeys(KINDS, 0.0), group_size=6, peer_correlation=0.5)
    0.0
    """
    lags = np.arange(1, 200)
    echo = np.isin(lags, ECHO_LAGS) / np.sqrt(len(ECHO_LAGS))
    band = np.real(_POLE**lags) / _BAND_NORM
    peers = PEER_DECAY ** (lags - 1) / peer_norm(max(group_size - 1.0, 1.0), peer_correlation)
    waves = np.exp(-1j * np.outer(np.linspace(0.0, np.pi, 300), lags))
    kernels = {"temporal": echo, "frequency": band, "neighbour": peers}
    return float(np.max(sum(strengths[kind] * np.abs(waves @ kernel) for kind, kernel in kernels.items())))
