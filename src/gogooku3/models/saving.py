"""Saved models on disk: a network's folder and LightGBM's trees. Imports no torch, unpickles nothing."""

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gogooku3.errors import DataError, choices
from gogooku3.files.atomic import atomic_path, write_json_atomic, write_text_atomic
from gogooku3.models.tree_text import check_tree_text
from gogooku3.runs.json_file import read_json

if TYPE_CHECKING:
    import lightgbm
    from torch import Tensor, nn

WEIGHTS, SETTINGS = "model.safetensors", "model.json"
LARGEST_BASIS = 10**8
"""Most numbers in the basis of a window's frequencies, which the weights' file does not have."""
_NETWORK = "atft_gat_fan"
_CHECKSUM_LINE = "\nsha256="

Model = TypeVar("Model", bound="nn.Module")


def save_model(folder: Path, model: "nn.Module", extra: Mapping[str, Any] | None = None) -> Path:
    """Write `model.safetensors` and `model.json` (the model's `settings`, and `extra`) into a folder.

    Returns:
        path of the weights.
    """
    path = write_tensors(folder / WEIGHTS, model.state_dict())
    settings = {"model": model.settings, **(extra or {})}
    write_json_atomic(folder / SETTINGS, settings)
    return path


def load_model(folder: Path, build: Callable[..., Model]) -> tuple[Model, dict[str, Any]]:
    """Rebuild a model from a folder that `save_model` wrote.

    Args:
        folder: holds the weights and the settings.
        build: class of the model; called with the saved settings.

    Returns:
        the model in evaluation mode on the CPU, and the content of `model.json`.

    Raises:
        DataError: a file is missing or invalid, or another version of gogooku3 trained the model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state = read_settings(folder)
    try:
        _refuse_forged_sizes(state["model"], folder / WEIGHTS)
        model = build(**state["model"])
        weights = load_file(folder / WEIGHTS)
        other_names = sorted(weights.keys() ^ model.state_dict().keys())
        if not other_names:
            model.load_state_dict(weights)
    except (
        *(SafetensorError, ValueError, KeyError, TypeError, AttributeError),
        *(RuntimeError, ArithmeticError, AssertionError, MemoryError),
    ) as error:
        raise _no_model(folder, error) from None
    if other_names:
        raise DataError(
            f"{folder / WEIGHTS} has other weights than a network of this version of gogooku3, as "
            f"{other_names[0]!r}: an older version trained it, or the file is damaged; train again, or copy "
            "the folder again"
        )
    return model.eval(), state


def _refuse_forged_sizes(settings: Mapping[str, Any], path: Path) -> None:
    """Compare a network's sizes with the weights' header, before either takes memory.

    A network that passes takes at most a few times the memory of its weights; whether each shape is equal is
    checked when they are loaded.

    Raises:
        ValueError: the sizes need more numbers than the file has.
    """
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        shapes = [tuple(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    shapes = [shape for shape in shapes if math.prod(shape)]
    total, longest = sum(map(math.prod, shapes)), max((max(shape, default=1) for shape in shapes), default=0)
    size = {name: value for name, value in settings.items() if isinstance(value, int)}
    inputs, hidden, days = (size.get(name, 0) for name in ("input_dim", "hidden_dim", "sequence_length"))
    width, bands = size.get("snapshot_dim") or hidden // 2, size.get("num_frequencies", 0)
    # Numbers that a network of these sizes has at least.
    least = {
        "hidden_dim": hidden**2,
        "snapshot_dim": width**2,
        "input_dim": inputs * width,
        "num_frequencies": bands * inputs if settings.get("use_frequency_norm") else 0,
    }
    for name, numbers in least.items():
        if numbers > total:
            raise ValueError(
                f"its {name} in {SETTINGS} needs {numbers:,} numbers, but {WEIGHTS} has {total:,}"
            )
    limits = {"num_layers": len(shapes)} | ({"market_dim": longest} if settings.get("use_regime") else {})
    for name, limit in limits.items():
        if size.get(name, 0) > limit:
            raise ValueError(f"{name} is {size[name]:,} in {SETTINGS}, more than the {limit:,} of {WEIGHTS}")
    if days * max(days, bands) > LARGEST_BASIS:
        raise ValueError(f"{SETTINGS} has windows of {days:,} days and {bands:,} frequency bands, too many")


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]") -> Path:
    """Write named tensors as safetensors, atomically."""
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({name: each.detach().cpu().contiguous() for name, each in tensors.items()}, temporary)
    return path


def read_settings(folder: Path) -> dict[str, Any]:
    """Read `model.json` of a network's folder: its settings under `model`, and the extra entries.

    Raises:
        DataError: a file is missing, or the settings are invalid.
    """
    for path in (folder / WEIGHTS, folder / SETTINGS):
        if not path.is_file():
            raise DataError(
                f"{path} is missing; expected a fold folder of a run, so name one, or copy it again"
            )
    state, problem = read_json(folder / SETTINGS, {"model": dict})
    if state is None or state.get("model") is None:
        raise _no_model(folder, ValueError(problem or f"{SETTINGS} has no 'model'"))
    return state


def network_folders(path: Path | str, fold: int | None = None) -> dict[str, Path]:
    """Find the network folders of one fold.

    Args:
        path: a run, one of its folds, or a folder that `save_model` wrote.
        fold: number of the run's fold; None takes the newest that has a network.

    Returns:
        `{"network": folder}` of a single network, `{"seed 0": folder, "seed 1": folder}` of several.

    Raises:
        DataError: no network found, or the run has no such fold.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; name a run, one of its folds, or a folder with {WEIGHTS}")
    folds = _numbered_folders(root, "fold")
    if not folds:
        if networks := _networks(root):
            return networks
        raise DataError(
            f"{root} holds no network: neither fold folders nor {WEIGHTS}; it has "
            f"{choices(sorted(entry.name for entry in root.iterdir()))}; name a run, one of its folds, "
            f"or a folder with {WEIGHTS}"
        )
    trained = {number: networks for number, folder in folds.items() if (networks := _networks(folder))}
    if fold is None and trained:
        return trained[max(trained)]
    if fold not in trained:
        expected = "a trained network" if fold is None else f"a network of fold {fold}"
        raise DataError(
            f"{root} does not have {expected}; folds with a network: "
            f"{choices(sorted(trained))}; name one of them, or another run"
        )
    return trained[fold]


