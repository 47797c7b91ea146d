"""Learning-rate schedules per optimiser step: cosine annealing or one cycle, with optional warm-up."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from gogooku3.config import SchedulerConfig


def cosine_factor(
    config: SchedulerConfig, learning_rate: float, steps_per_epoch: int, epochs: int
) -> Callable[[int], float]:
    """Factor on the learning rate: half a cosine to `eta_min` over `T_max` epochs (or all), then constant."""
    period = max(1, (config.T_max or epochs) * steps_per_epoch)
    floor = min(1.0, config.eta_min / learning_rate)

    def factor(step: int) -> float:
        progress = min(step / period, 1.0)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def one_cycle_factor(
    config: SchedulerConfig, learning_rate: float, total_steps: int
) -> Callable[[int], float]:
    """Factor on the learning rate: up to `max_lr` over the first 30 % of the steps, then down.

    Cosine both ways, from max_lr / 25 and to max_lr / 250,000 (Smith and Topin, 2018). Equal to torch's
    `OneCycleLR` with its defaults, which counts steps from 0 and peaks on the last of the 30 %.
    """
    top = config.max_lr / learning_rate
    turn, last = 0.3 * total_steps - 1, total_steps - 1
    start, end = top / 25, top / 250_000

    def factor(step: int) -> float:
        if step < turn:
            low, high, progress = start, top, step / turn
        else:
            low, high, progress = top, end, min((step - turn) / (last - turn), 1.0)
        return high + (low - high) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def build_schedule(
    optimizer: Optimizer, config: SchedulerConfig, learning_rate: float, steps_per_epoch: int, epochs: int
) -> LambdaLR:
    """Scheduler to be stepped once per optimiser step."""
    if config.type == "one_cycle":
        factor = one_cycle_factor(config, learning_rate, steps_per_epoch * epochs)
    else:
        factor = cosine_factor(config, learning_rate, steps_per_epoch, epochs)
    warmup = config.warmup_steps

    def warmed(step: int) -> float:
        return factor(step) * min(1.0, (step + 1) / warmup) if warmup else factor(step)

    return LambdaLR(optimizer, warmed)
