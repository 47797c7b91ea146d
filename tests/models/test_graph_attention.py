"""Graph attention: by hand, against a slow twin, in every format of edges."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from gogooku3.models.graph_attention import FinancialGraphAttention, Neighbours


def random_graph(seed: int, nodes: int, share: float) -> Tensor:
    """Signed weights, row: receiver; not symmetric, no self-loops; some nodes may have no neighbour."""
    generator = torch.Generator().manual_seed(seed)
    weights = 2 * torch.rand(nodes, nodes, generator=generator) - 1
    weights[torch.rand(nodes, nodes, generator=generator) > share] = 0
    return weights - torch.diag_embed(weights.diagonal())


def random_layer(in_features: int = 5, out_features: int = 4, heads: int = 2) -> FinancialGraphAttention:
    layer = FinancialGraphAttention(in_features, out_features, heads)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


def as_edges(adjacency: Tensor) -> tuple[Tensor, Tensor]:
    receiver, source = adjacency.nonzero(as_tuple=True)
    order = torch.randperm(len(source))
    return torch.stack([source, receiver])[:, order], adjacency[receiver, source][order]


def twin(layer: FinancialGraphAttention, features: Tensor, adjacency: Tensor) -> tuple[Tensor, Tensor]:
    """The formula, node by node and head by head."""
    nodes, heads, width = len(features), layer.num_heads, layer.out_features
    hidden = layer.W(features).view(nodes, heads, width)
    aggregated = torch.zeros(nodes, heads, width)
    attention = torch.zeros(heads, nodes, nodes)
    for i in range(nodes):
        sources = [i, *[j for j in range(nodes) if j != i and adjacency[i, j] != 0]]
        for head in range(heads):
            scores = []
            for j in sources:
                pair = torch.cat([hidden[i, head], hidden[j, head]])
                strength = 1.0 if j == i else adjacency[i, j].abs()
                scores.append(functional.leaky_relu(layer.a(pair), 0.2) + layer.edge_importance * strength)
            weights = torch.cat(scores).softmax(dim=0)
            for j, weight in zip(sources, weights, strict=True):
                sign = -1.0 if j != i and adjacency[i, j] < 0 else 1.0
                aggregated[i, head] += sign * weight * hidden[j, head]
                attention[head, i, j] = weight
    return aggregated.reshape(nodes, -1), attention


def hand_layer(importance: float = 0.0) -> FinancialGraphAttention:
    """W = 1, a = (0, 1): the score of a message is its sender's state."""
    layer = FinancialGraphAttention(1, 1, 1)
    with torch.no_grad():
        layer.W.weight.fill_(1)
        layer.W.bias.fill_(0)
        layer.a.weight.copy_(torch.tensor([[0.0, 1.0]]))
        layer.a.bias.fill_(0)
        layer.edge_importance.fill_(importance)
    return layer


def test_two_nodes_by_hand() -> None:
    # Node 0 (state 0) attends to node 1 (state log 3): weights 1/4 and 3/4. Node 1 attends only to itself.
    features = torch.tensor([[0.0], [math.log(3)]])
    aggregated, attention = hand_layer()(features, torch.tensor([[0.0, 0.5], [0.0, 0.0]]))
    torch.testing.assert_close(attention, torch.tensor([[[0.25, 0.75], [0.0, 1.0]]]))
    torch.testing.assert_close(aggregated, torch.tensor([[0.75 * math.log(3)], [math.log(3)]]))


def test_a_negative_edge_flips_only_the_sign_of_its_message() -> None:
    features = torch.tensor([[0.0], [math.log(3)]])
    aggregated, attention = hand_layer()(features, torch.tensor([[0.0, -0.5], [0.0, 0.0]]))
    torch.testing.assert_close(attention, torch.tensor([[[0.25, 0.75], [0.0, 1.0]]]))
    torch.testing.assert_close(aggregated, torch.tensor([[-0.75 * math.log(3)], [math.log(3)]]))


def test_edge_importance_weighs_strong_correlations_by_hand() -> None:
    # Equal states, importance log 2: the node itself counts as correlation 1, the neighbour as 0.5.
    _, attention = hand_layer(math.log(2))(torch.zeros(2, 1), torch.tensor([[0.0, -0.5], [0.0, 0.0]]))
    root = math.sqrt(2)
    torch.testing.assert_close(attention[0, 0], torch.tensor([2 / (2 + root), root / (2 + root)]))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), nodes=st.integers(1, 7), share=st.floats(0, 1))
