"""The loss by hand; an unknown target is ignored in its own horizon only."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gogooku3.errors import ConfigError
from gogooku3.training.losses import MultiHorizonFinancialLoss, mean_daily_correlation

NAN = float("nan")


def test_two_horizons_by_hand() -> None:
    loss = MultiHorizonFinancialLoss({1: 1.0, 5: 0.7})
    predictions = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    targets = torch.tensor([[1.0, 1.0], [0.0, 3.0]])
    # (1.0 * (1 + 4) / 2 + 0.7 * (0 + 4) / 2) / 2
    assert loss(predictions, targets).item() == pytest.approx((2.5 + 1.4) / 2)
    default = MultiHorizonFinancialLoss()
    assert default.horizon_weights == {1: 1.0, 5: 0.7, 10: 0.5, 20: 0.5}
    assert default(torch.zeros(3, 4), torch.ones(3, 4)).item() == pytest.approx(2.7 / 4)


def test_weights_belong_to_columns_in_their_own_order() -> None:
    predictions, targets = torch.zeros(1, 2), torch.tensor([[1.0, 10.0]])
    assert MultiHorizonFinancialLoss({1: 1.0, 5: 0.0})(predictions, targets).item() == pytest.approx(0.5)
    assert MultiHorizonFinancialLoss({5: 0.0, 1: 1.0})(predictions, targets).item() == pytest.approx(50)


def test_a_horizon_without_any_known_target_contributes_nothing() -> None:
    loss = MultiHorizonFinancialLoss({1: 1.0, 5: 1.0})
    predictions = torch.randn(3, 2, requires_grad=True)
    targets = torch.stack([torch.tensor([1.0, 2.0, 3.0]), torch.full((3,), NAN)], dim=1)
    value = loss(predictions, targets)
    assert value.item() == pytest.approx((predictions[:, 0] - targets[:, 0]).square().mean().item() / 2)
    value.backward()
    assert predictions.grad is not None
    assert predictions.grad.isfinite().all()
    assert (predictions.grad[:, 1] == 0).all()
    assert loss(predictions, torch.full((3, 2), NAN)).item() == 0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), samples=st.integers(1, 20), missing=st.floats(0, 1))
def test_the_loss_equals_a_slow_twin(seed: int, samples: int, missing: float) -> None:
    torch.manual_seed(seed)
    weights = {1: 0.3, 2: 1.1, 7: 0.0}
    predictions, targets = torch.randn(samples, 3), torch.randn(samples, 3)
    targets[torch.rand(samples, 3) < missing] = NAN
    total = 0.0
    for column, weight in enumerate(weights.values()):
        errors = [
            (p - t) ** 2
            for p, t in zip(predictions[:, column].tolist(), targets[:, column].tolist(), strict=True)
            if t == t
        ]
        total += weight * sum(errors) / len(errors) if errors else 0
    found = MultiHorizonFinancialLoss(weights)(predictions, targets)
    assert found.item() == pytest.approx(total / 3, rel=1e-4, abs=1e-6)


def test_a_prediction_that_is_not_finite_makes_the_loss_so() -> None:
    predictions = torch.tensor([[NAN, 0.0]])
    assert not MultiHorizonFinancialLoss({1: 1.0, 5: 1.0})(predictions, torch.zeros(1, 2)).isfinite()


@pytest.mark.parametrize("weights", [{}, {1: 1.0, 5: -0.1}])
def test_missing_and_negative_weights_are_refused(weights: dict[int, float]) -> None:
    with pytest.raises(ConfigError, match="horizon_weights"):
        MultiHorizonFinancialLoss(weights)
    with pytest.raises(ConfigError, match="correlation_weight is -1"):
        MultiHorizonFinancialLoss({1: 1.0}, correlation_weight=-1)


def test_mismatched_shapes_are_refused() -> None:
    loss = MultiHorizonFinancialLoss({1: 1.0, 5: 1.0})
    with pytest.raises(ValueError, match=r"\[samples, 2\], got \(3, 2\) and \(4, 2\)"):
        loss(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"\[samples, 2\]"):
        loss(torch.zeros(3, 4), torch.zeros(3, 4))


# --- the correlation within the day ------------------------------------------------------------------------


def test_the_correlation_by_hand() -> None:
    # Day 0 in perfect order, day 1 in perfect disorder, day 2 with one stock: 1 - (1 - 1) / 2 = 1.
    predictions = torch.tensor([[1.0], [2.0], [5.0], [3.0], [8.0]])
    targets = torch.tensor([[10.0], [20.0], [1.0], [2.0], [4.0]])
    day = torch.tensor([0, 0, 1, 1, 2])
    plain = MultiHorizonFinancialLoss({1: 0.5})(predictions, targets).item()
    found = MultiHorizonFinancialLoss({1: 0.5}, correlation_weight=4.0)(predictions, targets, day, 3).item()
    assert found == pytest.approx(plain + 4.0 * 0.5 * 1.0)
    first = MultiHorizonFinancialLoss({1: 0.5}, 4.0)(predictions[:2], targets[:2])
    second = MultiHorizonFinancialLoss({1: 0.5})(predictions[:2], targets[:2])
    assert first.item() == pytest.approx(second.item(), abs=1e-5), "perfect order costs nothing"


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), days=st.integers(1, 5), missing=st.floats(0, 0.9))
def test_the_correlation_equals_numpys_by_day(seed: int, days: int, missing: float) -> None:
    torch.manual_seed(seed)
    day = torch.randint(0, days, (25,))
    predictions, targets = torch.randn(25, 2), torch.randn(25, 2)
    targets[torch.rand(25, 2) < missing] = NAN
    targets[day == 0, 1] = 3.0
    found, counted = mean_daily_correlation(predictions, targets, day, days)
    for column in range(2):
        by_day = []
        for number in range(days):
            known = (day == number) & ~targets[:, column].isnan()
            p, y = predictions[known, column].numpy(), targets[known, column].numpy()
            if len(p) > 1 and y.std() > 0:
                by_day.append(np.corrcoef(p, y)[0, 1])
        assert counted[column] == len(by_day)
        assert found[column].item() == pytest.approx(np.mean(by_day) if by_day else 0, abs=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.3, -7.0])
def test_constant_predictions_have_a_finite_gradient_and_no_correlation(value: float) -> None:
    predictions = torch.full((6, 2), value, requires_grad=True)
    targets = torch.randn(6, 2)
    day = torch.tensor([0, 0, 0, 1, 1, 1])
    loss = MultiHorizonFinancialLoss({1: 1.0, 5: 1.0}, correlation_weight=1.0)(predictions, targets, day, 2)
    loss.backward()
    assert predictions.grad is not None
    assert predictions.grad.isfinite().all()
    plain = MultiHorizonFinancialLoss({1: 1.0, 5: 1.0})(predictions, targets)
    assert loss.item() == pytest.approx(plain.item())


def test_the_gradient_of_the_correlation_is_that_of_finite_differences() -> None:
    predictions = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(9, 2, dtype=torch.float64)
    targets[4, 0] = NAN
    day = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 1])
    assert torch.autograd.gradcheck(lambda p: mean_daily_correlation(p, targets, day, 3)[0], predictions)


def test_the_correlation_ignores_shift_and_scale_of_a_day() -> None:
    predictions, targets = torch.randn(8, 1), torch.randn(8, 1)
    day = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    moved = predictions * torch.where(day == 0, 5.0, 0.2)[:, None] + torch.where(day == 0, 1.0, -3.0)[:, None]
    before, after = (mean_daily_correlation(p, targets, day, 2)[0] for p in (predictions, moved))
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)
