"""The folds on one time axis, to scale: train, embargo, validation, embargo, test."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import pairwise
from typing import Any

PHASES = ("train", "validation", "test")


def timeline(folds: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each fold's phases and the embargoes between them, with their place on a common axis in percent.

    Args:
        folds: as the manifest has them: `fold`, `embargo_days`, and `_start` and `_end` of each phase; what
            is missing is left out.
    """
    spans = [(fold, list(_phases(fold))) for fold in folds]
    ends = [day for _, phases in spans for _, first, last in phases for day in (first, last)]
    if not ends:
        return
    start, length = min(ends), max((max(ends) - min(ends)).days, 1)
    for place, (fold, phases) in enumerate(spans):
        drawn: list[dict[str, Any]] = [
            {
                "name": name,
                "first": first,
                "last": last,
                "left": 100.0 * (first - start).days / length,
                "width": max(100.0 * (last - first).days / length, 0.4),
            }
            for name, first, last in phases
        ]
        gaps = [
            {
                "left": before["left"] + before["width"],
                "width": after["left"] - before["left"] - before["width"],
            }
            for before, after in pairwise(drawn)
        ]
        yield {
            "fold": fold.get("fold", place),
            "embargo_days": fold.get("embargo_days"),
            "phases": drawn,
            "gaps": [gap for gap in gaps if gap["width"] > 0],
        }


def years(folds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first of each January on the axis of `timeline`: `year`, and `left` in percent."""
    ends = [day for fold in folds for _, first, last in _phases(fold) for day in (first, last)]
    if not ends:
        return []
    start, length = min(ends), max((max(ends) - min(ends)).days, 1)
    marks = [date(year, 1, 1) for year in range(start.year, max(ends).year + 1)]
    return [
        {"year": mark.year, "left": 100.0 * (mark - start).days / length} for mark in marks if mark >= start
    ]


def _phases(fold: Mapping[str, Any]) -> Iterator[tuple[str, date, date]]:
    for name in PHASES:
        first, last = fold.get(f"{name}_start"), fold.get(f"{name}_end")
        if first and last:
            yield name, date.fromisoformat(str(first)[:10]), date.fromisoformat(str(last)[:10])
