"""Frequency-adaptive normalisation (FAN): weigh the frequency bands of a window, feature by feature."""

import math

import torch
from torch import Tensor, nn

LEAST_WIDTH = 16
"""Width of the gate's hidden layer where there are few features; half as many as features otherwise."""
MEAN_SCALE = 6.0
"""Factor on the usual initial weights of the gate's first layer. The mean of a window is far smaller than
the features, and with a hidden layer near 0 the gate would learn many times more slowly than the rest."""


def real_dft_basis(length: int) -> tuple[Tensor, Tensor]:
    """Orthonormal basis of the real DFT over `length` steps.

    Rows are the cosine and sine of each frequency, so `basis @ x` is the real FFT of `x` and
    `basis.T @ (basis @ x)` gives `x` back. Two matrix products instead of `torch.fft`: exact,
    differentiable, exportable, and they run in bfloat16.

    Returns:
        basis `[length, length]`, and the frequency number (0 .. length // 2) of each row.
    """
    steps = torch.arange(length, dtype=torch.float64)
    rows, numbers = [], []
    for k in range(length // 2 + 1):
        angle = 2 * math.pi * k * steps / length
        single = k == 0 or 2 * k == length
        scale = math.sqrt((1 if single else 2) / length)
        rows.append(scale * torch.cos(angle))
        numbers.append(k)
        if not single:
            rows.append(scale * torch.sin(angle))
            numbers.append(k)
    return torch.stack(rows).float(), torch.tensor(numbers)


def smooth_bands(length: int, num_frequencies: int) -> Tensor:
    """Bands over the frequencies 0 .. length // 2 that overlap smoothly and add up to one.

    Band centres are even on a log scale, because slow movements are told apart more finely than
    fast ones; between two centres one band fades into the next as cos^2 and sin^2.

    Returns:
        `[num_frequencies, length // 2 + 1]`, every column summing to 1.
    """
    numbers = torch.arange(length // 2 + 1, dtype=torch.float64)
    if num_frequencies == 1:
        return torch.ones(1, len(numbers))
    place = torch.log1p(numbers) / math.log1p(length // 2) * (num_frequencies - 1)
    distance = (place[None, :] - torch.arange(num_frequencies)[:, None]).abs().clamp(max=1)
    return torch.cos(distance * math.pi / 2).square().float()


class FrequencyAdaptiveNorm(nn.Module):
    """Weigh the frequency bands of each feature of a window, and by how much as the window asks for.

    `y = B^T (sum_b band_b(k) w(b, f) gate(b, f; mean(x)) * B x)`, `B` the real DFT over the steps. With all
    weights 1 and the gate at 1, as it starts, the module is the identity. The gate sees the window's mean
    of every feature, so which band of one feature passes may depend on the level of another.

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
        basis, numbers = real_dft_basis(sequence_length)
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer(
            "bands", smooth_bands(sequence_length, num_frequencies)[:, numbers], persistent=False
        )
        self.frequency_weights = nn.Parameter(torch.ones(num_frequencies, num_features))
        half = max(LEAST_WIDTH, num_features // 2)
        self.scale_network = nn.Sequential(
            nn.Linear(num_features, half),
            nn.ReLU(),
            nn.Linear(half, num_frequencies * num_features),
            nn.Sigmoid(),
        )
        first, last = self.scale_network[0], self.scale_network[2]
        assert isinstance(first, nn.Linear) and isinstance(last, nn.Linear)
        with torch.no_grad():
            first.weight.mul_(MEAN_SCALE)
            first.bias.mul_(MEAN_SCALE)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def gain(self, x: Tensor) -> Tensor:
        """Factor on each band and feature, `[windows, bands, features]`: weight x gate; neutral at 1."""
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
        weighed = (self.basis @ by_step) * (self.bands.t() @ gain)
        return (self.basis.t() @ weighed).view(steps, windows, features).transpose(0, 1)
