"""The folder of a saved network: which one a path means, and its settings. It loads no torch."""

import json
import re
from pathlib import Path
from typing import Any

from gogooku3.errors import DataError, choices

WEIGHTS, SETTINGS = "model.safetensors", "model.json"


def read_settings(folder: Path) -> dict[str, Any]:
    """What lies beside a network's weights: under `model` its settings, and what else was saved there.

    Raises:
        DataError: a file is missing, or the settings are not what they should be.
    """
    for path in (folder / WEIGHTS, folder / SETTINGS):
        if not path.is_file():
            raise DataError(
                f"{path} is not there; expected a fold folder of a run, so name one, or copy it again"
            )
    try:
        state = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise no_model(folder, error) from None
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise no_model(folder, ValueError(f"{SETTINGS} has no 'model'"))
    return state


def no_model(folder: Path, error: Exception) -> DataError:
    """The error for a folder whose files are no network of ours: the reason's first line, and what to try."""
    reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return DataError(
        f"{folder} does not hold a model of ours: {reason}; copy the folder again, or train anew"
    )


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
