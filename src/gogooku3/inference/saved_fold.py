"""A trained fold as it lies in a run folder: its networks, its trees, and what they need on another day."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gogooku3.inference.saved_state import SavedState
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.saving import load_model, load_trees
from gogooku3.runs.files import read_json


@dataclass(frozen=True)
class SavedFold(SavedState):
    """Everything that predicts, read from one fold of a run.

    Attributes:
        networks: by name, one a seed; in evaluation mode, on the CPU.
        boosters: LightGBM's by horizon; empty where the fold has none.
        half_precision: whether the run predicted in bfloat16.
    """

    networks: Mapping[str, ATFTGATFANModel]
    boosters: Mapping[int, Any]
    half_precision: bool

    @staticmethod
    def load(run: Path | str, fold: int | None = None, boosters: bool = True) -> "SavedFold":
        """Read a fold.

        Args:
            run: the run's folder, or that of a fold.
            fold: its number; None takes the newest that has a network.
            boosters: whether LightGBM's models are wanted, too.

        Raises:
            DataError: no such run or fold, or a file that is not what it should be.
        """
        return SavedFold.of(SavedState.read(run, fold), boosters)

    @staticmethod
    def of(saved: SavedState, boosters: bool = True) -> "SavedFold":
        """Read the models of a fold of which all else is read.

        Raises:
            DataError: a file that is not what it should be.
        """
        outcome = read_json(list(saved.places.values())[-1] / "training.json")[0] or {}
        return SavedFold(
            folder=saved.folder,
            places=saved.places,
            state=saved.state,
            dataset=saved.dataset,
            networks={name: load_model(place, ATFTGATFANModel)[0] for name, place in saved.places.items()},
            boosters=_boosters(saved.folder, saved.horizons) if boosters else {},
            half_precision=str(outcome.get("precision", "")).startswith("bf16"),
        )

    def precision(self, device: torch.device) -> torch.autocast:
        """The precision that the run predicted in, as a context for its networks."""
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.half_precision)


def _boosters(folder: Path, horizons: tuple[int, ...]) -> dict[int, Any]:
    paths = {h: path for h in horizons if (path := folder / f"lightgbm_{h}d.txt").is_file()}
    return {horizon: load_trees(path) for horizon, path in paths.items()}
