"""ATFT core: an LSTM runs along a stretch, each predicted day attends to its history, a regime scales both.

A stretch is the series of one stock over consecutive trading days; its last days are predicted. Nothing at a
step depends on a later one, so one pass of the LSTM serves all predicted days. Everything after the LSTM runs
once per sample.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gogooku3.models.linear_layers import zero_linear

FEEDFORWARD = 2.875
"""Width of a feed-forward layer, in widths of the state; the default network gets 5.6M parameters."""


def maybe_checkpoint(function: Callable[..., Any], *inputs: Any, recompute: bool) -> Any:
    """Call a function; with `recompute`, keep only its inputs and run it again in the backward pass.

    The second run draws the same dropout masks (Chen et al., 2016, "Training Deep Nets with Sublinear Memory
    Cost").
    """
    return checkpoint(function, *inputs, use_reentrant=False) if recompute else function(*inputs)


class Regime(nn.Module):
    """Market regime of a day: sharpness of every attention head, and scale of every state dimension.

    `s = tanh(W market)`, `sharpness = exp(tanh(V s))`, `scale = 1 + U s`. `market` holds statistics of the
    day's whole cross-section (`preprocessing.market_state`), which day-wise normalisation removes from the
    features. So the regime depends on the day, not on the stocks that are computed together.

    Args:
        hidden_dim: width of the states.
        outputs: attention heads of all layers; 0 for none.
        market_dim: statistics of a day.
        dropout: share of the statistics dropped; high, because there are few days.

    Shapes:
        market `[days, market_dim]` -> sharpness `[days, outputs]` between 1/e and e, initially 1, and scale
        `[days, hidden]`, initially near 1.
    """

    def __init__(self, hidden_dim: int, outputs: int, market_dim: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.market_dim = market_dim
        width = max(1, hidden_dim // 4)
        summary = nn.Linear(market_dim, width)
        # Output variance independent of market_dim.
        nn.init.normal_(summary.weight, std=market_dim**-0.5)
        self.summary = nn.Sequential(nn.Dropout(dropout), summary, nn.Tanh())
        self.sharpness = zero_linear(width, outputs) if outputs else None
        # Not zero-initialised: the heads are zero, so this layer would get no gradient.
        self.scale = nn.Linear(width, hidden_dim)
        nn.init.zeros_(self.scale.bias)

    def forward(self, market: Tensor) -> tuple[Tensor, Tensor]:
        summary = self.summary(market)
        scale = 1 + self.scale(summary)
        if self.sharpness is None:
            return scale.new_ones(scale.shape[0], 0), scale
        return self.sharpness(summary).tanh().exp(), scale


class Band(NamedTuple):
    """Which steps of a stretch each predicted day attends to: its own and those of its window before.

    Shapes:
        position int `[days, steps]`, of a step in the day's window, 0 the oldest (clamped outside);
        hidden bool `[series or 1, days, steps]`, true outside the window and at absent steps.
    """

    position: Tensor
    hidden: Tensor

    @staticmethod
    def of(
        steps: int, days: int, sequence_length: int, step_mask: Tensor | None, device: torch.device
    ) -> "Band":
        """Band of the last `days` of `steps`; a day's own step is always visible."""
        step = torch.arange(steps, device=device)
        lag = step[steps - days :, None] - step
        outside = (lag < 0) | (lag >= sequence_length)
        position = (sequence_length - 1 - lag).clamp(0, sequence_length - 1)
        hidden = outside[None]
        if step_mask is not None:
            hidden = hidden | (~step_mask[:, None, :] & (lag != 0))
        return Band(position, hidden)


class StretchDropout(nn.Module):
    """Dropout with one mask for all days of a series (Gal and Ghahramani, 2016, sec. 4).

    Shapes:
        `[series, days, width]` -> the same.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return x * functional.dropout(torch.ones_like(x[:, :1]), self.share) if self.training else x


class HistoryAttention(nn.Module):
    """One layer: each predicted day attends to its window, then a feed-forward step.

    Multi-head attention (Vaswani et al., 2017, eq. 1) with a learned bias for each head and lag.

    Shapes:
        state `[series, days, hidden]`, history `[series, steps, hidden]`, band of these days and steps,
        sharpness `[series, days, heads]`
        -> state `[series, days, hidden]`, weights `[series, heads, days, steps]`.
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
            StretchDropout(dropout),
            nn.Linear(feedforward_dim, hidden_dim),
        )
        self.dropout = StretchDropout(dropout)

    def forward(self, state: Tensor, history: Tensor, band: Band, sharpness: Tensor) -> tuple[Tensor, Tensor]:
        query = self._by_head(self.query(self.attention_norm(state)))
        key, value = self._by_head(self.key(history)), self._by_head(self.value(history))
        # Scores and softmax stay in float32 under autocast.
        scale = self.head_dim**-0.5 * sharpness.transpose(1, 2)[..., None]
        scores = (query @ key.transpose(2, 3)).float() * scale + self.lag_bias[:, band.position]
        weights = scores.masked_fill(band.hidden[:, None], float("-inf")).softmax(dim=-1)
        attended = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        state = state + self.dropout(self.output(attended))
        return state + self.dropout(self.feedforward(self.feedforward_norm(state))), weights

    def _by_head(self, projected: Tensor) -> Tensor:
        """`[series, steps, hidden]` as `[series, heads, steps, head_dim]`."""
        return projected.unflatten(2, (self.num_heads, self.head_dim)).transpose(1, 2)


