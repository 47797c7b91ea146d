"""A trained fold in a run folder: its settings, and its models, which are loaded at first use.

Opening a fold and reading its data imports neither torch nor LightGBM, so bad input is refused quickly.
"""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gogooku3.data.feature_file import FeatureFile
from gogooku3.errors import DataError, GogookuError
from gogooku3.features.quality import QUALITY_FEATURES
from gogooku3.files.tables import read_table
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.models.saving import SETTINGS, network_folders, read_settings
from gogooku3.preprocessing.cross_section import CrossSectionalNormalizerV2
from gogooku3.preprocessing.market_state import MarketState
from gogooku3.runs.folder import FEATURE_STATISTICS
from gogooku3.runs.json_file import damaged, read_json
from gogooku3.runs.manifest import read_manifest
from gogooku3.runs.seal import verify_files, verify_seal

if TYPE_CHECKING:
    import lightgbm
    import torch

    from gogooku3.models.atft_gat_fan import ATFTGATFANModel
    from gogooku3.models.linear_forecaster import LinearForecaster

_FOLD = re.compile(r"fold_\d+")
# Read at opening, so that an invalid state is refused before any data is read.
_CHECKED = (
    *("file_features", "normalizer", "market_state", "return_column", "graph_builder"),
    *("number", "known_until", "start_date", "feature_statistics", "horizons", "sequence_length"),
)


