"""ATFT core: an LSTM encodes the window, the current step attends to its history, a regime scales both.

Only the input projection and the LSTM run at every step; everything else runs once per sample.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

FEEDFORWARD = 3.9
"""Width of a feed-forward layer, in widths of the state; the default network gets 5.6M parameters."""


class Encoded(NamedTuple):
    """Windows encoded sample by sample.

    Shapes:
        history `[samples, steps, hidden]`; state `[samples, hidden]`, the LSTM's output at the last step;
        current `[samples, hidden]`, the projected last step.
    """

    history: Tensor
    state: Tensor
    current: Tensor


class RegimeFactors(NamedTuple):
    """Factors that the regime of a sample's day puts on attention and state.

    Shapes:
        sharpness `[samples, layers, heads]`; scale `[samples, hidden]`. Both are 1 without a regime.
    """

    sharpness: Tensor
    scale: Tensor


def maybe_checkpoint(function: Callable[..., Any], *inputs: Any, recompute: bool) -> Any:
    """Call a function; with `recompute`, keep only its inputs and run it again in the backward pass.

    The second run draws the same dropout masks (Chen et al., 2016, "Training Deep Nets with Sublinear Memory
    Cost").
    """
    return checkpoint(function, *inputs, use_reentrant=False) if recompute else function(*inputs)


def zero_linear(width: int, outputs: int) -> nn.Linear:
    """A zero-initialised linear layer."""
    layer = nn.Linear(width, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Regime(nn.Module):
    """Market regime of a day: sharpness of every attention head, and scale of every state dimension.

    `s = tanh(W [mean, std, market])`, `sharpness = exp(tanh(V s))`, `scale = 1 + U s`. Mean and standard
    deviation run over the current states of the day's stocks, so their order does not matter and no later day
    is used. `market` adds raw statistics of the day, which day-wise normalisation removes from the features.

    Args:
        hidden_dim: width of the states.
        outputs: attention heads of all layers; 0 for none.
        market_dim: raw statistics of a day; 0 for none.
        dropout: share of the summary dropped; high, because there are few days.

    Shapes:
        states `[samples, hidden]`, day_index int `[samples]`, market `[days, market_dim]` or None (all 0)
        -> sharpness `[samples, outputs]` between 1/e and e, initially 1, and scale `[samples, hidden]`,
        initially near 1.
    """

    def __init__(self, hidden_dim: int, outputs: int, market_dim: int = 0, dropout: float = 0.3) -> None:
        super().__init__()
        self.market_dim = market_dim
        width = max(1, hidden_dim // 4)
        summary = nn.Linear(2 * hidden_dim + market_dim, width)
        if market_dim:
            # Output variance independent of market_dim; the default init would make the market's part faint.
            nn.init.normal_(summary.weight[:, 2 * hidden_dim :], std=market_dim**-0.5)
        self.summary = nn.Sequential(nn.Dropout(dropout), summary, nn.Tanh())
        self.sharpness = zero_linear(width, outputs) if outputs else None
        # Not zero-initialised: the heads are zero, so this layer would get no gradient.
        self.scale = nn.Linear(width, hidden_dim)
        nn.init.zeros_(self.scale.bias)

    def forward(
        self, states: Tensor, day_index: Tensor, n_days: int, market: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        # `one_hot` reads its values on the host, which would wait for a GPU.
        days = torch.arange(n_days, device=day_index.device)
        member = (days[:, None] == day_index).to(states.dtype)
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


class HistoryAttention(nn.Module):
    """One layer: the current state attends to its history, then a feed-forward step.

    Multi-head attention (Vaswani et al., 2017, eq. 1) with a learned bias for each head and lag. A single
    query needs no key or value tensors: `q . (K h) = (K^T q) . h`, and the value projection is applied after
    the weighted sum.

    Shapes:
        state `[samples, hidden]`, history `[samples, steps, hidden]`, absent bool `[samples, steps]` (steps
        excluded from attention) or None, sharpness `[samples, heads]`
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
        # Scores and softmax stay in float32 under autocast.
        scores = scores.float() + self.lag_bias
        if absent is not None:
            scores = scores.masked_fill(absent[:, None, :], float("-inf"))
        weights = scores.softmax(dim=-1)
        mean = torch.bmm(weights.to(history.dtype), history)
        value = torch.einsum("nhe,hde->nhd", mean, self.value.weight.view(heads, head_dim, hidden))
        state = state + self.dropout(self.output(value.reshape(samples, hidden) + self.value.bias))
        return state + self.dropout(self.feedforward(self.feedforward_norm(state))), weights


class ATFTCore(nn.Module):
    """Encode a window of features into one state per sample.

    `forward` runs three steps: `encode` (sample by sample), `regime_factors` (over all samples of a day) and
    `attend` (sample by sample).

    Args:
        input_dim: features of a step.
        hidden_dim: width of the state; a multiple of `num_heads`.
        num_heads: attention heads.
        sequence_length: steps of a window (60 trading days).
        num_layers: attention layers; with 0 the state is the LSTM's output.
        dropout: share dropped after attention and feed-forward.
        market_dim: raw statistics of a day that the regime reads; None leaves the regime out.
        snapshot_dim: width of the encoded current step; None: the window is the only input.

    Shapes:
        x `[samples, steps, features]`, step_mask bool `[samples, steps]` (true: the stock
        traded), day_index int `[samples]` (samples of one day share a number), market `[days, market_dim]`,
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
        self.lstm = nn.LSTM(hidden_dim, hidden_dim, num_layers=2, dropout=min(dropout, 0.2))
        self.today = None if snapshot_dim is None else nn.Linear(snapshot_dim, hidden_dim)
        self.regime = (
            None if market_dim is None else Regime(hidden_dim, num_layers * num_heads, market_dim, dropout)
        )
        width = int(FEEDFORWARD * hidden_dim)
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
        market: Tensor | None = None,
        today: Tensor | None = None,
        recompute: bool = False,
    ) -> tuple[Tensor, Tensor]:
        encoded = self.encode(x, step_mask, today, recompute)
        factors = self.regime_factors(encoded.current, day_index, n_days, market)
        return self.attend(encoded, step_mask, factors, recompute)

    def encode(
        self, x: Tensor, step_mask: Tensor | None, today: Tensor | None, recompute: bool = False
    ) -> Encoded:
        """Run the input projection and the LSTM along the windows.

        With `recompute`, the steps run in chunks of about the square root of their number. The backward pass
        then holds the borders of all chunks and the inside of one, which together are smallest.
        """
        by_step = x.transpose(0, 1)
        present = None if step_mask is None else step_mask.t()[:, :, None]
        chunk = math.isqrt(len(by_step)) if recompute else len(by_step)
        lstm_state = None
        histories = []
        for start in range(0, len(by_step), chunk):
            steps = slice(start, start + chunk)
            mask = None if present is None else present[steps]
            history, state, current, lstm_state = maybe_checkpoint(
                self._encode_steps, by_step[steps], mask, lstm_state, recompute=recompute
            )
            histories.append(history)
        history = histories[0] if len(histories) == 1 else torch.cat(histories)
        if self.today is not None and today is not None:
            current = current + self.today(today)
        return Encoded(history.transpose(0, 1), state, current)

    def regime_factors(
        self, current: Tensor, day_index: Tensor | None, n_days: int, market: Tensor | None
    ) -> RegimeFactors:
        """Factors of each sample's day; needs all samples of the day. `day_index` None: one day."""
        samples = current.shape[0]  # not `len`, which export would fix to a constant
        if self.regime is None:
            ones = current.new_ones(samples, self.num_layers, self.num_heads)
            return RegimeFactors(ones, torch.ones_like(current))
        if day_index is None:
            day_index = torch.zeros(samples, dtype=torch.long, device=current.device)
        sharpness, scale = self.regime(current, day_index, n_days, market)
        return RegimeFactors(sharpness.view(samples, self.num_layers, self.num_heads), scale)

    def attend(
        self, encoded: Encoded, step_mask: Tensor | None, factors: RegimeFactors, recompute: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Attention over the history and fusion; returns the same as `forward`."""
        absent = None if step_mask is None else ~step_mask
        # Every layer multiplies by it twice; laid out once.
        history = encoded.history.contiguous()
        state, attention = encoded.state, []
        for number, layer in enumerate(self.temporal_attention):
            state, weights = maybe_checkpoint(
                layer, state, history, absent, factors.sharpness[:, number], recompute=recompute
            )
            attention.append(weights)
        fusion = self.feature_fusion(torch.cat([state, encoded.current], dim=1))
        fused = self.norm(state + encoded.current + fusion) * factors.scale
        if not attention:
            return fused, state.new_zeros(state.shape[0], 0, self.num_heads, history.shape[1])
        return fused, torch.stack(attention, dim=1)

    def _encode_steps(
        self, by_step: Tensor, present: Tensor | None, lstm_state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Encode a chunk of steps `[steps, samples, ...]`, continuing from the state of the previous chunk.

        Returns:
            history `[steps, samples, hidden]`, LSTM output and projection of the last step, and the LSTM's
            hidden and cell state, each `[layers, samples, hidden]`.
        """
        projected = self.input_projection(by_step)
        if present is not None:
            projected = torch.where(present, projected, self.absent_step.to(projected.dtype))
        output, lstm_state = self.lstm(projected, lstm_state)
        return output + projected, lstm_state[0][-1], projected[-1], lstm_state
