"""Ridge regression of the labels on today's features: the network's linear path as a model of its own.

The network starts from this solution and learns the rest, so their scores show what training added.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gogooku3.data.panel import Panel
from gogooku3.errors import DataError
from gogooku3.files.atomic import atomic_path
from gogooku3.files.tables import read_table
from gogooku3.models.forecaster import LINEAR, FoldData, Workspace, prediction_frame
from gogooku3.models.linear_path import LinearPath
from gogooku3.preprocessing.labels import treat_labels

if TYPE_CHECKING:
    # Only for the annotation: `predict` starts without the configuration.
    from gogooku3.config import RunConfig

WEIGHTS = "weights.parquet"
"""One row per feature: `feature`, and `weight_{h}d` per horizon."""


class LinearForecaster:
    """`x W` on the day's normalised features.

    `W` is solved in closed form on `fold.fit` and `fold.validation`, with `training.linear_penalty` and
    `training.label`; see `LinearPath`.

    Args:
        config: of the run.
        seed: unused; the solution is exact.
    """

    name: ClassVar[str] = LINEAR
    collapse_advice: ClassVar[str] = "a lower training.linear_penalty"

    def __init__(self, config: "RunConfig", seed: int = 0) -> None:
        self.label = config.training.label
        self.penalty = config.training.linear_penalty or 0.0
        self.weights = pl.DataFrame()

    def fit(self, fold: FoldData, workspace: Workspace) -> None:
        """Solve for the weights."""
        panel = fold.panel
        path = LinearPath(len(panel.features), len(panel.horizons))
        path.solve(chain(self._days(fold, fold.fit), self._days(fold, fold.validation)), self.penalty)
        columns = {f"weight_{h}d": path.weight[:, place].numpy() for place, h in enumerate(panel.horizons)}
        self.weights = pl.DataFrame({"feature": panel.features, **columns})

    def predict(self, fold: FoldData) -> pl.DataFrame:
        """Predict the test days; raises as `scores`."""
        test = fold.slice(fold.test)
        scores = self.scores(fold.panel, *test.rows(fold.sequence_length))
        return prediction_frame(test, fold.sequence_length, scores)

    def scores(self, panel: Panel, day: np.ndarray, stock: np.ndarray) -> np.ndarray:
        """Predictions `[rows, horizons]`, float32, of some cells of a panel.

        Raises:
            DataError: the panel has other features than the weights.
        """
        if tuple(self.weights["feature"]) != panel.features:
            raise DataError(
                f"the linear model was fitted on {self.weights.height} features, and the panel has "
                f"{len(panel.features)} others; bring the same features in the same order"
            )
        weight = self.weights.drop("feature").to_numpy().astype(np.float32)
        scores: np.ndarray = panel.values[day, stock] @ weight
        return scores

    def save(self, folder: Path) -> list[Path]:
        """Write `weights.parquet`."""
        with atomic_path(folder / WEIGHTS) as temporary:
            self.weights.write_parquet(temporary, compression="zstd")
        return [folder / WEIGHTS]

    @classmethod
    def load(cls, folder: Path) -> "LinearForecaster":
        """Read the weights; `fit` needs a forecaster made from a configuration."""
        loaded = cls.__new__(cls)
        loaded.weights = read_table(folder / WEIGHTS)
        return loaded

    def _days(self, fold: FoldData, days: range) -> Iterator[tuple[Tensor, Tensor]]:
        """Features and labels of each day's samples."""
        panel = fold.panel
        samples = panel.sample_mask(fold.sequence_length)[days.start : days.stop]
        labels = treat_labels(panel.targets[days.start : days.stop], self.label)
        for day in np.flatnonzero(samples.any(axis=1)):
            stocks = np.flatnonzero(samples[day])
            x = torch.from_numpy(panel.values[days.start + day, stocks])
            yield x, torch.from_numpy(labels[day, stocks])
