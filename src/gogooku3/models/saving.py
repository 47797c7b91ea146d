"""A network on disk: weights as safetensors, settings as JSON; written whole, and nothing is unpickled."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from gogooku3.files.atomic import atomic_path, write_text_atomic
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.model_folder import SETTINGS, WEIGHTS, no_model, read_settings


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

    state = read_settings(folder)
    try:
        model = ATFTGATFANModel(**state["model"])
        model.load_state_dict(load_file(folder / WEIGHTS))
    except (
        *(SafetensorError, ValueError, KeyError, TypeError, AttributeError),
        *(RuntimeError, ArithmeticError, AssertionError, MemoryError),
    ) as error:
        raise no_model(folder, error) from None
    model.eval()
    return model, state
