"""Checks between columns of a data set: target leaks, implausible returns, nearly identical features."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from gogooku3.config.quality import ColumnRules
from gogooku3.data.quality.problem import EXAMPLES, Problem, problem, problem_at
from gogooku3.data.target_leaks import copies_in, correlate
from gogooku3.schema import DATE

MIN_SHARE = 0.1
"""Share of the sampled rows in which both features must be known for them to be compared."""


def absurd_returns(frame: pl.DataFrame, targets: Sequence[str], rules: ColumnRules) -> Iterator[Problem]:
    """Problems of forward returns that no market gives."""
    for target in targets:
        absurd = (frame[target] > rules.largest_return) | (frame[target] < -1)
        yield from problem_at("absurd_return", frame, absurd, target)


def copy_problems(frame: pl.DataFrame, features: Sequence[str], targets: Sequence[str]) -> Iterator[Problem]:
    """Problems of features that follow a target as only a copy can."""
    frame = frame.filter(pl.col(DATE).is_not_null())
    for copy in copies_in(frame, frame[DATE], features, targets):
        both = frame[copy.feature].is_not_null() & frame[copy.target].is_not_null()
        check = f"follows {copy.target}, rank correlation {copy.correlation:.2f}"
        yield from problem_at("target_copy", frame, both, copy.feature, check)


def collinear_problems(frame: pl.DataFrame, features: Sequence[str], rules: ColumnRules) -> Iterator[Problem]:
    """Problems of groups of features whose ranks are nearly the same, or nearly opposite.

    Compared on a sample of rows. Pairs link a group together, so two of its members may agree less.
    """
    correlations = _correlations(frame, features, rules.sample_rows)
    linked = np.nan_to_num(np.abs(correlations)) >= rules.correlation
    for group in _groups(linked):
        pairs = [(abs(correlations[a, b]), a, b) for a in group for b in group if a < b and linked[a, b]]
        examples = [
            {"feature": features[a], "and": features[b], "value": round(float(correlations[a, b]), 4)}
            for _, a, b in sorted(pairs, reverse=True)[:EXAMPLES]
        ]
        names = ", ".join(features[index] for index in group)
        check = f"{len(group)} nearly identical features (|rank correlation| from {rules.correlation:g})"
        yield problem("collinear", names, len(group), examples=examples, check=check)


def _correlations(frame: pl.DataFrame, features: Sequence[str], rows: int) -> np.ndarray:
    """Rank correlation of every pair over the sampled rows where both are known; NaN if undefined."""
    if not features or frame.is_empty():
        return np.empty((0, 0))
    sample = frame.select(features).gather_every(max(1, -(-frame.height // rows)))
    ranks = sample.select(pl.col(name).fill_nan(None).rank() for name in features).to_numpy().astype(float)
    correlations, pairs = correlate(ranks, ranks)
    return np.where(pairs >= max(3, MIN_SHARE * sample.height), correlations, np.nan)


def _groups(linked: np.ndarray) -> Iterator[list[int]]:
    """Connected components with two or more members, each ascending.

    >>> list(_groups(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], bool)))
    [[0, 2]]
    """
    left = set(range(len(linked)))
    while left:
        group, edge = set(), {min(left)}
        while edge:
            group |= edge
            edge = {int(index) for index in np.flatnonzero(linked[sorted(edge)].any(axis=0))} - group
        left -= group
        if len(group) > 1:
            yield sorted(group)
