"""What a sample remembers of its window, and how attention layers read it."""

from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_Debts = dict[int, dict[int, tuple[Tensor, Tensor]]]
"""Of a backward pass, by reading, `[samples, heads, steps]` and `[samples, heads, hidden]`: the history's
gradient is the sum of their products over heads."""


class History:
    """The states of all steps, read by any number of layers; their gradient is made once for all.

    Each layer multiplies with the history twice, and each product owes it a gradient as large as itself. By
    themselves these are written and added one after the other, which takes longer than the products. They
    are sums over heads, so those of all layers are one product over all their heads.

    Args:
        states: `[samples, steps, hidden]`.
    """

    def __init__(self, states: Tensor) -> None:
        # Laid out once: each product would do so anew.
        self.states = states.contiguous()
        self._debts: _Debts = {}
        self._numbers = count()
        self._ticket: Tensor | None = None
        if torch.is_grad_enabled() and states.requires_grad:
            self._ticket = _Settle.apply(self.states, self._debts)

    def scores(self, asked: Tensor) -> Tensor:
        """Each head's product with each step: `[samples, heads, hidden]` -> `[samples, heads, steps]`."""
        return self._read(asked, scores=True)

    def sums(self, weights: Tensor) -> Tensor:
        """Each head's weighted sum of steps: `[samples, heads, steps]` -> `[samples, heads, hidden]`."""
        return self._read(weights.to(self.states.dtype), scores=False)

    def _read(self, left: Tensor, scores: bool) -> Tensor:
        if self._ticket is None:
            return torch.bmm(left, self.states.transpose(1, 2) if scores else self.states)
        found: Tensor = _Reading.apply(
            left, self.states.detach(), self._ticket, self._debts, next(self._numbers), scores
        )
        return found


class _Settle(torch.autograd.Function):
    """Gives a ticket that every reading takes, so that its own gradient is asked for after all of theirs."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, debts: _Debts) -> Tensor:
        ctx.debts = debts
        return states.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor, None]:
        owed = ctx.debts.pop(_backward_pass()).values()
        by_step, by_width = (torch.cat(parts, dim=1) for parts in zip(*owed, strict=True))
        return torch.bmm(by_step.transpose(1, 2), by_width), None


class _Reading(torch.autograd.Function):
    """`left @ states^T` for scores, else `left @ states`; what it owes the states is noted."""

    @staticmethod
    def forward(
        ctx: Any, left: Tensor, states: Tensor, ticket: Tensor, debts: _Debts, number: int, scores: bool
    ) -> Tensor:
        ctx.save_for_backward(left, states)
        ctx.debts, ctx.number, ctx.scores = debts, number, scores
        return torch.bmm(left, states.transpose(1, 2) if scores else states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, owed: Tensor) -> tuple[Tensor | None, ...]:
        left, states = ctx.saved_tensors
        number = _backward_pass()
        if number not in ctx.debts:
            # A pass that did not ask for the history's gradient has left what it owed.
            ctx.debts.clear()
        ctx.debts.setdefault(number, {})[ctx.number] = (owed, left) if ctx.scores else (left, owed)
        back = torch.bmm(owed, states if ctx.scores else states.transpose(1, 2))
        return back, None, owed.new_zeros(()), None, None, None


def _backward_pass() -> int:
    """The number of the backward pass that is under way."""
    return torch._C._current_graph_task_id()
