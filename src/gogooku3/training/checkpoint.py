"""Copies of the weights while a network trains. On disk they are `models.saved_model`'s."""

import torch
from torch import Tensor

from gogooku3.models.saving import load_model, save_model

__all__ = ["copy_weights", "load_model", "save_model"]


def copy_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of the weights in memory."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
