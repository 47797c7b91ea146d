"""ATFT core: an LSTM reads the window, the current step asks its history, the market's state sets
how sharply. Only the input projection and the LSTM touch every step; the rest runs once a sample.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class RegimeSharpness(nn.Module):
    """How sharp attention is today, from a summary of the same day's cross-section.

    The summary is the mean and the deviation over the day's stocks of their current states:
    nothing later than the day, and the order of stocks does not matter.

    Shapes:
        states `[samples, hidden]`, day_index int `[samples]` -> factor `[samples, outputs]`
        between 1/e and e, 1 at the start.
    """

    def __init__(self, hidden_dim: int, outputs: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(2 * hidden_dim, max(1, hidden_dim // 4)),
            nn.Tanh(),
            nn.Linear(max(1, hidden_dim // 4), outputs),
            nn.Tanh(),
        )
        last = self.network[2]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, states: Tensor, day_index: Tensor, n_days: int) -> Tensor:
        member = functional.one_hot(day_index, n_days).to(states.dtype).t()
        share = member / member.sum(dim=1, keepdim=True).clamp(min=1)
        mean = share @ states
        deviation = (share @ (states - mean[day_index]).square() + 1e-6).sqrt()
        factor: Tensor = self.network(torch.cat([mean, deviation], dim=1)).exp()
        return factor.index_select(0, day_index)


class HistoryAttention(nn.Module):
    """One layer: the current state asks the history, then a feed-forward step.

    With a single query no key or value tensors are needed: the key projection is folded into the
    query, the value projection is applied after the weighted sum. Same maths as multi-head
    attention (Vaswani et al., 2017, eq. 1) with a learned bias for each head and lag.

    Shapes:
        state `[samples, hidden]`, history `[samples, steps, hidden]`, absent bool
        `[samples, steps]` (steps that may not be attended to), sharpness `[samples, heads]`
        -> state `[samples, hidden]`, weights `[samples, heads, steps]`.
    """

    def __init__(
        self, hidden_dim: int, num_heads: int, sequence_length: int, feedforward_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = hidden_dim // num_heads
        self.query = nn.Linear(hidden_dim, hidden_dim)
        self.key = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.value = nn.Linear(hidden_dim, hidden_dim)
        self.output = nn.Linear(hidden_dim, hidden_dim)
        self.lag_bias = nn.Parameter(torch.zeros(num_heads, sequence_length))
        self.attention_norm = nn.LayerNorm(hidden_dim)
        self.feedforward_norm = nn.LayerNorm(hidden_dim)
        self.feedforward = nn.Sequential(
            nn.Linear(hidden_dim, feedforward_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward_dim, hidden_dim),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, state: Tensor, history: Tensor, absent: Tensor | None, sharpness: Tensor
    ) -> tuple[Tensor, Tensor]:
        samples, hidden = state.shape
        heads, head_dim = self.num_heads, self.head_dim
        query = self.query(self.attention_norm(state)).view(samples, heads, head_dim)
        folded = torch.einsum("nhd,hde->nhe", query, self.key.weight.view(heads, head_dim, hidden))
        scores = torch.bmm(folded, history.transpose(1, 2)) * (head_dim**-0.5 * sharpness[:, :, None])
        scores = scores.float() + self.lag_bias
        if absent is not None:
            scores = scores.masked_fill(absent[:, None, :], float("-inf"))
        weights = scores.softmax(dim=-1)
        summed = torch.bmm(weights.to(history.dtype), history)
        value = torch.einsum("nhe,hde->nhd", summed, self.value.weight.view(heads, head_dim, hidden))
        asked = self.output(value.reshape(samples, hidden) + self.value.bias)
        state = state + self.dropout(asked)
        return state + self.dropout(self.feedforward(self.feedforward_norm(state))), weights


class ATFTCore(nn.Module):
    """From a window of features to one state a sample.

    Args:
        input_dim: features of a step.
        hidden_dim: width of the state; a multiple of `num_heads`.
        num_heads: attention heads.
        sequence_length: steps of a window (60 trading days).
        num_layers: attention layers.
        dropout: share dropped after attention and feed-forward.
        feedforward_dim: width inside a layer's feed-forward step; None is 5.25 x hidden, which
            brings the default network to 5.6M parameters.

    Shapes:
        x `[samples, steps, features]`, step_mask bool `[samples, steps]` (true: the stock
        traded), day_index int `[samples]` (which samples share a day) -> state
        `[samples, hidden]`, attention `[samples, layers, heads, steps]`.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        num_heads: int,
        sequence_length: int,
        num_layers: int = 4,
        dropout: float = 0.3,
        feedforward_dim: int | None = None,
    ) -> None:
        super().__init__()
        if hidden_dim % num_heads:
            raise ValueError(f"hidden_dim {hidden_dim} is not a multiple of num_heads {num_heads}")
        self.sequence_length = sequence_length
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.input_projection = nn.Linear(input_dim, hidden_dim)
        self.absent_step = nn.Parameter(torch.zeros(hidden_dim))
        self.lstm = nn.LSTM(hidden_dim, hidden_dim, num_layers=2, dropout=min(dropout, 0.2))
        self.regime = RegimeSharpness(hidden_dim, num_layers * num_heads)
        width = feedforward_dim or int(5.25 * hidden_dim)
        self.temporal_attention = nn.ModuleList(
            HistoryAttention(hidden_dim, num_heads, sequence_length, width, dropout)
            for _ in range(num_layers)
        )
        self.feature_fusion = nn.Sequential(
            nn.Linear(2 * hidden_dim, 2 * hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * hidden_dim, hidden_dim),
        )
        self.norm = nn.LayerNorm(hidden_dim)

    def forward(
        self,
        x: Tensor,
        step_mask: Tensor | None = None,
        day_index: Tensor | None = None,
        n_days: int = 1,
    ) -> tuple[Tensor, Tensor]:
        samples = x.shape[0]
        projected = self.input_projection(x.transpose(0, 1))
        absent = None
        if step_mask is not None:
            absent = ~step_mask
            projected = torch.where(
                step_mask.t()[:, :, None], projected, self.absent_step.to(projected.dtype)
            )
        read, _ = self.lstm(projected)
        history = (read + projected).transpose(0, 1)
        state, current = read[-1], projected[-1]
        if day_index is None:
            day_index = torch.zeros(samples, dtype=torch.long, device=x.device)
        sharpness = self.regime(state, day_index, n_days).view(samples, self.num_layers, self.num_heads)
        attention = []
        for number, layer in enumerate(self.temporal_attention):
            state, weights = layer(state, history, absent, sharpness[:, number])
            attention.append(weights)
        fused = self.norm(state + self.feature_fusion(torch.cat([state, current], dim=1)))
        return fused, torch.stack(attention, dim=1)
