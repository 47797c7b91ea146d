"""Predict and explain a large day on a CPU in chunks of samples that fit its caches.

An LSTM over thousands of samples at once writes gigabytes of gates to memory, and its threads wait for each
other at every small product. Here each thread takes one chunk through the whole network instead.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from gogooku3.models.atft_gat_fan import ATFTGATFANModel, ModelInputs
from gogooku3.models.temporal import Encoded, RegimeFactors

CHUNK = 128
"""Samples per chunk: fewer underuse the vector units, more exceed the caches."""
GRADIENT_CHUNK = 32
"""Samples per chunk with gradients, which take far more memory."""

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
    chunks = _chunks(len(inputs.x), CHUNK)
    threads = threads or torch.get_num_threads()
    encoded = _map_threads(lambda chunk: model.encode(*inputs.windows(chunk)), chunks, threads)
    current = torch.cat([part.current for part, _ in encoded])
    factors = model.temporal.regime_factors(current, inputs.day_index, inputs.n_days, inputs.market)

    def attend(number: int) -> Tensor:
        chunk = chunks[number]
        own = RegimeFactors(*(factor[chunk] for factor in factors))
        return model.temporal.attend(encoded[number][0], inputs.windows(chunk)[1], own)[0]

    state = torch.cat(_map_threads(attend, range(len(chunks)), threads))
    embedding, _ = model.graph_attend(state, inputs.neighbours)
    return model.head(embedding, torch.cat([snapshot for _, snapshot in encoded]), inputs.x[:, -1])


def contributions_in_chunks(
    model: ATFTGATFANModel, inputs: ModelInputs, horizon: int, threads: int | None = None
) -> Tensor:
    """Contributions `[samples, features]` to one horizon, equal to `model.explain` up to rounding.

    The windows are encoded without gradients, and the gradient of the predictions is taken for the encodings.
    Then each chunk is encoded again to propagate its part to the windows, so that the activations of one
    chunk per thread are in memory (2 MB per sample), not those of all.

    Args:
        model: in evaluation mode; its parameters keep their gradients.
        inputs: of the model.
        horizon: one of the model's.
        threads: number of threads; None: as many as torch uses.
    """
    threads = threads or torch.get_num_threads()

    def encode(windows: Tensor, step_mask: Tensor | None) -> tuple[Tensor, ...]:
        encoded, snapshot = model.encode(windows, step_mask)
        return *encoded, snapshot

    chunks = _chunks(len(inputs.x), CHUNK)
    parts = _map_threads(lambda chunk: encode(*inputs.windows(chunk)), chunks, threads)
    with torch.enable_grad():
        leaves = [torch.cat(each).requires_grad_() for each in zip(*parts, strict=True)]
        encoded, snapshot = Encoded(*leaves[:3]), leaves[3]
        today = inputs.x[:, -1].detach().requires_grad_()
        factors = model.temporal.regime_factors(
            encoded.current, inputs.day_index, inputs.n_days, inputs.market
        )
        state, _ = model.temporal.attend(encoded, inputs.step_mask, factors)
        embedding, _ = model.graph_attend(state, inputs.neighbours)
        predictions = model.head(embedding, snapshot, today)
        *grads, today_grad = torch.autograd.grad(
            predictions[:, model.prediction_horizons.index(horizon)].sum(),
            [*leaves, today],
            allow_unused=True,
            materialize_grads=True,
        )

    def propagate(chunk: slice) -> Tensor:
        windows, step_mask = inputs.windows(chunk)
        windows = windows.detach().requires_grad_()
        flat = torch.cat([part.flatten() for part in encode(windows, step_mask)])
        grad = torch.cat([part[chunk].flatten() for part in grads])
        # A scalar output: with gradients per output, torch would import SymPy, and the order of sums (so the
        # last bits) would depend on the thread.
        (gradient,) = torch.autograd.grad(flat @ grad, windows)
        return (gradient * windows.detach()).sum(dim=1)

    gradient_chunks = _chunks(len(inputs.x), GRADIENT_CHUNK)
    through_windows = torch.cat(_map_threads(propagate, gradient_chunks, threads, gradients=True))
    return through_windows + today_grad * today.detach()


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