def save_trees(path: Path, booster: "lightgbm.Booster") -> Path:
    """Write a booster as LightGBM's text with its checksum as the last line, which LightGBM ignores."""
    text = booster.model_to_string()
    write_text_atomic(path, f"{text}{_CHECKSUM_LINE}{_checksum(text)}\n")
    return path


def load_trees(path: Path) -> "lightgbm.Booster":
    """Read a booster that `save_trees` wrote.

    The checksum detects damage, and `check_tree_text` a forged text that would crash or hang LightGBM.

    Raises:
        DataError: the file is missing or damaged.
    """
    import lightgbm

    try:
        text, _, checksum = path.read_text(encoding="utf-8").rpartition(_CHECKSUM_LINE)
    except UnicodeDecodeError:
        text, checksum = "", ""
    if checksum.strip() != _checksum(text):
        raise DataError(
            f"{path} is not the LightGBM model that was written there: its checksum does not match. Copy it "
            "again, or retrain"
        )
    try:
        check_tree_text(text)
    except ValueError as error:
        raise DataError(f"{path} holds no trees of LightGBM: {error}; copy it again, or retrain") from None
    return lightgbm.Booster(model_str=text)


def _no_model(folder: Path, error: Exception) -> DataError:
    """Error for an invalid network folder, with the first line of the reason."""
    reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
    return DataError(f"{folder} does not hold a gogooku3 model: {reason}; copy the folder again, or retrain")


def _networks(folder: Path) -> dict[str, Path]:
    # Runs before version 0.2 kept the network's files in the fold's folder itself.
    for base in (folder / _NETWORK, folder):
        if (base / WEIGHTS).is_file():
            return {"network": base}
        seeds = _numbered_folders(base, "seed") if base.is_dir() else {}
        trained = {f"seed {seed}": path for seed, path in seeds.items() if (path / WEIGHTS).is_file()}
        if trained:
            return trained
    return {}


def _numbered_folders(folder: Path, prefix: str) -> dict[int, Path]:
    """Folders such as `fold_3` by number, ascending."""
    numbered = {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := re.fullmatch(rf"{prefix}_(\d+)", path.name)) and path.is_dir()
    }
    return dict(sorted(numbered.items()))


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