@dataclass(frozen=True)
class SavedFold:
    """One fold of a run, ready to predict other days.

    Attributes:
        folder: the fold's folder.
        network_folders: folders of its networks by name, one per seed.
        state: contents of the last network's `model.json`: its settings under `model`, and features,
            normaliser, market state, graph rules and dates.
        dataset: the run's dataset settings; empty without a manifest.
        half_precision: whether the run predicted in bfloat16.
    """

    folder: Path
    network_folders: Mapping[str, Path]
    state: Mapping[str, Any]
    dataset: Mapping[str, Any]
    half_precision: bool

    @staticmethod
    def open(run: Path | str, fold: int | None = None) -> "SavedFold":
        """Read a fold's settings; its models are loaded at first use.

        Args:
            run: the run's folder, or that of a fold.
            fold: its number; None takes the newest that has a network.

        Raises:
            DataError: no such run or fold, or a damaged file.
        """
        folders = network_folders(run, fold)
        last = list(folders.values())[-1]
        folder = next((each for each in (last, *last.parents) if _FOLD.fullmatch(each.name)), last)
        state = read_settings(last)
        for part in ("features", "normalizer", "market_state", "graph", "fold"):
            if part not in state:
                raise DataError(
                    f"{last / SETTINGS} lacks '{part}', which predicting needs; give the folder of a "
                    "run that `gogooku3 train` wrote, not of a single model"
                )
        dataset = (read_manifest(folder.parent).get("config") or {}).get("dataset") or {}
        training, problem = read_json(last / "training.json", {"precision": str})
        if problem:
            raise damaged(last / "training.json", problem, "copy the run again, or train again")
        half_precision = ((training or {}).get("precision") or "").startswith("bf16")
        saved = SavedFold(folder, folders, state, dataset, half_precision)
        for name in _CHECKED:
            try:
                getattr(saved, name)
            except GogookuError:
                raise
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DataError(
                    f"{last / SETTINGS}: its {name} is not what `gogooku3 train` writes "
                    f"({type(error).__name__}: {error}); copy the run again, or train again"
                ) from None
        return saved

    @staticmethod
    def load(run: Path | str, fold: int | None = None) -> "SavedFold":
        """Open a fold and load all its models now; arguments and errors as of `open`."""
        saved = SavedFold.open(run, fold)
        _ = saved.networks, saved.boosters, saved.linear
        return saved

    @cached_property
    def networks(self) -> "dict[str, ATFTGATFANModel]":
        """Networks by name, one per seed, in evaluation mode, on the CPU."""
        from gogooku3.models.atft_gat_fan import ATFTGATFANModel
        from gogooku3.models.saving import load_model

        networks = {name: load_model(path, ATFTGATFANModel)[0] for name, path in self.network_folders.items()}
        for folder in self.network_folders.values():
            verify_seal(folder)
        return networks

    @cached_property
    def boosters(self) -> "dict[int, lightgbm.Booster]":
        """LightGBM's boosters by horizon; empty where the fold has none."""
        from gogooku3.models.saving import load_trees

        folder = self.folder / "lightgbm"
        paths = {horizon: folder / f"lightgbm_{horizon}d.txt" for horizon in self.horizons}
        boosters = {horizon: load_trees(path) for horizon, path in paths.items() if path.is_file()}
        verify_seal(folder)
        return boosters

    @cached_property
    def linear(self) -> "LinearForecaster | None":
        """The linear model; None where the fold has none."""
        from gogooku3.models.linear_forecaster import LinearForecaster

        folder = self.folder / "linear"
        if not folder.is_dir():
            return None
        verify_seal(folder)
        return LinearForecaster.load(folder)

    def precision(self, device: "torch.device") -> "torch.autocast":
        """Context manager for the precision in which the run predicted."""
        import torch

        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.half_precision)

    @property
    def number(self) -> int:
        """The fold's number."""
        return int(self.state["fold"]["fold"])

    @property
    def horizons(self) -> tuple[int, ...]:
        """Horizons that are predicted, in trading days."""
        return tuple(self.state["model"]["prediction_horizons"])

    @property
    def sequence_length(self) -> int:
        """Trading days of a window."""
        return int(self.state["model"]["sequence_length"])

    @property
    def file_features(self) -> tuple[str, ...]:
        """Features that the data set must have; the quality features are computed from them."""
        return tuple(name for name in self.state["features"] if name not in QUALITY_FEATURES)

    @property
    def return_column(self) -> str:
        """Feature that holds the one-day return, for the graph."""
        return self.state["graph"]["return_column"] or "ret_1d"

    @cached_property
    def graph_builder(self) -> FinancialGraphBuilder | None:
        """Rules for the edges; None for a fold without graphs."""
        rules = dict(self.state["graph"])
        del rules["rebuild_every_epochs"]
        return FinancialGraphBuilder(**rules) if rules.pop("enabled") else None

    @cached_property
    def normalizer(self) -> CrossSectionalNormalizerV2 | None:
        """The fold's normaliser; None for features used without normalisation."""
        state = self.state["normalizer"]
        return CrossSectionalNormalizerV2.from_dict(state) if state else None

    @cached_property
    def market_state(self) -> MarketState | None:
        """Scaling of the market's state; None where it is not used."""
        state = self.state["market_state"]
        return MarketState.from_dict(state) if state else None

    @property
    def known_until(self) -> dt.date:
        """Last day used by training or by the choice of an epoch."""
        return dt.date.fromisoformat(self.state["fold"]["validation_end"])

    @property
    def start_date(self) -> dt.date | None:
        """First day of the data set that the run was allowed to use."""
        start = self.dataset.get("start_date")
        return dt.date.fromisoformat(start) if start else None

    @cached_property
    def feature_statistics(self) -> pl.DataFrame | None:
        """Statistics of the inputs in training; None where the run did not write them."""
        path = self.folder / FEATURE_STATISTICS
        verify_files(self.folder.parent, f"{self.folder.name}/{path.name}")
        return read_table(path) if path.is_file() else None

    def open_data(self, data_path: Path | str) -> FeatureFile:
        """A data set file, checked to have the fold's features and, if it used all columns, no others.

        Raises:
            DataError: naming the difference.
        """
        all_columns = self.dataset.get("feature_columns", ()) is None
        targets = tuple((self.dataset.get("target_columns") or {}).values())
        return FeatureFile(data_path, self.file_features, all_columns=all_columns, not_features=targets)