class ATFTCore(nn.Module):
    """Encode each predicted day of a stretch into one state.

    Args:
        input_dim: features of a step.
        hidden_dim: width of the state; a multiple of `num_heads`.
        num_heads: attention heads.
        sequence_length: steps of a window (60 trading days).
        num_layers: attention layers; with 0 the state is the LSTM's output.
        dropout: share dropped after attention and feed-forward.
        market_dim: statistics of a day that the regime reads; 0 leaves the regime out.

    Shapes:
        x `[series, steps, features]`, step_mask bool `[series, steps]` (true: the stock traded), days: the
        last steps that are predicted, day_index int `[series, days]` (row of `market` of each sample; None:
        0 to `days` - 1 in every series), market `[n_days, market_dim]` (None: all 0)
        -> state `[samples, hidden]` for `series x days` samples, day by day within a series, and attention
        `[samples, layers, heads, sequence_length]` (None unless asked for).
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        num_heads: int,
        sequence_length: int,
        num_layers: int = 4,
        dropout: float = 0.3,
        market_dim: int = 0,
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
        self.regime = Regime(hidden_dim, num_layers * num_heads, market_dim, dropout) if market_dim else None
        width = int(FEEDFORWARD * hidden_dim)
        self.temporal_attention = nn.ModuleList(
            HistoryAttention(hidden_dim, num_heads, sequence_length, width, dropout)
            for _ in range(num_layers)
        )
        self.feature_fusion = nn.Sequential(
            nn.Linear(2 * hidden_dim, 2 * hidden_dim),
            nn.GELU(),
            StretchDropout(dropout),
            nn.Linear(2 * hidden_dim, hidden_dim),
        )
        self.norm = nn.LayerNorm(hidden_dim)

    def forward(
        self,
        x: Tensor,
        step_mask: Tensor | None = None,
        days: int = 1,
        day_index: Tensor | None = None,
        market: Tensor | None = None,
        recompute: bool = False,
        with_attention: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        series, steps, _ = x.shape
        if steps < self.sequence_length or days > steps:
            raise ValueError(
                f"expected stretches of at least {max(self.sequence_length, days)} steps, got {steps}"
            )
        output, projected = self._encode(x, step_mask, recompute)
        # The steps that some predicted day attends to; laid out once for all layers.
        first = max(0, steps - days - self.sequence_length + 1)
        history = (output + projected)[first:].transpose(0, 1).contiguous()
        state, current = (part[steps - days :].transpose(0, 1) for part in (output, projected))
        sharpness, scale = self._regime_factors(state, day_index, market)
        present = None if step_mask is None else step_mask[:, first:]
        band = Band.of(steps - first, days, self.sequence_length, present, x.device)
        attention = []
        for number, layer in enumerate(self.temporal_attention):
            state, weights = maybe_checkpoint(
                layer, state, history, band, sharpness[:, :, number], recompute=recompute
            )
            if with_attention:
                attention.append(_by_lag(weights, self.sequence_length))
        fusion = self.feature_fusion(torch.cat([state, current], dim=-1))
        fused = self.norm(state + current + fusion) * scale
        if not with_attention:
            return fused.flatten(0, 1), None
        empty = fused.new_zeros(series, days, 0, self.num_heads, self.sequence_length)
        return fused.flatten(0, 1), (torch.stack(attention, dim=2) if attention else empty).flatten(0, 1)

    def _encode(self, x: Tensor, step_mask: Tensor | None, recompute: bool) -> tuple[Tensor, Tensor]:
        """LSTM output and projected input of every step, `[steps, series, hidden]` each.

        With `recompute`, the steps run in chunks of about the square root of their number. The backward pass
        then holds the borders of all chunks and the inside of one, which together are smallest.
        """
        by_step = x.transpose(0, 1)
        present = None if step_mask is None else step_mask.t()[:, :, None]
        chunk = math.isqrt(len(by_step)) if recompute else len(by_step)
        lstm_state = None
        outputs, projections = [], []
        for start in range(0, len(by_step), chunk):
            steps = slice(start, start + chunk)
            mask = None if present is None else present[steps]
            output, projected, lstm_state = maybe_checkpoint(
                self._encode_steps, by_step[steps], mask, lstm_state, recompute=recompute
            )
            outputs.append(output)
            projections.append(projected)
        if len(outputs) == 1:
            return outputs[0], projections[0]
        return torch.cat(outputs), torch.cat(projections)

    def _regime_factors(
        self, state: Tensor, day_index: Tensor | None, market: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Sharpness `[series, days, layers, heads]` and scale `[series, days, hidden]` of each sample."""
        series, days, _ = state.shape
        if self.regime is None:
            ones = state.new_ones(series, days, self.num_layers, self.num_heads)
            return ones, torch.ones_like(state)
        if market is None:
            market = state.new_zeros(1, self.regime.market_dim)
            day_index = torch.zeros(series, days, dtype=torch.long, device=state.device)
        elif day_index is None:
            day_index = torch.arange(days, device=state.device).expand(series, days)
        sharpness, scale = self.regime(market)
        sharpness = sharpness.view(market.shape[0], self.num_layers, self.num_heads)
        flat = day_index.reshape(-1)
        sharpness, scale = (
            factor.index_select(0, flat).unflatten(0, (series, days)) for factor in (sharpness, scale)
        )
        return sharpness, scale

    def _encode_steps(
        self, by_step: Tensor, present: Tensor | None, lstm_state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Encode a chunk of steps `[steps, series, ...]`, continuing from the state of the previous chunk."""
        projected = self.input_projection(by_step)
        if present is not None:
            projected = torch.where(present, projected, self.absent_step.to(projected.dtype))
        output, lstm_state = self.lstm(projected, lstm_state)
        return output, projected, lstm_state


def _by_lag(weights: Tensor, sequence_length: int) -> Tensor:
    """Attention `[series, heads, days, steps]` as `[series, days, heads, sequence_length]`, oldest first."""
    days, steps = weights.shape[2:]
    first = steps - days + torch.arange(days, device=weights.device)[:, None] - sequence_length + 1
    step = first + torch.arange(sequence_length, device=weights.device)
    index = step.clamp(min=0).expand(*weights.shape[:2], -1, -1)
    return (weights.gather(3, index) * (step >= 0)).transpose(1, 2)
