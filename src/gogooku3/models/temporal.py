"""ATFT core: an LSTM reads the window, the current step asks its history, the market's state sets
how sharply. Only the input projection and the LSTM touch every step; the rest runs once a sample.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gogooku3.models.dropout import LSTM, Dropout
from gogooku3.models.history import History

FEEDFORWARD = 3.9
"""Width inside a feed-forward step, in widths of the state."""


State = tuple[Tensor, Tensor]
"""Hidden and cell state of the LSTM's layers, each `[layers, samples, hidden]`."""


def run_piece(function: Callable[..., Any], *inputs: Any, recompute: bool) -> Any:
    """Run a piece of the network; `recompute` keeps its inputs alone and runs it again for its gradient.

    Dropout draws the same masks again (Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost").
    """
    return checkpoint(function, *inputs, use_reentrant=False) if recompute else function(*inputs)


class Regime(nn.Module):
    """The market's state today: how sharp attention is, and how much each part of the state counts.

    It reads a summary of the same day's cross-section and nothing later: the mean and the deviation over
    the day's stocks of their current states and, where given, the day's raw statistics, which day-wise
    normalisation takes out of the features. The order of stocks does not matter.

    Args:
        hidden_dim: width of the states.
        outputs: attention heads of all layers; 0 for none.
        market_dim: raw statistics of a day; 0 for none.
        dropout: share of the summary dropped; high, because there are few days.

    Shapes:
        states `[samples, hidden]`, day_index int `[samples]`, market `[days, market_dim]` or None (all 0)
        -> sharpness `[samples, outputs]` between 1/e and e, 1 at the start, and scale
        `[samples, hidden]`, near 1 at the start.
    """

    def __init__(self, hidden_dim: int, outputs: int, market_dim: int = 0, dropout: float = 0.3) -> None:
        super().__init__()
        self.market_dim = market_dim
        width = max(1, hidden_dim // 4)
        read = nn.Linear(2 * hidden_dim + market_dim, width)
        if market_dim:
            # As loud as the states, however few its numbers are; else what it says is found by luck.
            nn.init.normal_(read.weight[:, 2 * hidden_dim :], std=market_dim**-0.5)
        self.summary = nn.Sequential(Dropout(dropout), read, nn.Tanh())
        self.sharpness = zero_linear(width, outputs) if outputs else None
        # Not 0: the heads are at the start, and behind two zeros in a row no gradient would reach it.
        self.scale = nn.Linear(width, hidden_dim)
        nn.init.zeros_(self.scale.bias)

    def forward(
        self, states: Tensor, day_index: Tensor, n_days: int, market: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        # Not `one_hot`: it looks at its numbers, for which a GPU would have to be waited for.
        numbers = torch.arange(n_days, device=day_index.device)
        member = (numbers[:, None] == day_index).to(states.dtype)
        share = member / member.sum(dim=1, keepdim=True).clamp(min=1)
        mean = share @ states
        deviation = (share @ (states - mean[day_index]).square() + 1e-6).sqrt()
        if market is None:
            market = states.new_zeros(n_days, self.market_dim)
        summary = self.summary(torch.cat([mean, deviation, market.to(states.dtype)], dim=1))
        scale = 1 + self.scale(summary).index_select(0, day_index)
        if self.sharpness is None:
            return states.new_ones(len(states), 0), scale
        return self.sharpness(summary).tanh().exp().index_select(0, day_index), scale


def zero_linear(width: int, outputs: int) -> nn.Linear:
    """A layer that says 0 until it has learned."""
    layer = nn.Linear(width, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class HistoryAttention(nn.Module):
    """One layer: the current state asks the history, then a feed-forward step.

    With a single query no key or value tensors are needed: the key projection is folded into the
    query, the value projection is applied after the weighted sum. Same maths as multi-head
    attention (Vaswani et al., 2017, eq. 1) with a learned bias for each head and lag.

    Shapes:
        state `[samples, hidden]`, history of `[samples, steps, hidden]`, absent bool
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
            Dropout(dropout),
            nn.Linear(feedforward_dim, hidden_dim),
        )
        self.dropout = Dropout(dropout)

    def forward(
        self, state: Tensor, history: History, absent: Tensor | None, sharpness: Tensor
    ) -> tuple[Tensor, Tensor]:
        samples, hidden = state.shape
        heads, head_dim = self.num_heads, self.head_dim
        query = self.query(self.attention_norm(state)).view(samples, heads, head_dim)
        folded = torch.einsum("nhd,hde->nhe", query, self.key.weight.view(heads, head_dim, hidden))
        scores = history.scores(folded) * (head_dim**-0.5 * sharpness[:, :, None])
        scores = scores.float() + self.lag_bias
        if absent is not None:
            scores = scores.masked_fill(absent[:, None, :], float("-inf"))
        weights = scores.softmax(dim=-1)
        summed = history.sums(weights)
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
        num_layers: attention layers; 0 leaves what the LSTM remembers.
        dropout: share dropped after attention and feed-forward.
        feedforward_dim: width inside a layer's feed-forward step; None is FEEDFORWARD x hidden, which
            brings the default network to 5.6M parameters.
        market_dim: raw statistics of a day that the regime reads; None leaves the regime out.
        snapshot_dim: width of the encoded current step; None: only the window is read.

    Shapes:
        x `[samples, steps, features]`, step_mask bool `[samples, steps]` (true: the stock
        traded), day_index int `[samples]` (which samples share a day), market `[days, market_dim]`,
        today `[samples, snapshot_dim]` (the current step, encoded)
        -> state `[samples, hidden]`, attention `[samples, layers, heads, steps]`.
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
        market_dim: int | None = 0,
        snapshot_dim: int | None = None,
    ) -> None:
        super().__init__()
        if hidden_dim % num_heads:
            raise ValueError(f"hidden_dim {hidden_dim} is not a multiple of num_heads {num_heads}")
        self.sequence_length = sequence_length
        self.num_heads = num_heads
        self.num_layers = num_layers
        self.input_projection = nn.Linear(input_dim, hidden_dim)
        self.absent_step = nn.Parameter(torch.zeros(hidden_dim))
        self.lstm = LSTM(hidden_dim, hidden_dim, num_layers=2, dropout=min(dropout, 0.2))
        self.today = None if snapshot_dim is None else nn.Linear(snapshot_dim, hidden_dim)
        self.regime = (
            None if market_dim is None else Regime(hidden_dim, num_layers * num_heads, market_dim, dropout)
        )
        width = feedforward_dim or int(FEEDFORWARD * hidden_dim)
        self.temporal_attention = nn.ModuleList(
            HistoryAttention(hidden_dim, num_heads, sequence_length, width, dropout)
            for _ in range(num_layers)
        )
        self.feature_fusion = nn.Sequential(
            nn.Linear(2 * hidden_dim, 2 * hidden_dim),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(2 * hidden_dim, hidden_dim),
        )
        self.norm = nn.LayerNorm(hidden_dim)

    def forward(
        self,
        x: Tensor,
        step_mask: Tensor | None = None,
        day_index: Tensor | None = None,
        n_days: int = 1,
        market: Tensor | None = None,
        today: Tensor | None = None,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:
        history, state, current = self.read(x, step_mask, today, recompute)
        if day_index is None:
            day_index = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
        sharpness, scale = self.mood(current, day_index, n_days, market)
        return self.ask(history, state, current, step_mask, sharpness, scale, recompute)

    def read(
        self, x: Tensor, step_mask: Tensor | None, today: Tensor | None, recompute: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """First of three steps, sample by sample: the history `[samples, steps, hidden]`, and what the LSTM
        and the projection say of the last step, each `[samples, hidden]`."""
        history, state, current = self._read(x, step_mask, recompute)
        if self.today is not None and today is not None:
            current = current + self.today(today)
        return history, state, current

    def mood(
        self, current: Tensor, day_index: Tensor, n_days: int, market: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Second, over all samples of the days: sharpness `[samples, layers, heads]`, and the scale."""
        sharpness = current.new_ones(current.shape[0], self.num_layers * self.num_heads)
        scale = None
        if self.regime is not None:
            sharpness, scale = self.regime(current, day_index, n_days, market)
        return sharpness.view(current.shape[0], self.num_layers, self.num_heads), scale

    def ask(
        self,
        history: Tensor,
        state: Tensor,
        current: Tensor,
        step_mask: Tensor | None,
        sharpness: Tensor,
        scale: Tensor | None,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Third, sample by sample again: attention and fusion, to what `forward` returns."""
        absent = None if step_mask is None else ~step_mask
        remembered = History(history)
        attention = []
        for number, layer in enumerate(self.temporal_attention):
            state, weights = run_piece(
                layer, state, remembered, absent, sharpness[:, number], recompute=recompute
            )
            attention.append(weights)
        fused = state + current + self.feature_fusion(torch.cat([state, current], dim=1))
        fused = self.norm(fused)
        if scale is not None:
            fused = fused * scale
        if not attention:
            return fused, state.new_zeros(state.shape[0], 0, self.num_heads, history.shape[1])
        return fused, torch.stack(attention, dim=1)

    def _read(self, x: Tensor, step_mask: Tensor | None, recompute: bool) -> tuple[Tensor, Tensor, Tensor]:
        """History `[samples, steps, hidden]`, and what was read and projected at the last step.

        To be recomputed it is read in stretches of about the root of the steps: a stretch's inside and all
        stretches' borders are then held at a time, which together are least.
        """
        by_step = x.transpose(0, 1)
        present = None if step_mask is None else step_mask.t()[:, :, None]
        stretch = math.isqrt(len(by_step)) if recompute else len(by_step)
        state: State | None = None
        parts = []
        for start in range(0, len(by_step), stretch):
            steps = slice(start, start + stretch)
            mask = None if present is None else present[steps]
            part, read, projected, state = run_piece(
                self._read_stretch, by_step[steps], mask, state, recompute=recompute
            )
            parts.append(part)
        history = parts[0] if len(parts) == 1 else torch.cat(parts)
        return history.transpose(0, 1), read, projected

    def _read_stretch(
        self, by_step: Tensor, present: Tensor | None, state: State | None
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """Some steps of the windows, `[steps, samples, ...]`, from the state that the steps before left."""
        projected = self.input_projection(by_step)
        if present is not None:
            projected = torch.where(present, projected, self.absent_step.to(projected.dtype))
        read, state = self.lstm(projected, state)
        assert state is not None
        return read + projected, state[0][-1], projected[-1], state
