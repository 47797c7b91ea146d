"""Why a network ranks a stock where it does: the features that set it apart from the day's other stocks."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from gogooku3.inference.saved_fold import SavedFold
from gogooku3.models.chunked_inference import contributions_in_pieces
from gogooku3.models.graph_attention import Neighbours
from gogooku3.training.batches import Batch

REFERENCE = 256
"""Samples explained at least where a day has them: the stocks asked for, their neighbours, and evenly spread
others, which stand for the day."""


def explain_samples(fold: SavedFold, batch: Batch, wanted: np.ndarray, horizon: int) -> np.ndarray:
    """What each feature adds to the predictions of some samples, less what it adds to all of the day.

    Gradient x input (see `ATFTGATFANModel.explain`), mean over the fold's networks, in the precision that
    they predicted in. A larger day is thinned out: the samples wanted and all whom they hear stay, and of the
    others as many as make `REFERENCE`; they stand for the day's mean and for the regime's summary of it.

    Args:
        fold: the saved fold.
        batch: the samples of one day.
        wanted: positions of the samples.
        horizon: trading days ahead.

    Returns:
        float64 `[wanted, features]`, in units of the network's prediction.
    """
    kept = _kept(batch, wanted)
    part = _part(batch, kept)
    place = np.searchsorted(kept, wanted)
    total: np.ndarray = np.zeros((len(wanted), batch.x.shape[2]))
    for model in fold.networks.values():
        with fold.precision(part.x.device):
            if part.x.is_cuda:
                found = model.to(part.x.device).explain(*part.inputs, [horizon]).contributions[:, 0]
            else:
                found = contributions_in_pieces(model, *part.inputs, horizon)
        contributions = found.double().cpu().numpy()
        total += contributions[place] - contributions.mean(axis=0)
    return total / len(fold.networks)


def spell(contributions: np.ndarray, features: Iterable[str], most: int = 3) -> str:
    """The largest contributions in words, the largest first, each with its sign.

    >>> spell(np.array([0.1, -0.25, 0.0]), ["ret_1d", "vol_20d", "rsi_14"], most=2)
    'vol_20d -0.250, ret_1d +0.100'
    """
    names = list(features)
    largest = np.argsort(-np.abs(contributions), kind="stable")[:most]
    return ", ".join(
        f"{names[place]} {contributions[place]:+.3f}" for place in largest if contributions[place]
    )


def _kept(batch: Batch, wanted: np.ndarray) -> np.ndarray:
    """Positions of the samples that are explained, ascending."""
    n = len(batch.stock)
    heard = batch.neighbours.index[torch.from_numpy(wanted).to(batch.stock.device)]
    valid = batch.neighbours.valid[torch.from_numpy(wanted).to(batch.stock.device)]
    kept = np.union1d(wanted, heard[valid].cpu().numpy())
    others = np.setdiff1d(np.arange(n), kept, assume_unique=True)
    room = min(max(REFERENCE - len(kept), 0), len(others))
    spread = np.linspace(0, len(others) - 1, room).round().astype(int) if room else np.empty(0, int)
    return np.union1d(kept, others[spread])


def _part(batch: Batch, kept: np.ndarray) -> Batch:
    """Some samples of a day; a neighbour that is left out is no neighbour."""
    device = batch.stock.device
    rows = torch.from_numpy(kept).to(device)
    place: Tensor = torch.full((len(batch.stock),), -1, dtype=torch.long, device=device)
    place[rows] = torch.arange(len(kept), device=device)
    index = place[batch.neighbours.index[rows]]
    valid = batch.neighbours.valid[rows] & (index >= 0)
    return batch._replace(
        x=batch.x[rows],
        step_mask=batch.step_mask[rows],
        day_index=batch.day_index[rows],
        neighbours=Neighbours(index.clamp(min=0), batch.neighbours.weight[rows] * valid, valid),
        labels=batch.labels[rows],
        day=batch.day[rows],
        stock=batch.stock[rows],
    )
