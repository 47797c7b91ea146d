"""The learning rate at the start, the peak and the end, and compared with torch's schedules."""

import math

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from gogooku3.config import SchedulerConfig
from gogooku3.training.lr_schedule import build_schedule, cosine_factor

RATE = 1e-3


def optimizer() -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=RATE)


def rates(scheduler: LRScheduler, steps: int) -> list[float]:
    """Learning rates of the first steps."""
    found = []
    for _ in range(steps):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return found


def ours(steps: int, steps_per_epoch: int = 10, epochs: int = 4, **settings: object) -> list[float]:
    config = SchedulerConfig(**settings)  # type: ignore[arg-type]
    return rates(build_schedule(optimizer(), config, RATE, steps_per_epoch, epochs), steps)


def test_cosine_annealing_by_hand() -> None:
    # Four epochs of ten steps: maximum at step 0, half way at step 20, minimum from step 40 on.
    found = ours(60, T_max=4, eta_min=1e-5)
    assert found[0] == pytest.approx(RATE)
    assert found[20] == pytest.approx((RATE + 1e-5) / 2)
    assert found[10] == pytest.approx(1e-5 + (RATE - 1e-5) * 0.5 * (1 + math.sqrt(0.5)))
    assert found[40:] == pytest.approx([1e-5] * 20)


def test_cosine_annealing_equals_torchs_over_its_period() -> None:
    expected = rates(CosineAnnealingLR(optimizer(), T_max=40, eta_min=1e-6), 41)
    assert ours(41, T_max=4, eta_min=1e-6) == pytest.approx(expected, rel=1e-6)


def test_without_a_number_of_epochs_the_cosine_spans_the_training() -> None:
    assert ours(40, T_max=None) == ours(40, T_max=4)
    assert ours(80, epochs=8, T_max=None)[79] > ours(80, epochs=8, T_max=4)[79]


def test_a_floor_above_the_learning_rate_keeps_the_learning_rate() -> None:
    factor = cosine_factor(SchedulerConfig(T_max=2, eta_min=1.0), RATE, 10, 2)
    assert [factor(0), factor(7), factor(30)] == [1, 1, 1]


@pytest.mark.parametrize("settings", [{"T_max": 4}, {"type": "one_cycle", "max_lr": 0.01}])
def test_warm_up_rises_in_equal_steps_onto_the_schedule(settings: dict[str, object]) -> None:
    plain, warmed = ours(20, **settings), ours(20, **settings, warmup_steps=5)
    shares = [w / p for w, p in zip(warmed, plain, strict=True)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, *[1.0] * 15])


def test_one_cycle_by_hand() -> None:
    # 40 steps: up to max_lr at step 0.3 * 40 - 1 = 11, down to max_lr / 250,000 at the last.
    found = ours(50, type="one_cycle", max_lr=0.01)
    assert found[0] == pytest.approx(0.01 / 25)
    assert found[11] == pytest.approx(0.01)
    assert max(found) == found[11]
    assert found[39:] == pytest.approx([0.01 / 250_000] * 11)
    assert found[25] == pytest.approx((0.01 + 0.01 / 250_000) / 2)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 10, 40, 101])
def test_one_cycle_equals_torchs(steps: int) -> None:
    expected = rates(OneCycleLR(optimizer(), max_lr=0.01, total_steps=steps), steps - 1)
    found = ours(steps, steps_per_epoch=steps, epochs=1, type="one_cycle", max_lr=0.01)
    assert found[: steps - 1] == pytest.approx(expected, rel=1e-6)
    assert found[-1] == pytest.approx(0.01 / 250_000)
