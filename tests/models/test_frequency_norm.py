"""FAN: the identity at neutral weights, else the band split of each step's own window; never looks ahead."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gogooku3.models.frequency_norm import (
    FrequencyAdaptiveNorm,
    causal_filters,
    real_dft_basis,
    smooth_bands,
)

SIZES = [(length, bands) for length in (2, 3, 8, 21, 60) for bands in (1, 2, 5)]

any_size = given(
    seed=st.integers(0, 1000),
    length=st.integers(2, 61),
    steps=st.integers(1, 70),
    features=st.integers(1, 4),
    bands=st.integers(1, 6),
)


def random_norm(features: int, bands: int, length: int) -> FrequencyAdaptiveNorm:
    norm = FrequencyAdaptiveNorm(features, bands, length)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


def fft_twin(norm: FrequencyAdaptiveNorm, x: Tensor, length: int) -> Tensor:
    """Day by day: the last step of the window's bands by torch.fft in double precision."""
    bands = smooth_bands(length, norm.num_frequencies).double()
    padded = torch.cat([x.new_zeros(len(x), length - 1, x.shape[2]), x], dim=1)
    days = []
    for day in range(x.shape[1]):
        window = padded[:, day : day + length]
        gate = 2 * norm.scale_network(window.mean(dim=1)).double().view(len(x), norm.num_frequencies, -1)
        gain = torch.einsum("bk,bf,nbf->nkf", bands, norm.frequency_weights.double(), gate)
        spectrum = torch.fft.rfft(window.double(), dim=1) * gain
        days.append(torch.fft.irfft(spectrum, n=length, dim=1)[:, -1])
    return torch.stack(days, dim=1)


# --- the filters -------------------------------------------------------------------------------------------


def test_the_basis_of_four_steps_by_hand() -> None:
    basis, numbers = real_dft_basis(4)
    root = math.sqrt(0.5)
    expected = torch.tensor(
        [[0.5, 0.5, 0.5, 0.5], [root, 0, -root, 0], [0, root, 0, -root], [0.5, -0.5, 0.5, -0.5]]
    )
    torch.testing.assert_close(basis, expected, atol=1e-7, rtol=0)
    assert numbers.tolist() == [0, 1, 1, 2]


def test_the_basis_is_orthonormal() -> None:
    for length in (1, 2, 3, 8, 21, 60):
        basis, numbers = real_dft_basis(length)
        torch.testing.assert_close(basis @ basis.t(), torch.eye(length), atol=2e-6, rtol=0)
        assert numbers.max() == length // 2


