"""Watches for a loss that is not finite, and keeps the weights from it. It does not repair anything."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LOOK_EVERY = 50
"""Steps between two looks on a GPU: a look waits for the GPU, and meanwhile broken steps change nothing."""


class FiniteLoss:
    """The first loss that is not finite stops every later update at once, and training at the next look.

    Whether a loss is finite is known where it was computed. To ask after each step would make the host wait
    for a GPU, so `stop` tells the optimiser there: while it is 1, a fused optimiser leaves weights and state
    as they are.

    Args:
        device: where losses are computed.
        every: steps between two looks; None looks after each step on a CPU, every LOOK_EVERY steps elsewhere.

    Attributes:
        stop: float, 1 from the first broken loss on, else 0; the optimiser's `found_inf`.
    """

    def __init__(self, device: torch.device, every: int | None = None) -> None:
        self.every = every or (1 if device.type == "cpu" else LOOK_EVERY)
        self.stop = torch.zeros((), device=device)
        self._value = torch.zeros((), device=device)
        self._place = torch.zeros((), device=device, dtype=torch.int64)
        self._since: list[tuple[int, list[int]]] = []

    def watch(self, loss: Tensor, step: int, days: Sequence[int], dates: np.ndarray) -> None:
        """Take note of a step's loss.

        Raises:
            FloatingPointError: at a look, naming the loss, the step and its dates.
        """
        loss = loss.detach().float()
        new = ~loss.isfinite() & (self.stop == 0)
        self._value.copy_(torch.where(new, loss, self._value))
        self._place.copy_(torch.where(new, len(self._since), self._place))
        self.stop.copy_(torch.where(new, 1.0, self.stop))
        self._since.append((step, list(days)))
        if len(self._since) >= self.every:
            self.look(dates)

    def look(self, dates: np.ndarray) -> None:
        """Ask whether all losses since the last look were finite.

        Raises:
            FloatingPointError: as `watch`.
        """
        if bool(self.stop):
            step, days = self._since[int(self._place)]
            named = ", ".join(str(dates[day]) for day in days)
            raise FloatingPointError(
                f"the loss is {float(self._value)} at step {step} (days {named}); nothing was updated. Try a "
                "lower training.learning_rate, or training.mixed_precision=false"
            )
        self._since.clear()
