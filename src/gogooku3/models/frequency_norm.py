"""Frequency-adaptive normalisation (FAN): weight the frequency bands of a series, step by step, causally."""

import math

import torch
from torch import Tensor, nn

MIN_HIDDEN_WIDTH = 16
"""Least width of the gate's hidden layer, otherwise half the number of features."""
MEAN_SCALE = 6.0
"""Factor on the initial weights of the gate's first layer. The mean of a window is far smaller than the
features; with a hidden layer near 0 the gate would learn many times more slowly than the rest."""


def real_dft_basis(length: int) -> tuple[Tensor, Tensor]:
    """Orthonormal basis of the real DFT over `length` steps.

    Rows are the cosine and sine of each frequency, so `basis @ x` is the real FFT of `x` and
    `basis.T @ (basis @ x)` is `x`. Two matrix products instead of `torch.fft` are exact, differentiable,
    exportable, and run in bfloat16.

    Returns:
        basis `[length, length]`, and the frequency (0 .. length // 2) of each row.
    """
    row = torch.arange(length, dtype=torch.float64)
    # Rows are cos 0, cos 1, sin 1, cos 2, ...; frequency 0 and the Nyquist frequency have no sine.
    frequency = ((row + 1) / 2).floor()
    angle = 2 * math.pi * frequency[:, None] * row / length
    is_sine = (row > 0) & (row % 2 == 0)
    single = (frequency == 0) | (2 * frequency == length)
    scale = (torch.where(single, 1, 2).double() / length).sqrt()
    basis = scale[:, None] * torch.where(is_sine[:, None], angle.sin(), angle.cos())
    return basis.float(), frequency.long()


def smooth_bands(length: int, num_frequencies: int) -> Tensor:
    """Smoothly overlapping bands over the frequencies 0 .. length // 2, summing to one.

    Band centres are even on a log scale, so that slow movements are resolved more finely than fast ones.
    Between two centres, one band fades into the next as cos^2 and sin^2.

    Returns:
        `[num_frequencies, length // 2 + 1]`, every column summing to 1.
    """
    frequencies = torch.arange(length // 2 + 1, dtype=torch.float64)
    if num_frequencies == 1:
        return torch.ones(1, len(frequencies))
    position = torch.log1p(frequencies) / math.log1p(length // 2) * (num_frequencies - 1)
    distance = (position[None, :] - torch.arange(num_frequencies)[:, None]).abs().clamp(max=1)
    return torch.cos(distance * math.pi / 2).square().float()


def causal_filters(length: int, num_frequencies: int) -> Tensor:
    """Each band of a window's spectrum, seen from the window's last step, as a filter over `length` lags.

    Splitting a window by the real DFT, keeping one band and transforming back gives at the last step a fixed
    weighted sum of the window: `f_b(lag) = sum_k B(k, last) band_b(k) B(k, last - lag)`.

    Returns:
        `[num_frequencies, length]`, by lag; the filters add up to 1 at lag 0 and to 0 at all others.
    """
    basis, frequencies = real_dft_basis(length)
    bands = smooth_bands(length, num_frequencies)[:, frequencies]
    by_position = (bands * basis[:, -1]) @ basis
    return by_position.flip(1)


class FrequencyAdaptiveNorm(nn.Module):
    """Weight the frequency bands of each feature at each step, gated by the mean of the step's own window.

    `y_t = sum_b w(b, f) gate(b, f; mean(x_t-L+1 .. x_t)) sum_lag f_b(lag) x_t-lag` with the filters of
    `causal_filters`: the bands of the real DFT of the last `L` steps, seen from step t. No step depends on a
    later one, so one pass serves every day of a stretch. At initialisation all weights and gates are 1, and
    the module is the identity. The gate reads the mean of every feature, so the gain of one feature's band
    may depend on the level of another. Steps before the stretch count as 0.

    Args:
        num_features: features of a step.
        num_frequencies: number of bands.
        sequence_length: `L`, steps of a window.

    Shapes:
        `[series, steps, features]` -> the same.
    """

    filters: Tensor

    def __init__(self, num_features: int, num_frequencies: int = 5, sequence_length: int = 60) -> None:
        super().__init__()
        self.num_features = num_features
        self.num_frequencies = num_frequencies
        # The last filter is the mean of the window.
        mean = torch.full((1, sequence_length), 1 / sequence_length)
        filters = torch.cat([causal_filters(sequence_length, num_frequencies), mean])
        self.register_buffer("filters", filters, persistent=False)
        self.frequency_weights = nn.Parameter(torch.ones(num_frequencies, num_features))
        width = max(MIN_HIDDEN_WIDTH, num_features // 2)
        first = nn.Linear(num_features, width)
        last = nn.Linear(width, num_frequencies * num_features)
        with torch.no_grad():
            first.weight.mul_(MEAN_SCALE)
            first.bias.mul_(MEAN_SCALE)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.scale_network = nn.Sequential(first, nn.ReLU(), last, nn.Sigmoid())

    def gain(self, mean: Tensor) -> Tensor:
        """Weight x gate `[..., bands, features]` for means of windows `[..., features]`; 1 is neutral."""
        gate: Tensor = self.scale_network(mean).unflatten(-1, (self.num_frequencies, self.num_features))
        return gate * (2 * self.frequency_weights).to(gate.dtype)

    def forward(self, x: Tensor) -> Tensor:
        series, steps, features = x.shape
        if features != self.num_features:
            raise ValueError(f"expected {self.num_features} features, got {features}")
        by_step = x.transpose(0, 1).reshape(steps, series * features)
        filtered = (self._matrices(steps) @ by_step).view(-1, steps, series, features)
        bands, gain = filtered[:-1], self.gain(filtered[-1])
        return (bands * gain.permute(2, 0, 1, 3)).sum(dim=0).transpose(0, 1)

    def _matrices(self, steps: int) -> Tensor:
        """The filters as matrices `[(bands + 1) * steps, steps]`; row: receiving step."""
        step = torch.arange(steps, device=self.filters.device)
        lag = step[:, None] - step
        inside = (lag >= 0) & (lag < self.filters.shape[1])
        matrices = self.filters[:, lag.clamp(0, self.filters.shape[1] - 1)] * inside
        return matrices.flatten(0, 1)
