"""How often do the 95 % intervals contain the truth, in simulated markets where it is known?

Two signals of equal strength forecast the returns of 40 stocks. They are independent from day to day, or
have an autocorrelation of 0.95, and in regimes are absent and strong in turns, for 60 days on average. The
daily ICs of each with the returns over h days give an interval, and their difference another; the truth is
the mean over all worlds. `plain` are intervals from independent days.

    python benchmarks/interval_coverage.py
"""

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gogooku3.evaluation.significance import mean_test, paired_difference

Floats = NDArray[np.float64]

HORIZONS = (1, 5, 20)
N_STOCKS, STRENGTH = 40, 0.05
PERSISTENCE, REGIME_DAYS = 0.95, 60
WORLDS = ("independent signals", "persistent signals", "persistent signals in regimes")


def signals(world: str, n_days: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Two standardised signals `[2, days, stocks]`, and their strength `[days]`."""
    noise = rng.normal(size=(2, n_days, N_STOCKS))
    if world != WORLDS[0]:
        for day in range(1, n_days):
            noise[:, day] = PERSISTENCE * noise[:, day - 1] + np.sqrt(1 - PERSISTENCE**2) * noise[:, day]
    strength = np.full(n_days, STRENGTH)
    if world == WORLDS[2]:
        switches = rng.random(n_days) < 1 / REGIME_DAYS
        strength *= 2 * ((switches.cumsum() + rng.integers(2)) % 2)
    return noise, strength


def daily_ics(world: str, n_days: int, seed: int) -> dict[int, Floats]:
    """Daily ICs of both signals `[2, days]` by horizon."""
    rng = np.random.default_rng(seed)
    total = n_days + max(HORIZONS)
    values, strength = signals(world, total, rng)
    returns = strength[:, None] * values.sum(axis=0) + rng.normal(size=(total, N_STOCKS))
    cumulative = np.concatenate([np.zeros((1, N_STOCKS)), returns.cumsum(axis=0)])
    ics = {}
    for horizon in HORIZONS:
        target = cumulative[horizon : horizon + n_days] - cumulative[:n_days]
        ics[horizon] = np.stack([_correlations(signal[:n_days], target) for signal in values])
    return ics


def _correlations(left: Floats, right: Floats) -> Floats:
    """Correlation of each row."""
    x, y = (values - values.mean(axis=1, keepdims=True) for values in (left, right))
    return (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))


def coverage(world: str, n_days: int, n_worlds: int) -> Iterator[tuple[int, float, float, float]]:
    """By horizon: share of worlds whose interval has the truth, plain and ours, and false differences."""
    worlds = [daily_ics(world, n_days, seed) for seed in range(n_worlds)]
    for horizon in HORIZONS:
        truth = np.mean([ics[horizon] for ics in worlds])
        plain, ours, different = [], [], []
        for ics in worlds:
            first, second = ics[horizon]
            error = first.std(ddof=1) / np.sqrt(n_days)
            plain.append(abs(first.mean() - truth) <= stats.norm.ppf(0.975) * error)
            low, high = mean_test(first, horizon).interval
            ours.append(low <= truth <= high)
            low, high = paired_difference(first, second, horizon).interval
            different.append(low > 0 or high < 0)
        yield horizon, float(np.mean(plain)), float(np.mean(ours)), float(np.mean(different))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--worlds", type=int, default=1000, help="simulated worlds per row")
    parser.add_argument("--days", type=int, nargs="+", default=[250, 500, 1500], help="days of a world")
    arguments = parser.parse_args()
    print("| world | days | horizon | plain | 95 % interval covers | equal models called different |")
    print("|---|---|---|---|---|---|")
    for world in WORLDS:
        for n_days in arguments.days:
            for horizon, *shares in coverage(world, n_days, arguments.worlds):
                cells = " | ".join(f"{share:.1%}" for share in shares)
                print(f"| {world} | {n_days} | {horizon} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
