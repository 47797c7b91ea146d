"""Frequency-adaptive normalisation (FAN): weight the frequency bands of a window, feature by feature."""

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


class FrequencyAdaptiveNorm(nn.Module):
    """Weight the frequency bands of each feature of a window, gated by the window's mean.

    `y = B^T (sum_b band_b(k) w(b, f) gate(b, f; mean(x)) * B x)` with `B` the real DFT over the steps. At
    initialisation all weights and gates are 1, and the module is the identity. The gate reads the mean of
    every feature, so the gain of one feature's band may depend on the level of another.

    Args:
        num_features: features of a step.
        num_frequencies: number of bands.
        sequence_length: steps of a window.

    Shapes:
        `[windows, steps, features]` -> the same.
    """

    basis: Tensor
    bands: Tensor

    def __init__(self, num_features: int, num_frequencies: int = 5, sequence_length: int = 60) -> None:
        super().__init__()
        self.num_features = num_features
        self.num_frequencies = num_frequencies
        basis, frequencies = real_dft_basis(sequence_length)
        bands = smooth_bands(sequence_length, num_frequencies)[:, frequencies]
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("bands", bands, persistent=False)
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

    def gain(self, x: Tensor) -> Tensor:
        """Weight x gate `[windows, bands, features]`; 1 is neutral."""
        gate = 2 * self.scale_network(x.mean(dim=1)).view(-1, self.num_frequencies, self.num_features)
        gain: Tensor = self.frequency_weights * gate
        return gain

    def forward(self, x: Tensor) -> Tensor:
        windows, steps, features = x.shape
        if steps != self.basis.shape[0] or features != self.num_features:
            raise ValueError(
                f"expected windows of {self.basis.shape[0]} steps x {self.num_features} features, "
                f"got {steps} x {features}"
            )
        by_step = x.transpose(0, 1).reshape(steps, windows * features)
        gain = self.gain(x).transpose(0, 1).reshape(self.num_frequencies, windows * features)
        weighted = (self.basis @ by_step) * (self.bands.t() @ gain)
        return (self.basis.t() @ weighted).view(steps, windows, features).transpose(0, 1)
