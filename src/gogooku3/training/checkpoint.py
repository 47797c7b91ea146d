"""Weights as safetensors, settings as JSON; written whole, read without unpickling anything."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gogooku3.atomic import atomic_path, write_text_atomic
from gogooku3.errors import DataError
from gogooku3.models.atft_gat_fan import ATFTGATFANModel


def save_model(folder: Path, model: ATFTGATFANModel, extra: dict[str, Any] | None = None) -> Path:
    """Write `model.safetensors` and `model.json` (settings and `extra`) into a folder.

    Returns:
        path of the weights.
    """
    from safetensors.torch import save_file

    path = folder / "model.safetensors"
    weights: dict[str, Tensor] = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    with atomic_path(path) as temporary:
        save_file(weights, temporary)
    settings = {"model": model.settings, **(extra or {})}
    write_text_atomic(folder / "model.json", json.dumps(settings, indent=2) + "\n")
    return path


def load_model(folder: Path) -> tuple[ATFTGATFANModel, dict[str, Any]]:
    """Rebuild a model from a folder that `save_model` wrote.

    Raises:
        DataError: a file is missing or is not what it should be.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights, settings = folder / "model.safetensors", folder / "model.json"
    for path in (weights, settings):
        if not path.is_file():
            raise DataError(f"{path} is not there; expected a fold folder of a run")
    try:
        state = json.loads(settings.read_text(encoding="utf-8"))
        model = ATFTGATFANModel(**state["model"])
        model.load_state_dict(load_file(weights))
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{folder} does not hold a model of ours: {reason}") from None
    model.eval()
    return model, state


def copy_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of the weights in memory."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
