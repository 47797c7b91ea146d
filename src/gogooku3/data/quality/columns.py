"""Checks of numeric columns: values within one column, target leaks and nearly identical features."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from gogooku3.config.quality import ColumnRules
from gogooku3.data.quality.problem import EXAMPLES, Problem, problem, problem_at
from gogooku3.data.target_leaks import copies_in, correlate, future_names
from gogooku3.schema import DATE

MIN_SHARE = 0.1
"""Share of the sampled rows in which both features must be known for them to be compared."""


def missing_shares(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Share of null and NaN per column."""
    rows = max(frame.height, 1)
    return {name: frame[name].fill_nan(None).null_count() / rows for name in names}


def value_problems(
    frame: pl.DataFrame, names: Sequence[str], role: str, rules: ColumnRules
) -> Iterator[Problem]:
    """Problems of the values of numeric columns, from one pass over each.

    `role` is price, feature or target; `target_problems` checks if a target can be learned.
    """
    if not names:
        return
    floats = [name for name in names if frame.schema[name].is_float()]
    extremes = frame.select(
        *(pl.col(name).min().alias(f"min {name}") for name in names),
        *(pl.col(name).max().alias(f"max {name}") for name in names),
        *(pl.col(name).is_nan().any().alias(f"nan {name}") for name in floats),
    ).row(0, named=True)
    for name in names:
        column, low, high = frame[name], extremes[f"min {name}"], extremes[f"max {name}"]
        if name in floats and extremes[f"nan {name}"]:
            yield from problem_at("nan", frame, column.is_nan(), name)
        if low is None or math.isnan(low):
            if role != "target":
                check = "no_values" if name == "close" else "empty_column"
                yield problem(check, name, frame.height, rows=frame.height)
            continue
        if role != "target":
            if math.isinf(low) or math.isinf(high):
                yield from problem_at("infinite", frame, column.is_infinite(), name)
            elif role == "feature" and max(-low, high) > rules.largest_value:
                yield from problem_at("huge_value", frame, column.abs() > rules.largest_value, name)
            if low == high:
                check = f"constant (always {low})"
                yield problem("constant", name, frame.height, check=check, rows=frame.height)
        share = column.null_count() / frame.height
        if share > rules.null_share:
            yield from problem_at("mostly_null", frame, column.is_null(), name, f"{share:.0%} null")


def absurd_returns(frame: pl.DataFrame, targets: Sequence[str], rules: ColumnRules) -> Iterator[Problem]:
    """Problems of forward returns that no market gives."""
    for target in targets:
        absurd = (frame[target] > rules.largest_return) | (frame[target] < -1)
        yield from problem_at("absurd_return", frame, absurd, target)


def copy_problems(frame: pl.DataFrame, features: Sequence[str], targets: Sequence[str]) -> Iterator[Problem]:
    """Problems of features that follow a target more closely than a forecast can, or have such a name."""
    frame = frame.filter(pl.col(DATE).is_not_null())
    for copy in copies_in(frame, features, targets):
        both = frame[copy.feature].is_not_null()
        if copy.target in targets:
            both &= frame[copy.target].is_not_null()
        subject = "its change follows" if copy.is_change else "follows"
        check = f"{subject} {copy.target}, rank correlation {copy.correlation:.2f}"
        name = "target_copy" if copy.is_refused else "follows_target"
        yield from problem_at(name, frame, both, copy.feature, check)
    for feature in future_names(features):
        yield problem("future_name", feature, frame.height, rows=frame.height)


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
