"""Layers read one history; what they owe it comes to the gradient that plain products would give."""

import torch
from torch import Tensor

from gogooku3.models.history import History


def two_readings(history: History, asked: Tensor) -> Tensor:
    """What a second reading asks depends on the first, as with layers of attention."""
    for _ in range(2):
        asked = history.sums(history.scores(asked).softmax(dim=-1))
    return asked


def plain_readings(states: Tensor, asked: Tensor) -> Tensor:
    for _ in range(2):
        asked = (asked @ states.transpose(1, 2)).softmax(dim=-1) @ states
    return asked


def ready() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    states = torch.randn(6, 5, 8, dtype=torch.float64).transpose(0, 1).requires_grad_()
    return states, torch.randn(5, 2, 8, dtype=torch.float64).requires_grad_()


def gradients(found: Tensor, *sources: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(found.square().sum(), sources, retain_graph=True)


def test_readings_and_their_gradients_are_those_of_plain_products() -> None:
    states, asked = ready()
    found, plain = two_readings(History(states), asked), plain_readings(states, asked)
    torch.testing.assert_close(found, plain)
    torch.testing.assert_close(gradients(found, states, asked), gradients(plain, states, asked))


def test_a_second_backward_pass_owes_no_more_than_the_first() -> None:
    states, asked = ready()
    found = two_readings(History(states), asked)
    first = gradients(found, states)
    gradients(found, asked)
    torch.testing.assert_close(gradients(found, states), first, rtol=0, atol=0)


def test_a_pass_owes_nothing_for_an_earlier_one_that_did_not_reach_the_history() -> None:
    states, asked = ready()
    other = asked.detach().flip(0).requires_grad_()
    history = History(states)
    found, others = two_readings(history, asked), two_readings(history, other)
    gradients(found, asked)
    expected = gradients(plain_readings(states, other), states)
    torch.testing.assert_close(gradients(others, states), expected)


def test_without_gradients_the_readings_are_the_same_bits() -> None:
    states, asked = ready()
    with torch.no_grad():
        found = two_readings(History(states), asked)
    assert torch.equal(found, two_readings(History(states), asked))
