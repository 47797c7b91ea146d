"""Graph attention over the neighbours of a stock on the same day and the stock itself."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Neighbours(NamedTuple):
    """Sparse edges as a table: up to K neighbours per node.

    Shapes:
        index int64 `[nodes, K]`: neighbours (any value where not valid);
        weight float `[nodes, K]`: signed correlation; valid bool `[nodes, K]`.
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    weight: Tensor
    valid: Tensor

    @staticmethod
    def none(nodes: int, device: torch.device | str = "cpu") -> "Neighbours":
        """No node has a neighbour."""
        empty = torch.zeros(nodes, 0, device=device)
        return Neighbours(empty.long(), empty, empty.bool())

    @staticmethod
    def from_dense(adjacency: Tensor) -> "Neighbours":
        """From signed weights `[nodes, nodes]` (row: receiver, 0: no edge); the diagonal is ignored."""
        weights = adjacency - torch.diag_embed(adjacency.diagonal())
        degree = int((weights != 0).sum(dim=1).max()) if len(weights) else 0
        index = weights.abs().topk(degree, dim=1).indices
        weight = weights.gather(1, index)
        return Neighbours(index, weight, weight != 0)

    @staticmethod
    def from_edges(edge_index: Tensor, edge_weight: Tensor, nodes: int) -> "Neighbours":
        """From lists of edges: edge_index int64 `[2, edges]` (source, receiver), weights `[edges]`.

        Self-loops are dropped, because every node attends to itself anyway.
        """
        distinct = edge_index[0] != edge_index[1]
        edge_index, edge_weight = edge_index[:, distinct], edge_weight[distinct]
        # Edge e goes to row `receiver[e]`, column: its number among the edges of that receiver.
        order = torch.argsort(edge_index[1], stable=True)
        source, receiver = edge_index[:, order]
        degree = torch.bincount(receiver, minlength=nodes)
        width = int(degree.max()) if len(receiver) else 0
        start = degree.cumsum(0) - degree
        slot = torch.arange(len(receiver), device=receiver.device) - start[receiver]
        index = torch.zeros(nodes, width, dtype=torch.long, device=receiver.device)
        weight = torch.zeros(nodes, width, dtype=edge_weight.dtype, device=receiver.device)
        index[receiver, slot], weight[receiver, slot] = source, edge_weight[order]
        return Neighbours(index, weight, torch.arange(width, device=receiver.device) < degree[:, None])


class FinancialGraphAttention(nn.Module):
    """Multi-head graph attention over signed correlation edges (Velickovic et al., 2018, eq. 1-5).

    A head's score of neighbour j for node i is `LeakyReLU(a . [W h_i, W h_j]) + s |corr_ij|` with a learned
    strength `s`. Softmax runs over the neighbours and the node itself. The message of a negative edge is
    multiplied by -1.

    Args:
        in_features: width of a node's state.
        out_features: width of one head's output.
        num_heads: heads; outputs are concatenated.

    Shapes:
        features `[nodes, in_features]`; adjacency_matrix dense `[nodes, nodes]` (row: receiver),
        `(edge_index, edge_weight)`, or `Neighbours` -> aggregated
        `[nodes, num_heads * out_features]` and attention: `[num_heads, nodes, nodes]` for a dense
        matrix, else `[nodes, num_heads, 1 + K]` with the node itself first.
    """

    def __init__(self, in_features: int, out_features: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.out_features = out_features
        self.W = nn.Linear(in_features, out_features * num_heads)
        self.a = nn.Linear(2 * out_features, 1)
        self.edge_importance = nn.Parameter(torch.zeros(1))

    def forward(
        self, features: Tensor, adjacency_matrix: Tensor | tuple[Tensor, Tensor] | Neighbours
    ) -> tuple[Tensor, Tensor]:
        nodes = features.shape[0]
        if isinstance(adjacency_matrix, Tensor):
            dense = adjacency_matrix.to_dense() if adjacency_matrix.is_sparse else adjacency_matrix
            if dense.shape != (nodes, nodes):
                raise ValueError(
                    f"adjacency_matrix is {tuple(dense.shape)}; {nodes} nodes need {(nodes, nodes)}"
                )
            neighbours = Neighbours.from_dense(dense)
            aggregated, attention = self._attend(features, neighbours)
            return aggregated, _dense_attention(attention, neighbours)
        if isinstance(adjacency_matrix, Neighbours):
            return self._attend(features, adjacency_matrix)
        return self._attend(features, Neighbours.from_edges(*adjacency_matrix, nodes))

    def _attend(self, features: Tensor, neighbours: Neighbours) -> tuple[Tensor, Tensor]:
        nodes, width = neighbours.index.shape
        hidden = self.W(features).view(nodes, self.num_heads, self.out_features)
        # a . [W h_i, W h_j] splits into a receiver part and a sender part.
        own, other = self.a.weight.view(2, self.out_features).to(hidden.dtype)
        receiver_score = hidden @ own + self.a.bias.to(hidden.dtype)
        sender_score = hidden @ other
        flat = neighbours.index.flatten()
        neighbour_score = sender_score.index_select(0, flat).view(nodes, width, self.num_heads)
        scores = torch.cat([sender_score[:, None], neighbour_score], dim=1) + receiver_score[:, None]
        scores = functional.leaky_relu(scores, 0.2).float()
        # The node itself is in column 0, with correlation 1.
        strength = functional.pad(neighbours.weight.abs(), (1, 0), value=1.0)
        scores = scores + (self.edge_importance * strength)[:, :, None]
        valid = functional.pad(neighbours.valid, (1, 0), value=True)
        attention = scores.masked_fill(~valid[:, :, None], float("-inf")).softmax(dim=1)
        sign = torch.where(neighbours.weight < 0, -1.0, 1.0)
        message = hidden.index_select(0, flat).view(nodes, width, self.num_heads, self.out_features)
        weight = (attention[:, 1:] * sign[:, :, None]).to(hidden.dtype)
        aggregated = hidden * attention[:, 0, :, None].to(hidden.dtype)
        aggregated = aggregated + torch.einsum("nkh,nkho->nho", weight, message)
        return aggregated.reshape(nodes, -1), attention.transpose(1, 2)


def _dense_attention(attention: Tensor, neighbours: Neighbours) -> Tensor:
    """Spread `[nodes, heads, 1 + K]` to `[heads, nodes, nodes]`."""
    nodes, heads, _ = attention.shape
    own = torch.arange(nodes, device=attention.device)[:, None]
    index = torch.cat([own, neighbours.index], dim=1)[:, None, :].expand_as(attention)
    dense = attention.new_zeros(nodes, heads, nodes).scatter_add(2, index, attention)
    return dense.transpose(0, 1)
