"""Folds on one time axis, to scale: train, embargo, validation, embargo, test."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

PHASES = ("train", "validation", "test")


def fold_timeline(folds: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Phases of each fold and the embargoes between them, with positions on a common axis in percent.

    Reads the manifest's `fold`, `embargo_days`, and `_start` and `_end` of each phase; skips missing phases.
    """
    axis = _axis(folds)
    if axis is None:
        return
    start, length = axis
    for index, fold in enumerate(folds):
        phases: list[dict[str, Any]] = [
            {
                "name": name,
                "first": first,
                "last": last,
                "left": 100.0 * (first - start).days / length,
                "width": max(100.0 * (last - first).days / length, 0.4),
            }
            for name, first, last in _phases(fold)
        ]
        ends = [(before["left"] + before["width"], after["left"]) for before, after in pairwise(phases)]
        yield {
            "fold": fold.get("fold", index),
            "embargo_days": fold.get("embargo_days"),
            "phases": phases,
            "gaps": [{"left": left, "width": right - left} for left, right in ends if right > left],
        }


def years(folds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """First day of each calendar year on the axis of `fold_timeline`: `year`, and `left` in percent."""
    axis = _axis(folds)
    if axis is None:
        return []
    start, length = axis
    marks = [date(year, 1, 1) for year in range(start.year, (start + timedelta(length)).year + 1)]
    return [
        {"year": mark.year, "left": 100.0 * (mark - start).days / length} for mark in marks if mark >= start
    ]


def _axis(folds: Sequence[Mapping[str, Any]]) -> tuple[date, int] | None:
    """First day of all folds, and the number of days to the last; None without any phase."""
    days = [day for fold in folds for _, first, last in _phases(fold) for day in (first, last)]
    return (min(days), max((max(days) - min(days)).days, 1)) if days else None


def _phases(fold: Mapping[str, Any]) -> Iterator[tuple[str, date, date]]:
    for name in PHASES:
        first, last = fold.get(f"{name}_start"), fold.get(f"{name}_end")
        if first and last:
            yield name, date.fromisoformat(str(first)[:10]), date.fromisoformat(str(last)[:10])
