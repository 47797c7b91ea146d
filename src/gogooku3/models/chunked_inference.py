"""Predict and explain many stocks on a CPU in chunks of series that fit its caches.

An LSTM over thousands of series at once writes gigabytes of gates to memory, and its threads wait for each
other at every small product. Here each thread takes one chunk through the whole temporal part instead.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from gogooku3.models.atft_gat_fan import ATFTGATFANModel, ModelInputs

CHUNK = 128
"""Series per chunk: fewer underuse the vector units, more exceed the caches."""
GRADIENT_CHUNK = 32
"""Series per chunk with gradients, which take far more memory."""

Result = TypeVar("Result")


@torch.inference_mode()
def predict_in_chunks(model: ATFTGATFANModel, inputs: ModelInputs, threads: int | None = None) -> Tensor:
    """Predictions `[samples, horizons]` of a model in evaluation mode, without gradients.

    Equal to `model(*inputs)` up to rounding; bit-identical for any number of threads.

    Args:
        model: in evaluation mode.
        inputs: of the model.
        threads: number of threads; None: as many as torch uses.
    """
    inputs = model.with_ranks(inputs)

    def own_parts(chunk: slice) -> tuple[Tensor, Tensor]:
        own = inputs.series(chunk)
        return model.today(own), model.temporal_state(own)[0]

    chunks = _chunks(len(inputs.x), CHUNK)
    parts = _map_threads(own_parts, chunks, threads or torch.get_num_threads())
    today, state = (torch.cat(each) for each in zip(*parts, strict=True))
    embedding, _ = model.graph_attend(state, inputs.neighbours)
    return today + model.windows_share * model.head(embedding)


def contributions_in_chunks(
    model: ATFTGATFANModel, inputs: ModelInputs, horizon: int, threads: int | None = None
) -> Tensor:
    """Contributions `[samples, features]` to one horizon, equal to `model.explain` up to rounding.

    The states are computed without gradients, and the gradient of the predictions is taken for them. Then
    each chunk is computed again to propagate its part to the inputs, so that the activations of one chunk per
    thread are in memory (2 MB per series), not those of all.

    Args:
        model: in evaluation mode; its parameters keep their gradients.
        inputs: of the model, with one predicted day.
        horizon: one of the model's.
        threads: number of threads; None: as many as torch uses.
    """
    threads = threads or torch.get_num_threads()
    column = model.prediction_horizons.index(horizon)
    inputs = model.with_ranks(inputs)
    chunks = _chunks(len(inputs.x), CHUNK)
    states = _map_threads(lambda chunk: model.temporal_state(inputs.series(chunk))[0], chunks, threads)
    with torch.enable_grad():
        state = torch.cat(states).requires_grad_()
        embedding, _ = model.graph_attend(state, inputs.neighbours)
        through_windows = (model.windows_share * model.head(embedding))[:, column].sum()
        (state_grad,) = torch.autograd.grad(through_windows, state)

    def propagate(chunk: slice) -> Tensor:
        own = inputs.series(chunk)
        assert own.ranks is not None
        x, ranks = own.x.detach().requires_grad_(), own.ranks.detach().requires_grad_()
        own = own._replace(x=x, ranks=ranks)
        through_state = model.temporal_state(own)[0].flatten() @ state_grad[chunk].flatten()
        # A scalar output: with gradients per output, torch would import SymPy, and the order of sums (so the
        # last bits) would depend on the thread.
        output = through_state + model.today(own)[:, column].sum()
        x_grad, ranks_grad = torch.autograd.grad(output, (x, ranks))
        return (x_grad * x.detach()).sum(dim=1) + ranks_grad * (ranks.detach() - 0.5)

    gradient_chunks = _chunks(len(inputs.x), GRADIENT_CHUNK)
    return torch.cat(_map_threads(propagate, gradient_chunks, threads, gradients=True))


def _chunks(samples: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, samples, size)]


def _map_threads(
    work: Callable[..., Result], chunks: Sequence[object], threads: int, gradients: bool = False
) -> list[Result]:
    """Apply `work` to every chunk, on threads that use one core each, in the caller's precision."""
    enabled, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def on_thread(chunk: object) -> Result:
        # Number of threads, inference mode and autocast are per thread and not inherited.
        torch.set_num_threads(1)
        with torch.inference_mode(not gradients), torch.autocast("cpu", dtype=dtype, enabled=enabled):
            return work(chunk)

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(on_thread, chunks))
    finally:
        # `set_num_threads` also sets the default of future threads.
        torch.set_num_threads(before)
