"""A network on disk: weights as safetensors, settings as JSON; written whole, and nothing is unpickled."""

import json
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from gogooku3.atomic import atomic_path, write_text_atomic
from gogooku3.errors import DataError, choices
from gogooku3.models.atft_gat_fan import ATFTGATFANModel

WEIGHTS, SETTINGS = "model.safetensors", "model.json"


def save_model(folder: Path, model: ATFTGATFANModel, extra: dict[str, Any] | None = None) -> Path:
    """Write `model.safetensors` and `model.json` (settings and `extra`) into a folder.

    Returns:
        path of the weights.
    """
    from safetensors.torch import save_file

    path = folder / WEIGHTS
    weights: dict[str, Tensor] = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    with atomic_path(path) as temporary:
        save_file(weights, temporary)
    settings = {"model": model.settings, **(extra or {})}
    write_text_atomic(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")
    return path


def load_model(folder: Path) -> tuple[ATFTGATFANModel, dict[str, Any]]:
    """Rebuild a model from a folder that `save_model` wrote.

    Raises:
        DataError: a file is missing or is not what it should be.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights, settings = folder / WEIGHTS, folder / SETTINGS
    for path in (weights, settings):
        if not path.is_file():
            raise DataError(
                f"{path} is not there; expected a fold folder of a run, so name one, or copy it again"
            )
    try:
        state = json.loads(settings.read_text(encoding="utf-8"))
        model = ATFTGATFANModel(**state["model"])
        model.load_state_dict(load_file(weights))
    except (
        *(SafetensorError, ValueError, KeyError, TypeError, AttributeError),
        *(RuntimeError, ArithmeticError, AssertionError, MemoryError),
    ) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise DataError(
            f"{folder} does not hold a model of ours: {reason}; copy the folder again, or train anew"
        ) from None
    model.eval()
    return model, state


def network_folders(path: Path | str, fold: int | None = None) -> dict[str, Path]:
    """Folders of the networks that a path stands for, by name: of one fold, one a seed.

    Args:
        path: a run, one of its folds, or a folder that `save_model` wrote.
        fold: number of the run's fold; None takes the newest that has a network.

    Returns:
        `{"network": folder}` of a single network, `{"seed 0": folder, "seed 1": folder}` of several.

    Raises:
        DataError: nothing there, or the run has no such fold.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"{root} is no folder; name a run, one of its folds, or a folder with {WEIGHTS}")
    folds = _numbered(root, "fold")
    if not folds:
        found = _networks(root)
        if not found:
            raise DataError(
                f"{root} holds no network: neither fold folders nor {WEIGHTS}; it has "
                f"{choices(sorted(entry.name for entry in root.iterdir()))}; name a run, one of its folds, "
                f"or a folder with {WEIGHTS}"
            )
        return found
    trained = {number: found for number, folder in folds.items() if (found := _networks(folder))}
    if fold is None and trained:
        return trained[max(trained)]
    if fold not in trained:
        wanted = "a trained network" if fold is None else f"a network of fold {fold}"
        raise DataError(
            f"{root} does not have {wanted}; folds with a network: "
            f"{choices(sorted(trained))}; name one of them, or another run"
        )
    return trained[fold]


def _networks(folder: Path) -> dict[str, Path]:
    if (folder / WEIGHTS).is_file():
        return {"network": folder}
    seeds = _numbered(folder, "seed")
    return {f"seed {seed}": place for seed, place in seeds.items() if (place / WEIGHTS).is_file()}


def _numbered(folder: Path, what: str) -> dict[int, Path]:
    """Folders such as `fold_3`, by number, ascending."""
    found = {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := re.fullmatch(rf"{what}_(\d+)", path.name)) and path.is_dir()
    }
    return dict(sorted(found.items()))
