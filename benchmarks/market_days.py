"""Day ranges of the real-market comparison, and its panel, which every training maps from disk.

Trains and scores nothing; `real_market.py` does.
"""

import json
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np

from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.panel import Panel
from gogooku3.features.build import build_dataset
from gogooku3.features.quality import QUALITY_FEATURES, normalize_with_quality
from gogooku3.files.atomic import write_text_atomic
from gogooku3.preprocessing.day_columns import DayStatistics
from gogooku3.schema import HORIZONS

EMBARGO_DAYS = 20


@dataclass(frozen=True)
class Setting:
    """First day of training, of validation and of test, and the last day of the test.

    Attributes:
        rolling: for an earlier validation year, also start training earlier.
        overrides: further settings of the run.
    """

    train: date
    validation: date
    test: date
    end: date
    rolling: bool = True
    overrides: tuple[str, ...] = ()

    def walked_back(self, year: int) -> "Setting":
        """The same setting with an earlier validation year and no test days."""
        earlier = self.validation.year - year
        if not earlier:
            return self
        train = self.train.replace(year=self.train.year - earlier) if self.rolling else self.train
        return replace(
            self, train=train, validation=date(year, 1, 1), test=date(year + 1, 1, 1), end=date(year, 12, 31)
        )

    def parts(self, dates: np.ndarray) -> dict[str, range]:
        """Days of training, validation and test; labels of each part close before the next part begins.

        Args:
            dates: trading days, ascending, `datetime64[D]`.
        """
        first = {
            name: int(np.searchsorted(dates, np.datetime64(getattr(self, name))))
            for name in ("train", "validation", "test")
        }
        end = int(np.searchsorted(dates, np.datetime64(self.end), side="right"))
        return {
            "train": range(first["train"], first["validation"] - EMBARGO_DAYS),
            "validation": range(first["validation"], first["test"] - EMBARGO_DAYS),
            "test": range(first["test"], end),
        }


SETTINGS = {
    "2013": Setting(date(2013, 1, 2), date(2016, 1, 4), date(2017, 1, 3), date(2017, 12, 8)),
    # Twice the days per epoch, so half the epochs for as many steps.
    "2010": Setting(
        date(2010, 1, 4),
        date(2016, 1, 4),
        date(2017, 1, 3),
        date(2017, 12, 8),
        rolling=False,
        overrides=("training.epochs=1", "scheduler.T_max=1"),
    ),
}
"""By the first year of training."""


class Market:
    """The normalised panel of a price file, built once and mapped from disk by every training.

    Args:
        out: folder that `make` filled.
    """

    def __init__(self, out: Path) -> None:
        self.folder = out / "panel"
        self.panel: Panel = self._panel()

    @staticmethod
    def make(prices: Path, out: Path) -> None:
        """Build the data set and its normalised panel in `out`, unless it exists."""
        folder = out / "panel"
        if (folder / "meta.json").is_file():
            return
        data_set = out / "ml_dataset_full.parquet"
        if not data_set.is_file():
            print("building the data set ...", flush=True)
            build_dataset(prices, data_set)
        loader = ProductionDatasetV3(data_set)
        frame, names = loader.load_data(), loader.feature_names
        panel = Panel.from_frame(frame, names, HORIZONS, reserve=tuple(QUALITY_FEATURES))
        del frame
        returns = panel.values[:, :, panel.feature_index("ret_1d")].copy()
        normalizer = normalize_with_quality(panel)
        normalizer.fit_fold(range(EMBARGO_DAYS * 12))
        folder.mkdir(parents=True, exist_ok=True)
        statistics = normalizer.statistics
        arrays = {
            "values": panel.values,
            "mask": panel.mask,
            "targets": panel.targets,
            "dates": panel.dates,
            "returns": returns,
            "count": statistics.count,
            "mean": statistics.mean,
            "variance": statistics.variance,
        }
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        meta = {"codes": list(panel.codes), "features": list(panel.features)}
        write_text_atomic(folder / "meta.json", json.dumps(meta))

    def _panel(self) -> Panel:
        meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
        return Panel(
            dates=self.array("dates"),
            codes=tuple(meta["codes"]),
            features=tuple(meta["features"]),
            values=self.array("values"),
            mask=self.array("mask"),
            targets=self.array("targets"),
            horizons=HORIZONS,
        )

    def array(self, name: str) -> np.ndarray:
        """An array of the folder, shared between processes; changes stay private to the process."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="c")

    @cached_property
    def statistics(self) -> DayStatistics:
        """Each day's statistics of each feature before normalisation."""
        return DayStatistics(self.array("count"), self.array("mean"), self.array("variance"))
