"""Detects a loss that is not finite and blocks weight updates from it on."""

import numpy as np
import torch
from torch import Tensor

CHECK_EVERY = 50
"""Steps between two checks on a GPU. A check waits for the GPU; until then `stop` blocks updates there."""


class NanGuard:
    """Block every update after the first non-finite loss, and raise at the next check.

    Reading each loss on the host would wait for the GPU at every step. So `stop` signals the optimiser on the
    device: while it is 1, a fused optimiser leaves weights and state unchanged.

    Args:
        device: of the losses.
        every: steps between two checks; None checks each step on a CPU, every CHECK_EVERY steps elsewhere.

    Attributes:
        stop: float, 0 until the first non-finite loss, then 1; the optimiser's `found_inf`.
    """

    def __init__(self, device: torch.device, every: int | None = None) -> None:
        self.every = every or (1 if device.type == "cpu" else CHECK_EVERY)
        self.stop = torch.zeros((), device=device)
        self._value = torch.zeros((), device=device)
        self._position = torch.zeros((), device=device, dtype=torch.int64)
        self._steps: list[tuple[int, range]] = []

    def record(self, loss: Tensor, step: int, days: range, dates: np.ndarray) -> None:
        """Record the loss of a step, and check when due.

        Raises:
            FloatingPointError: as `check`.
        """
        loss = loss.detach().float()
        first = ~loss.isfinite() & (self.stop == 0)
        self._value.copy_(torch.where(first, loss, self._value))
        self._position.copy_(torch.where(first, len(self._steps), self._position))
        self.stop.copy_(torch.where(first, 1.0, self.stop))
        self._steps.append((step, days))
        if len(self._steps) >= self.every:
            self.check(dates)

    def check(self, dates: np.ndarray) -> None:
        """Check all losses since the last check.

        Raises:
            FloatingPointError: a loss was not finite; names the loss, the step and its dates.
        """
        if bool(self.stop):
            step, days = self._steps[int(self._position)]
            raise FloatingPointError(
                f"the loss is {float(self._value)} at step {step} (days between {dates[days.start]} and "
                f"{dates[days.stop - 1]}); nothing was updated. "
                "Try a lower training.learning_rate, or training.mixed_precision=false"
            )
        self._steps.clear()