def test_the_bands_sum_to_one_at_every_frequency_and_rise() -> None:
    for length, count in SIZES:
        bands = smooth_bands(length, count)
        assert bands.shape == (count, length // 2 + 1) and (bands >= 0).all()
        torch.testing.assert_close(bands.sum(dim=0), torch.ones(length // 2 + 1), atol=1e-6, rtol=0)
    assert bands[0, 0] == bands[-1, -1] == 1
    centres = (bands * torch.arange(31)).sum(dim=1) / bands.sum(dim=1)
    assert (centres.diff() > 0).all()


def test_the_filters_by_hand_and_their_sum_is_the_step_itself() -> None:
    """Two steps split into their mean and half of their difference."""
    torch.testing.assert_close(causal_filters(2, 2), torch.tensor([[0.5, 0.5], [0.5, -0.5]]))
    for length, count in SIZES:
        impulse = torch.zeros(length)
        impulse[0] = 1
        torch.testing.assert_close(causal_filters(length, count).sum(dim=0), impulse, atol=1e-6, rtol=0)


# --- the module --------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@any_size
def test_with_neutral_weights_it_is_the_identity(
    seed: int, length: int, steps: int, features: int, bands: int
) -> None:
    torch.manual_seed(seed)
    x = torch.randn(3, steps, features)
    torch.testing.assert_close(FrequencyAdaptiveNorm(features, bands, length)(x), x, atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@any_size
def test_with_any_weights_it_equals_the_fourier_transform_of_each_window(
    seed: int, length: int, steps: int, features: int, bands: int
) -> None:
    torch.manual_seed(seed)
    norm, x = random_norm(features, bands, length), torch.randn(2, steps, features)
    torch.testing.assert_close(norm(x).double(), fft_twin(norm, x, length), atol=5e-5, rtol=1e-5)


def test_only_the_steps_of_its_window_change_a_step() -> None:
    """Bit for bit: neither later steps nor those before the window matter."""
    norm, x = random_norm(3, 4, 8), torch.randn(2, 20, 3)
    before = norm(x)
    for day in (3, 11, 18):
        changed = x.clone()
        changed[:, day + 1 :] = 100 * torch.randn(2, 19 - day, 3)
        assert torch.equal(norm(changed)[:, : day + 1], before[:, : day + 1])
        changed = x.clone()
        changed[:, : max(0, day - 7)] = 100
        assert torch.equal(norm(changed)[:, day], before[:, day])
    changed = x.clone()
    changed[:, 3] += 1
    moved = (norm(changed) != before).all(dim=2).any(dim=0)
    assert moved.nonzero().flatten().tolist() == list(range(3, 11))


def test_a_pure_wave_is_scaled_by_the_weight_of_its_band() -> None:
    """From the first full window on."""
    norm = FrequencyAdaptiveNorm(2, 5, 60)
    with torch.no_grad():
        norm.frequency_weights.copy_(torch.tensor([[1.0, 0], [1, 0], [1, 0], [1, 0], [3, 0]]))
    fastest = torch.tensor([1.0, -1.0]).repeat(40)
    y = norm(torch.stack([fastest, torch.ones(80)], dim=1)[None])[:, 59:]
    torch.testing.assert_close(y[0, :, 0], 3 * fastest[59:], atol=1e-5, rtol=0)
    torch.testing.assert_close(y[0, :, 1], torch.zeros(21), atol=1e-6, rtol=0)


def test_the_gain_is_weight_times_gate_by_band_and_feature() -> None:
    norm, mean = FrequencyAdaptiveNorm(3, 2, 8), torch.randn(4, 3)
    assert torch.equal(norm.gain(mean), torch.ones(4, 2, 3))
    with torch.no_grad():
        norm.frequency_weights.copy_(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
        # Gates 2, 1, 0 and 1, 1.5, 2.
        norm.scale_network[2].bias.copy_(torch.tensor([50.0, 0, -50, 0, math.log(3), 50]))
    expected = torch.tensor([[2.0, 2, 0], [4, 7.5, 12]])
    torch.testing.assert_close(norm.gain(mean), expected.expand(4, 2, 3))


def test_the_gain_of_one_feature_may_depend_on_the_mean_of_another_over_the_window() -> None:
    """The first feature passes unless the mean of the second over the last four steps is above 0."""
    norm = FrequencyAdaptiveNorm(2, 3, 4)
    with torch.no_grad():
        norm.scale_network[0].weight.copy_(torch.tensor([[0.0, 1.0]]).expand(16, 2))
        norm.scale_network[0].bias.zero_()
        norm.scale_network[2].weight.view(3, 2, -1)[:, 0] = -50
    x = torch.randn(1, 12, 2)
    x[0, :, 1] = torch.tensor([-1.0] * 6 + [1.0] * 6)
    y = norm(x)
    torch.testing.assert_close(y[0, :8], x[0, :8], atol=1e-5, rtol=0)
    torch.testing.assert_close(y[0, 8:, 0], torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(y[0, 8:, 1], x[0, 8:, 1], atol=1e-5, rtol=0)


def test_series_are_independent_and_the_gradient_reaches_every_weight_and_the_input() -> None:
    norm, x = random_norm(4, 3, 10), torch.randn(6, 15, 4, requires_grad=True)
    torch.testing.assert_close(norm(x)[2:3], norm(x[2:3]), atol=1e-6, rtol=1e-6)
    norm(x).square().sum().backward()
    for name, tensor in (*norm.named_parameters(), ("x", x)):
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0, name


def test_it_runs_in_bfloat16_and_saves_only_what_is_learned() -> None:
    norm = FrequencyAdaptiveNorm(3, 2, 8)
    assert set(norm.state_dict()) == {name for name, _ in norm.named_parameters()}
    x = torch.randn(2, 12, 3, dtype=torch.bfloat16)
    torch.testing.assert_close(norm.bfloat16()(x), x, atol=0.05, rtol=0.05)


def test_another_number_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 features, got 4"):
        FrequencyAdaptiveNorm(3, 2, 8)(torch.zeros(1, 9, 4))
