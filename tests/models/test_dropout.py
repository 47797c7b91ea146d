"""Dropout on a CPU: how much is dropped, what is left, and that seeds decide."""

import pytest
import torch
from torch.nn import functional

from gogooku3.models.dropout import Dropout


@pytest.mark.parametrize("shape", [(1,), (3, 5, 7), (400, 301)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_value_is_dropped_or_scaled_up(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(shape, dtype=dtype)
    found = Dropout(0.2)(x)
    assert found.dtype == dtype
    assert set(found.unique().tolist()) <= {0.0, torch.tensor(1.25, dtype=dtype).item()}


def test_a_share_next_to_one_drops_nearly_all() -> None:
    torch.manual_seed(0)
    assert (Dropout(1 - 1e-7)(torch.ones(10_000)) == 0).double().mean() > 0.99


@pytest.mark.parametrize("share", [0.003, 0.2, 0.5, 0.9])
def test_as_many_are_dropped_as_was_said_and_independently(share: float) -> None:
    torch.manual_seed(0)
    n = 1_000_000
    dropped = Dropout(share)(torch.ones(n)) == 0
    error = (share * (1 - share) / n) ** 0.5
    assert dropped.double().mean().item() == pytest.approx(share, abs=4 * error)
    # Four neighbours come from one draw.
    for lag in (1, 2, 3, 4):
        both = (dropped[lag:] & dropped[:-lag]).double().mean().item()
        assert both == pytest.approx(share**2, abs=4 * (share**2 / n) ** 0.5)


def test_gradients_are_dropped_with_their_values() -> None:
    x = torch.randn(50, 30, requires_grad=True)
    found = Dropout(0.3)(x)
    found.sum().backward()
    assert torch.equal(x.grad == 0, found == 0)


def test_the_seed_decides() -> None:
    x, layer = torch.ones(100), Dropout(0.5)
    torch.manual_seed(7)
    first, second = layer(x), layer(x)
    torch.manual_seed(7)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_nothing_is_dropped_in_evaluation_or_at_a_share_of_zero() -> None:
    x = torch.randn(9, 4)
    assert Dropout(0.5).eval()(x) is x
    assert torch.equal(Dropout(0.0)(x), x)
    assert torch.equal(Dropout(1.0)(x), functional.dropout(x, 1.0))
