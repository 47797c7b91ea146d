"""Dropout that costs little on a CPU, where a random number for every value is a tenth of a training step."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 1 << 16
"""A value's number is one of so many: a quarter of the 64 bits that the generator draws at once."""


class Dropout(nn.Dropout):
    """`nn.Dropout`, whose masks cost a third as much on a CPU; `p` counts to 1/65,536 there.

    Shapes:
        any -> the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _drop(x, self.p) if self.training and x.device.type == "cpu" else super().forward(x)


class LSTM(nn.LSTM):
    """`nn.LSTM` in one direction, with the same dropout between its layers.

    Shapes:
        x `[steps, samples, input]`, state: hidden and cell `[layers, samples, hidden]` each, or None for
        zeros -> `[steps, samples, hidden]`, and the state behind the last step.
    """

    def forward(  # type: ignore[override]
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        if not self.training or x.device.type != "cpu":
            found: tuple[Tensor, tuple[Tensor, Tensor]] = super().forward(x, state)
            return found
        if state is None:
            empty = x.new_zeros(self.num_layers, x.shape[1], self.hidden_size)
            state = empty, empty
        ends = []
        for number, weights in enumerate(self.all_weights):
            if number:
                x = _drop(x, self.dropout)
            begin = tuple(part[number : number + 1] for part in state)
            x, *end = torch.lstm(x, begin, list(weights), True, 1, 0.0, True, False, False)
            ends.append(end)
        hidden, cell = (torch.cat(parts) for parts in zip(*ends, strict=True))
        return x, (hidden, cell)


def _drop(x: Tensor, share: float) -> Tensor:
    """Zero a share of the values and scale the others up."""
    if not 0 < share < 1:
        return functional.dropout(x, share)
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    numbers = drawn.view(torch.int16)[: x.numel()].view(x.shape)
    kept = numbers >= min(round(share * _STEPS), _STEPS - 1) - _STEPS // 2
    return x * (kept.to(x.dtype) * (1 / (1 - share)))