def test_dense_edges_equal_a_slow_twin(seed: int, nodes: int, share: float) -> None:
    torch.manual_seed(seed)
    layer, features, adjacency = random_layer(), torch.randn(nodes, 5), random_graph(seed, nodes, share)
    aggregated, attention = layer(features, adjacency)
    expected, expected_attention = twin(layer, features, adjacency)
    torch.testing.assert_close(aggregated, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention, expected_attention, atol=1e-5, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), nodes=st.integers(1, 9), share=st.floats(0, 1))
def test_matrix_edge_list_and_neighbour_table_are_equivalent(seed: int, nodes: int, share: float) -> None:
    torch.manual_seed(seed)
    layer, features, adjacency = random_layer(), torch.randn(nodes, 5), random_graph(seed, nodes, share)
    dense, _ = layer(features, adjacency)
    table, _ = layer(features, Neighbours.from_dense(adjacency))
    edges, _ = layer(features, as_edges(adjacency))
    sparse, _ = layer(features, adjacency.to_sparse())
    for other in (table, edges, sparse):
        torch.testing.assert_close(other, dense, atol=1e-6, rtol=1e-5)


def test_self_loops_change_nothing_in_any_format() -> None:
    layer, features, adjacency = random_layer(), torch.randn(5, 5), random_graph(3, 5, 0.5)
    looped = adjacency + torch.eye(5)
    expected, _ = layer(features, adjacency)
    for edges in (looped, as_edges(looped)):
        torch.testing.assert_close(layer(features, edges)[0], expected)


def test_padding_is_ignored_wherever_it_points() -> None:
    layer, features = random_layer(), torch.randn(3, 5)
    valid = torch.tensor([[True, False], [False, False], [True, True]])
    weight = torch.tensor([[0.5, 9.0], [9.0, 9.0], [0.3, -0.2]])
    index = torch.tensor([[1, 2], [2, 0], [0, 1]])
    first, attention = layer(features, Neighbours(index, weight, valid))
    index[~valid] = 1
    second, _ = layer(features, Neighbours(index, torch.where(valid, weight, 0), valid))
    torch.testing.assert_close(first, second)
    assert (attention[:, :, 1:].transpose(1, 2)[~valid] == 0).all()


def test_a_node_without_neighbours_attends_only_to_itself() -> None:
    layer, features = random_layer(), torch.randn(4, 5)
    for edges in (Neighbours.none(4), torch.zeros(4, 4), (torch.zeros(2, 0).long(), torch.zeros(0))):
        aggregated, _ = layer(features, edges)
        torch.testing.assert_close(aggregated, layer.W(features))
    _, attention = layer(features, torch.zeros(4, 4))
    torch.testing.assert_close(attention, torch.eye(4).expand(2, 4, 4))


def test_attention_sums_to_one_over_a_node_and_its_neighbours() -> None:
    layer, features, adjacency = random_layer(), torch.randn(6, 5), random_graph(1, 6, 0.5)
    _, dense = layer(features, adjacency)
    _, sparse = layer(features, Neighbours.from_dense(adjacency))
    torch.testing.assert_close(dense.sum(dim=-1), torch.ones(2, 6))
    torch.testing.assert_close(sparse.sum(dim=-1), torch.ones(6, 2))
    torch.testing.assert_close(sparse[:, :, 0], dense.diagonal(dim1=1, dim2=2).t())


def test_permuting_the_nodes_permutes_the_result() -> None:
    layer, features, adjacency = random_layer(), torch.randn(6, 5), random_graph(2, 6, 0.5)
    order = torch.randperm(6)
    aggregated, _ = layer(features, adjacency)
    renamed, _ = layer(features[order], adjacency[order][:, order])
    torch.testing.assert_close(renamed, aggregated[order])


def test_the_gradient_reaches_edge_importance_and_every_weight() -> None:
    layer, features = random_layer(), torch.randn(6, 5, requires_grad=True)
    aggregated, _ = layer(features, random_graph(4, 6, 0.6))
    aggregated.square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert features.grad is not None


def test_a_matrix_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"adjacency_matrix is \(3, 3\); 4 nodes need \(4, 4\)"):
        random_layer()(torch.randn(4, 5), torch.zeros(3, 3))
