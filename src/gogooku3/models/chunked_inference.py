"""Predicts and explains a large day on a CPU in pieces of samples that fit its caches. Nothing is trained.

A library's LSTM that is given thousands of samples at once writes gigabytes of gates to memory and lets the
threads of every small product wait for each other. Pieces that one thread each takes all the way do neither.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.graph_attention import Neighbours

PIECE = 128
"""Samples a piece: fewer waste the multiplication's units, more the caches."""
TRACED = 32
"""Samples a piece where gradients are wanted, which hold far more memory."""

Result = TypeVar("Result")
Readings = tuple[Tensor, Tensor, Tensor, Tensor]


@torch.inference_mode()
def predict_in_pieces(
    model: ATFTGATFANModel,
    x: Tensor,
    step_mask: Tensor,
    day_index: Tensor,
    neighbours: Neighbours | None,
    n_days: int,
    market: Tensor | None,
    threads: int | None = None,
) -> Tensor:
    """What `model(x, ...)` says in evaluation mode, to rounding, without gradients; same arguments.

    The bits don't depend on the threads.

    Args:
        threads: that take pieces; None: as many as torch uses.
    """
    pieces = _pieces(len(x), PIECE)
    threads = threads or torch.get_num_threads()

    def read(piece: slice) -> Readings:
        return _readings(model, x[piece], step_mask[piece])

    found = _by_thread(read, pieces, threads)
    sharpness, scale = model.temporal.mood(
        torch.cat([current for _, _, current, _ in found]), day_index, n_days, market
    )

    def ask(number: int) -> Tensor:
        piece = pieces[number]
        history, state, current, _ = found[number]
        scaled = None if scale is None else scale[piece]
        fused, _ = model.temporal.ask(history, state, current, step_mask[piece], sharpness[piece], scaled)
        return fused

    state = torch.cat(_by_thread(ask, range(len(pieces)), threads))
    return model.conclude(state, torch.cat([snapshot for *_, snapshot in found]), x[:, -1], neighbours)


def contributions_in_pieces(
    model: ATFTGATFANModel,
    x: Tensor,
    step_mask: Tensor,
    day_index: Tensor,
    neighbours: Neighbours | None,
    n_days: int,
    market: Tensor | None,
    horizon: int,
    threads: int | None = None,
) -> Tensor:
    """The contributions `[samples, features]` to one horizon that `model.explain` finds, to rounding.

    Windows are read piece by piece, and what the predictions owe to each piece's readings is taken back
    through the piece alone, read again for that: what its gradient needs, 2 MB a sample, is not kept for all.

    Args:
        model: in evaluation mode; its parameters keep their gradients.
        x, step_mask, day_index, neighbours, n_days, market: as `model` takes them.
        horizon: one of the model's.
        threads: that take pieces; None: as many as torch uses.
    """
    threads = threads or torch.get_num_threads()

    def read(piece: slice) -> Readings:
        return _readings(model, x[piece], step_mask[piece])

    found = _by_thread(read, _pieces(len(x), PIECE), threads)
    with torch.enable_grad():
        readings = [torch.cat(parts).requires_grad_() for parts in zip(*found, strict=True)]
        history, state, current, snapshot = readings
        today = x[:, -1].detach().requires_grad_()
        mood = model.temporal.mood(current, day_index, n_days, market)
        fused, _ = model.temporal.ask(history, state, current, step_mask, *mood)
        predictions = model.conclude(fused, snapshot, today, neighbours)
        asked = predictions[:, model.prediction_horizons.index(horizon)].sum()
        *owed, at_once = torch.autograd.grad(
            asked, [*readings, today], allow_unused=True, materialize_grads=True
        )

    def trace(piece: slice) -> Tensor:
        windows = x[piece].detach().requires_grad_()
        joined = torch.cat([part.flatten() for part in _readings(model, windows, step_mask[piece])])
        debts = torch.cat([part[piece].flatten() for part in owed])
        # A single number: for gradients by output torch would load SymPy, and several outputs joined on
        # this thread would let the order of sums, and so the last bits, depend on which thread it is.
        (gradient,) = torch.autograd.grad(joined @ debts, windows)
        return (gradient * windows.detach()).sum(dim=1)

    traced = torch.cat(_by_thread(trace, _pieces(len(x), TRACED), threads, gradients=True))
    return traced + at_once * today.detach()


def _pieces(samples: int, most: int) -> list[slice]:
    return [slice(start, start + most) for start in range(0, samples, most)]


def _readings(model: ATFTGATFANModel, windows: Tensor, step_mask: Tensor) -> Readings:
    """What samples say without each other: history, state, current step, snapshot."""
    snapshot: Tensor = model.snapshot(windows[:, -1])
    scaled = windows if model.frequency is None else model.frequency(windows)
    return *model.temporal.read(scaled, step_mask, snapshot), snapshot


def _by_thread(
    work: Callable[..., Result], pieces: Sequence[object], threads: int, gradients: bool = False
) -> list[Result]:
    """The work of each piece, on threads that use one core each, in the precision that is in force here."""
    half, kind = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def on_thread(piece: object) -> Result:
        # What a thread may use, inference mode and autocast are its own; none is inherited.
        torch.set_num_threads(1)
        with torch.inference_mode(not gradients), torch.autocast("cpu", dtype=kind, enabled=half):
            return work(piece)

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(on_thread, pieces))
    finally:
        # The last number set is that of threads yet to come, too.
        torch.set_num_threads(before)
