"""Predicts a large day on a CPU in pieces of samples that fit its caches. Nothing is trained or explained.

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

Result = TypeVar("Result")


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
    pieces = [slice(start, start + PIECE) for start in range(0, len(x), PIECE)]
    threads = threads or torch.get_num_threads()

    def read(piece: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        windows = x[piece]
        snapshot: Tensor = model.snapshot(windows[:, -1])
        scaled = windows if model.frequency is None else model.frequency(windows)
        return *model.temporal.read(scaled, step_mask[piece], snapshot), snapshot

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


def _by_thread(work: Callable[..., Result], pieces: Sequence[object], threads: int) -> list[Result]:
    """The work of each piece, on threads that use one core each, in the precision that is in force here."""
    half, kind = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def on_thread(piece: object) -> Result:
        # What a thread may use, inference mode and autocast are its own; none is inherited.
        torch.set_num_threads(1)
        with torch.inference_mode(), torch.autocast("cpu", dtype=kind, enabled=half):
            return work(piece)

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(on_thread, pieces))
    finally:
        # The last number set is that of threads yet to come, too.
        torch.set_num_threads(before)
