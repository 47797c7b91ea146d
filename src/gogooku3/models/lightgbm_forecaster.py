"""LightGBM as a forecaster: one booster per horizon."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from gogooku3.errors import DataError
from gogooku3.files.atomic import atomic_path
from gogooku3.models.forecaster import LIGHTGBM, FoldData, Workspace
from gogooku3.models.lightgbm_baseline import LightGBMFinancialBaseline, predict_rows
from gogooku3.models.saving import load_trees, save_trees

if TYPE_CHECKING:
    # Only for the annotation: `predict` starts without the configuration.
    from gogooku3.config import RunConfig

IMPORTANCE = "importance.parquet"
"""Share of the gain of each feature: `feature, horizon, importance`."""


class LightGBMForecaster:
    """Boosted trees with the settings of the group `lightgbm`.

    Args:
        config: of the run.
        seed: of LightGBM's row and feature sampling.
    """

    name: ClassVar[str] = LIGHTGBM
    collapse_advice: ClassVar[str] = "a lower lightgbm.min_data_in_leaf, or more lightgbm.num_boost_round"

    def __init__(self, config: "RunConfig", seed: int) -> None:
        self.label = config.lightgbm.label
        self._baseline = LightGBMFinancialBaseline(
            config.time_series.prediction_horizons,
            config.split.embargo_days,
            parameters=config.lightgbm.model_dump(exclude={"label"}),
            label=config.lightgbm.label,
            validation_fraction=config.training.validation_fraction,
            sequence_length=config.time_series.sequence_length,
            seed=seed,
        )
        self.boosters: dict[int, Any] = {}

    def fit(self, fold: FoldData, workspace: Workspace) -> None:
        """Boost all horizons; see `LightGBMFinancialBaseline.fit`."""
        self.boosters = self._baseline.fit(fold.slice(fold.train)).boosters

    def predict(self, fold: FoldData) -> pl.DataFrame:
        """Predict the test days."""
        return predict_rows(self.boosters, fold.slice(fold.test), fold.sequence_length)

    def save(self, folder: Path) -> list[Path]:
        """Write `lightgbm_{h}d.txt` (LightGBM's text with a checksum) and the features' importance."""
        trees = [save_trees(folder / f"lightgbm_{h}d.txt", each) for h, each in self.boosters.items()]
        with atomic_path(folder / IMPORTANCE) as temporary:
            self._baseline.feature_importance().write_parquet(temporary, compression="zstd")
        return [*trees, folder / IMPORTANCE]

    @classmethod
    def load(cls, folder: Path) -> "LightGBMForecaster":
        """Read the boosters; `fit` needs a forecaster made from a configuration.

        Raises:
            DataError: no booster there, or a damaged one.
        """
        paths = {
            int(path.stem.removeprefix("lightgbm_").removesuffix("d")): path
            for path in folder.glob("lightgbm_*d.txt")
        }
        if not paths:
            raise DataError(f"{folder} holds no lightgbm_{{h}}d.txt; name the folder of a trained LightGBM")
        loaded = cls.__new__(cls)
        loaded.boosters = {horizon: load_trees(path) for horizon, path in sorted(paths.items())}
        return loaded
