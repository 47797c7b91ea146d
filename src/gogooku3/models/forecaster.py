"""The interface of every model: learn from one fold's training days, predict its test days, save, load."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import polars as pl

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.preprocessing.labels import LabelTreatment

NETWORK, LIGHTGBM, LINEAR = "atft_gat_fan", "lightgbm", "linear"
"""Names of the models in prediction tables, scores and folders."""


@dataclass(frozen=True)
class FoldData:
    """One walk-forward fold over the shared panel. Models read it and never write to it.

    Attributes:
        number: of the fold, from 0.
        panel: normalised; shared by all folds.
        sequence_length: days of a window. A row is a sample if its whole window is inside the panel.
        train: all training days.
        fit, validation: the training days in two parts with an embargo between them; the later part only
            chooses the epoch or the number of trees.
        test: days to predict. Models must not read their targets.
        market: float32 `[days, market_dim]`, market state by day; None if unused.
        schedule: monthly as-of graphs of the panel; None without a graph.
        returns: raw one-day returns `[days, stocks]` that graphs are built from; None without a graph.
        state: JSON values saved with a network: everything else that predicting another day needs.
        sectors: sector by code, for pictures only; empty if unknown.
    """

    number: int
    panel: Panel
    sequence_length: int
    train: range
    fit: range
    validation: range
    test: range
    market: np.ndarray | None = None
    schedule: GraphSchedule | None = None
    returns: np.ndarray | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    sectors: Mapping[str, str] = field(default_factory=dict)

    def slice(self, days: range) -> PanelSlice:
        """Some days of the panel."""
        return PanelSlice(self.panel, days)


@dataclass(frozen=True)
class Workspace:
    """What a fit may use while it runs.

    Attributes:
        folder: the fit's own, for checkpoints and logs.
        say, warn: print a line for the user.
        stop: a `training.stop_signals.StopSignals`, checked by models that train for long; None: never stop.
    """

    folder: Path
    say: Callable[[str], None] = print
    warn: Callable[[str], None] = print
    stop: Any = None


class Forecaster(Protocol):
    """One model of one fold.

    Attributes:
        name: the model's name in prediction tables, scores and folders.
        label: treatment of a day's targets before training.
        collapse_advice: settings to try when predictions hardly differ within a day.
    """

    name: ClassVar[str]
    collapse_advice: ClassVar[str]
    label: LabelTreatment

    def fit(self, fold: FoldData, workspace: Workspace) -> None:
        """Learn from `fold.fit` and `fold.validation`.

        Raises:
            DataError: these days hold nothing to learn from.
            Interrupted: a signal came; finished work stays in the workspace.
        """

    def predict(self, fold: FoldData) -> pl.DataFrame:
        """Predict the test days: `date, code, prediction_{h}d` (Float32), by date, then code."""

    def save(self, folder: Path) -> list[Path]:
        """Write what `load` needs; return every file that belongs to the finished model."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a saved model.

        Raises:
            DataError: a file is missing or damaged.
        """


def prediction_frame(data: PanelSlice, sequence_length: int, scores: np.ndarray) -> pl.DataFrame:
    """Scores as a table `date, code, prediction_{h}d`.

    Args:
        data: days that were predicted.
        sequence_length: days of a window.
        scores: `[samples, horizons]`, in the order of `data.rows(sequence_length)`.
    """
    keys = data.keys(sequence_length)
    return keys.with_columns(
        pl.Series(f"prediction_{horizon}d", scores[:, position].astype(np.float32, copy=False))
        for position, horizon in enumerate(data.panel.horizons)
    )
