"""What a trained fold needs of a data set, as it lies in a run folder. It loads no models, and no torch."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.data.feature_file import FeatureFile
from gogooku3.errors import DataError, GogookuError
from gogooku3.features.quality import QUALITY_FEATURES
from gogooku3.files.tables import read_table
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.models.saving import SETTINGS, network_folders, read_settings
from gogooku3.preprocessing.cross_section import CrossSectionalNormalizerV2
from gogooku3.preprocessing.market_state import MarketState
from gogooku3.runs.manifest import read_manifest

FEATURE_STATISTICS = "feature_statistics.parquet"
"""What each input looked like on the fold's training days; `safety.drift` makes and reads it."""


_PARTS = (
    *("file_features", "normalizer", "market_state", "return_column", "graph_builder"),
    *("number", "known_until", "start_date", "feature_statistics", "horizons", "sequence_length"),
)


@dataclass(frozen=True)
class SavedState:
    """What was saved beside the weights of one fold of a run.

    Attributes:
        folder: the fold's folder.
        places: folders of its networks by name, one a seed.
        state: the last network's settings, and features, normaliser, market state, graph, dates.
        dataset: the run's dataset settings; empty where it has no manifest.
    """

    folder: Path
    places: Mapping[str, Path]
    state: Mapping[str, Any]
    dataset: Mapping[str, Any]

    @staticmethod
    def read(run: Path | str, fold: int | None = None) -> "SavedState":
        """Read what a fold needs of a data set.

        Args:
            run: the run's folder, or that of a fold.
            fold: its number; None takes the newest that has a network.

        Raises:
            DataError: no such run or fold, or a file that is not what it should be.
        """
        places = network_folders(run, fold)
        last = list(places.values())[-1]
        folder = last if "network" in places else last.parent
        state = read_settings(last)
        for part in ("features", "normalizer", "market_state", "graph", "fold"):
            if part not in state:
                raise DataError(
                    f"{last / SETTINGS} lacks '{part}', which predicting needs; give the folder of a "
                    "run that `gogooku3 train` wrote, not of a model alone"
                )
        dataset = (read_manifest(folder.parent).get("config") or {}).get("dataset") or {}
        saved = SavedState(folder, places, state, dataset)
        saved._check(last / SETTINGS)
        return saved

    @property
    def number(self) -> int:
        """The fold's number."""
        return int(self.state["fold"]["fold"])

    @property
    def horizons(self) -> tuple[int, ...]:
        """Trading days ahead that are predicted."""
        return tuple(self.state["model"]["prediction_horizons"])

    @property
    def sequence_length(self) -> int:
        """Trading days of a window."""
        return int(self.state["model"]["sequence_length"])

    @property
    def file_features(self) -> tuple[str, ...]:
        """Features that the data set must have; the quality features are made of them."""
        return tuple(name for name in self.state["features"] if name not in QUALITY_FEATURES)

    @property
    def return_column(self) -> str:
        """Feature that holds the one-day return, for the graph."""
        return self.state["graph"]["return_column"] or "ret_1d"

    @cached_property
    def graph_builder(self) -> FinancialGraphBuilder | None:
        """Rules for the edges; None where every stock stands alone."""
        rules = dict(self.state["graph"])
        del rules["rebuild_every_epochs"]
        return FinancialGraphBuilder(**rules) if rules.pop("enabled") else None

    @cached_property
    def normalizer(self) -> CrossSectionalNormalizerV2 | None:
        """The fold's normaliser; None where features were taken as they are."""
        state = self.state["normalizer"]
        return CrossSectionalNormalizerV2.from_dict(state) if state else None

    @cached_property
    def market_state(self) -> MarketState | None:
        """How the market's state is scaled; None where it is not used."""
        state = self.state["market_state"]
        return MarketState.from_dict(state) if state else None

    @property
    def known_until(self) -> dt.date:
        """The last day that training or the choice of an epoch used."""
        return dt.date.fromisoformat(self.state["fold"]["validation_end"])

    @property
    def start_date(self) -> dt.date | None:
        """The first day of the data set that the run was allowed to see."""
        start = self.dataset.get("start_date")
        return dt.date.fromisoformat(start) if start else None

    @cached_property
    def feature_statistics(self) -> pl.DataFrame | None:
        """What the inputs looked like in training; None where the run did not write it."""
        path = self.folder / FEATURE_STATISTICS
        return read_table(path) if path.is_file() else None

    def open(self, data_path: Path | str) -> FeatureFile:
        """A data set file, checked to have this fold's features and no others.

        Raises:
            DataError: naming the difference.
        """
        named = self.dataset.get("feature_columns")
        targets = self.dataset.get("target_columns") or {}
        return FeatureFile(
            data_path,
            self.file_features,
            all_columns="feature_columns" in self.dataset and named is None,
            not_features=tuple(targets.values()),
        )

    def _check(self, source: Path) -> None:
        """Refuse a state that is not what a run writes, before anything is read for it."""
        for name in _PARTS:
            try:
                getattr(self, name)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                if isinstance(error, GogookuError):
                    raise
                raise DataError(
                    f"{source}: its {name} is not what `gogooku3 train` writes ({type(error).__name__}: "
                    f"{error}); copy the run again, or train anew"
                ) from None
