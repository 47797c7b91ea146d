"""The direct path from today's features: pieces by hand, what is missing, and a twin that loops."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from gogooku3.models.snapshot import KNOTS, SnapshotEncoder

PIECES = len(KNOTS) - 1


class Raw(nn.Module):
    """Hands on what it is given, so that a test sees what the first layer adds up."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def first_layer(features: int, hidden: int) -> SnapshotEncoder:
    """An encoder without what follows its first layer, all weights random."""
    encoder = SnapshotEncoder(features, hidden, dropout=0.0)
    encoder.mix = Raw()  # type: ignore[assignment]
    for parameter in encoder.parameters():
        nn.init.normal_(parameter)
    return encoder


def passed_by_hand(value: float) -> list[float]:
    """How far a value has passed each piece, 0 to 1, less what 0 has."""
    shares = []
    for low, high in pairwise(KNOTS):
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        shares.append(share - min(max((0 - low) / (high - low), 0.0), 1.0))
    return shares


@pytest.mark.parametrize(
    ("value", "pieces"),
    [
        (0.0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (0.15, [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
        (0.6, [0, 0, 0, 0, 0, 1, 1, 0.5, 0, 0]),
        (3.0, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]),
        (9.0, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]),
        (-0.275, [0, 0, 0, -0.5, -1, 0, 0, 0, 0, 0]),
        (-2.25, [-0.5, -1, -1, -1, -1, 0, 0, 0, 0, 0]),
        (-9.0, [-1, -1, -1, -1, -1, 0, 0, 0, 0, 0]),
    ],
)
def test_the_pieces_of_a_value_by_hand(value: float, pieces: list[float]) -> None:
    encoder = first_layer(1, PIECES)
    with torch.no_grad():
        encoder.pieces.weight.copy_(torch.eye(PIECES))
        encoder.pieces.bias.zero_()
        encoder.plain.weight.zero_()
    torch.testing.assert_close(encoder(torch.tensor([[value]])), torch.tensor([pieces]).float())
    assert passed_by_hand(value) == pytest.approx(pieces)


def test_a_missing_value_says_nothing() -> None:
    encoder = first_layer(3, 4)
    torch.testing.assert_close(encoder(torch.zeros(2, 3)), encoder.pieces.bias.expand(2, 4))
    x = torch.randn(5, 3)
    without = x.clone()
    without[:, 1] = 0
    with torch.no_grad():
        encoder.pieces.weight.view(4, 3, PIECES)[:, 1] = 0
        encoder.plain.weight[:, 1] = 0
    torch.testing.assert_close(encoder(x), encoder(without))


def test_it_equals_a_twin_that_adds_up_feature_by_feature_and_piece_by_piece() -> None:
    encoder, x = first_layer(3, 4), 2 * torch.randn(6, 3)
    weight = encoder.pieces.weight.view(4, 3, PIECES)
    for sample, found in zip(x, encoder(x), strict=True):
        expected = encoder.pieces.bias.clone()
        for feature, value in enumerate(sample.tolist()):
            expected = expected + encoder.plain.weight[:, feature] * value
            for piece, share in enumerate(passed_by_hand(value)):
                expected = expected + weight[:, feature, piece] * share
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_between_two_knots_it_is_linear_and_at_a_knot_it_may_bend() -> None:
    encoder = first_layer(1, 2)

    def at(*values: float) -> Tensor:
        return encoder(torch.tensor(values)[:, None])

    low, middle, high = at(0.4, 0.6, 0.8)
    torch.testing.assert_close(middle, (low + high) / 2, atol=1e-5, rtol=1e-5)
    before, knot, after = at(0.2, 0.4, 0.6)
    assert not torch.allclose(knot, (before + after) / 2, atol=1e-2)


def test_a_step_can_be_learned_by_one_weight() -> None:
    """From 0 to 0.15 the output climbs by 1, and stays there: what a tree does with one split."""
    encoder = first_layer(1, 1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
        encoder.pieces.weight[0, 5] = 1
    found = encoder(torch.tensor([[-4.0], [-0.1], [0.0], [0.15], [0.5], [4.0]]))
    torch.testing.assert_close(found[:, 0], torch.tensor([0.0, 0, 0, 1, 1, 1]))


def test_samples_know_nothing_of_one_another_and_the_gradient_reaches_every_weight() -> None:
    encoder = SnapshotEncoder(3, 8, dropout=0.0)
    x = torch.randn(5, 3)
    torch.testing.assert_close(encoder(x)[2:3], encoder(x[2:3]))
    encoder(x).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_knots_are_not_saved_with_the_weights() -> None:
    assert not {"low", "width", "mean"} & set(SnapshotEncoder(3, 8, 0.0).state_dict())
