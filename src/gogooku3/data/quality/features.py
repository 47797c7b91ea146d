"""A data set's columns against each other: copies of a target, absurd returns, features that say the same."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from gogooku3.config.quality import ColumnRules
from gogooku3.data.quality.problem import EXAMPLES, Problem, at_rows, problem
from gogooku3.data.target_leaks import copies_in, correlate
from gogooku3.schema import DATE

LEAST_SHARE = 0.1
"""Two features known together on a smaller share of the rows compared are not judged."""


def absurd_returns(frame: pl.DataFrame, targets: Sequence[str], rules: ColumnRules) -> Iterator[Problem]:
    """Forward returns that no market gives."""
    for target in targets:
        absurd = (frame[target] > rules.largest_return) | (frame[target] < -1)
        advice = "check the prices for bad ticks and splits without adjustment"
        yield from at_rows("absurd_return", frame, absurd, target, advice)


def copy_problems(frame: pl.DataFrame, features: Sequence[str], targets: Sequence[str]) -> Iterator[Problem]:
    """Features that follow a target as only a copy can."""
    frame = frame.filter(pl.col(DATE).is_not_null())
    for copy in copies_in(frame, frame[DATE], features, targets):
        both = frame[copy.feature].is_not_null() & frame[copy.target].is_not_null()
        check = f"follows {copy.target}, rank correlation {copy.correlation:.2f}"
        advice = "this is the future itself: remove it"
        yield from at_rows("target_copy", frame, both, copy.feature, advice, check)


def collinear_problems(frame: pl.DataFrame, features: Sequence[str], rules: ColumnRules) -> Iterator[Problem]:
    """Groups of features whose ranks over all rows are nearly the same, or nearly opposite.

    Compared on a sample of rows. A group is what pairs link together, so its ends may agree less.
    """
    numbers = _correlations(frame, features, rules.sample_rows)
    linked = np.nan_to_num(np.abs(numbers)) >= rules.correlation
    for group in _groups(linked):
        pairs = [(abs(numbers[a, b]), a, b) for a in group for b in group if a < b and linked[a, b]]
        examples = [
            {"feature": features[a], "and": features[b], "value": round(float(numbers[a, b]), 4)}
            for _, a, b in sorted(pairs, reverse=True)[:EXAMPLES]
        ]
        names = [features[place] for place in group]
        check = f"{len(group)} features that say the same (|rank correlation| from {rules.correlation:g})"
        advice = "harmless to trees, a waste of width to the network: keep one"
        yield problem("collinear", ", ".join(names), len(group), advice, *examples, check=check)


def _correlations(frame: pl.DataFrame, features: Sequence[str], rows: int) -> np.ndarray:
    """Rank correlation of every pair over the sampled rows where both are known; NaN where not defined."""
    if not features or frame.is_empty():
        return np.empty((0, 0))
    sample = frame.select(features).gather_every(max(1, -(-frame.height // rows)))
    ranks = sample.select(pl.col(name).fill_nan(None).rank() for name in features).to_numpy().astype(float)
    numbers, pairs = correlate(ranks, ranks)
    return np.where(pairs >= max(3, LEAST_SHARE * sample.height), numbers, np.nan)


def _groups(linked: np.ndarray) -> Iterator[list[int]]:
    """Sets of two and more that links join, each ascending.

    >>> list(_groups(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], bool)))
    [[0, 2]]
    """
    left = set(range(len(linked)))
    while left:
        group, edge = set(), {min(left)}
        while edge:
            group |= edge
            edge = {int(place) for place in np.flatnonzero(linked[sorted(edge)].any(axis=0))} - group
        left -= group
        if len(group) > 1:
            yield sorted(group)
