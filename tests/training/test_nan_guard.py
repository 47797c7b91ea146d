"""A non-finite loss blocks every later update, even if the host checks only every few steps."""

import numpy as np
import pytest
import torch
from torch import nn

from gogooku3.training.nan_guard import NanGuard

DATES = np.datetime64("2024-01-04") + np.arange(10)
CPU = torch.device("cpu")


def test_on_a_cpu_the_first_non_finite_loss_raises_at_once() -> None:
    guard = NanGuard(CPU)
    guard.record(torch.tensor(1.0), 3, range(0, 1), DATES)
    with pytest.raises(
        FloatingPointError, match=r"loss is inf at step 4 \(days between 2024-01-05 and 2024-01-07\)"
    ):
        guard.record(torch.tensor(float("inf")), 4, range(1, 4), DATES)


def test_a_later_check_names_the_first_non_finite_step() -> None:
    guard = NanGuard(CPU, every=5)
    for step, loss in enumerate([1.0, float("nan"), float("inf"), 2.0]):
        guard.record(torch.tensor(loss), step, range(step, step + 1), DATES)
    with pytest.raises(FloatingPointError, match=r"loss is nan at step 1 .*2024-01-05"):
        guard.check(DATES)
    with pytest.raises(FloatingPointError, match="at step 1"):
        guard.record(torch.tensor(2.0), 4, range(4, 5), DATES)


def test_finite_losses_pass() -> None:
    guard = NanGuard(CPU, every=2)
    for step in range(5):
        guard.record(torch.tensor(float(step)), step, range(1), DATES)
    guard.check(DATES)
    assert guard.stop == 0


@pytest.mark.parametrize("broken_at", [0, 2])
def test_nothing_is_updated_from_the_non_finite_step_on(broken_at: int) -> None:
    """Weights and optimiser state equal those of a training without the later steps."""

    def trained(losses: list[float]) -> tuple[nn.Linear, torch.optim.AdamW]:
        torch.manual_seed(0)
        layer, guard = nn.Linear(3, 1), NanGuard(CPU, every=100)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
        optimizer.found_inf = guard.stop  # type: ignore[attr-defined]
        for step, factor in enumerate(losses):
            optimizer.zero_grad()
            loss = factor * layer(torch.ones(1, 3)).square().sum()
            loss.backward()
            guard.record(loss, step, range(1), DATES)
            optimizer.step()
        return layer, optimizer

    losses = [1.0] * 5
    layer, optimizer = trained([*losses[:broken_at], float("nan"), *losses[broken_at + 1 :]])
    expected, expected_optimizer = trained(losses[:broken_at])
    assert torch.equal(layer.weight, expected.weight) and torch.equal(layer.bias, expected.bias)
    state, expected_state = optimizer.state[layer.weight], expected_optimizer.state.get(layer.weight, {})
    assert all(torch.equal(state[name], expected_state[name]) for name in expected_state)
    assert state["step"] == broken_at
