"""FAN: the identity at neutral weights, a spectral filter at others, scaled by the gate."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gogooku3.models.frequency_norm import FrequencyAdaptiveNorm, real_dft_basis, smooth_bands

LENGTHS = [1, 2, 3, 8, 21, 60]


def random_norm(features: int, bands: int, steps: int) -> FrequencyAdaptiveNorm:
    norm = FrequencyAdaptiveNorm(features, bands, steps)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    return norm


def fft_twin(norm: FrequencyAdaptiveNorm, x: Tensor) -> Tensor:
    """The same filter with torch.fft in double precision, gate and weight separate."""
    steps = x.shape[1]
    gate = 2 * norm.scale_network(x.mean(dim=1)).double().view(len(x), norm.num_frequencies, -1)
    gain = torch.einsum(
        "bk,bf,nbf->nkf",
        smooth_bands(steps, norm.num_frequencies).double(),
        norm.frequency_weights.double(),
        gate,
    )
    return torch.fft.irfft(torch.fft.rfft(x.double(), dim=1) * gain, n=steps, dim=1)


def test_the_basis_of_four_steps_by_hand() -> None:
    basis, numbers = real_dft_basis(4)
    root = math.sqrt(0.5)
    expected = torch.tensor(
        [[0.5, 0.5, 0.5, 0.5], [root, 0, -root, 0], [0, root, 0, -root], [0.5, -0.5, 0.5, -0.5]]
    )
    torch.testing.assert_close(basis, expected, atol=1e-7, rtol=0)
    assert numbers.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("length", LENGTHS)
def test_the_basis_is_orthonormal(length: int) -> None:
    basis, numbers = real_dft_basis(length)
    assert basis.shape == (length, length)
    torch.testing.assert_close(basis @ basis.t(), torch.eye(length), atol=2e-6, rtol=0)
    assert numbers.max() == length // 2


@pytest.mark.parametrize("length", [2, 3, 8, 21, 60])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_bands_sum_to_one_at_every_frequency(length: int, count: int) -> None:
    bands = smooth_bands(length, count)
    assert bands.shape == (count, length // 2 + 1)
    assert (bands >= 0).all()
    torch.testing.assert_close(bands.sum(dim=0), torch.ones(length // 2 + 1), atol=1e-6, rtol=0)


def test_the_first_band_is_the_slowest_and_the_last_the_fastest() -> None:
    bands = smooth_bands(60, 5)
    assert bands[0, 0] == bands[-1, -1] == 1
    centres = (bands * torch.arange(31)).sum(dim=1) / bands.sum(dim=1)
    assert (centres.diff() > 0).all()
    assert (bands.sum(dim=1) > 0).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000), steps=st.integers(2, 61), features=st.integers(1, 6), bands=st.integers(1, 6)
)
def test_with_neutral_weights_it_is_the_identity(seed: int, steps: int, features: int, bands: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(3, steps, features)
    torch.testing.assert_close(FrequencyAdaptiveNorm(features, bands, steps)(x), x, atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000), steps=st.integers(2, 61), features=st.integers(1, 6), bands=st.integers(1, 6)
)
def test_with_any_weights_it_equals_the_fourier_transform(
    seed: int, steps: int, features: int, bands: int
) -> None:
    torch.manual_seed(seed)
    norm = random_norm(features, bands, steps)
    x = torch.randn(3, steps, features)
    torch.testing.assert_close(norm(x).double(), fft_twin(norm, x), atol=2e-5, rtol=1e-5)


def test_a_pure_wave_is_scaled_by_the_weight_of_its_band() -> None:
    steps = 60
    norm = FrequencyAdaptiveNorm(2, 5, steps)
    with torch.no_grad():
        norm.frequency_weights.copy_(torch.tensor([[1.0, 0], [1, 0], [1, 0], [1, 0], [3, 0]]))
    fastest = torch.tensor([1.0, -1.0]).repeat(steps // 2)
    x = torch.stack([fastest, torch.ones(steps)], dim=1)[None]
    y = norm(x)
    torch.testing.assert_close(y[0, :, 0], 3 * fastest, atol=1e-5, rtol=0)
    torch.testing.assert_close(y[0, :, 1], torch.zeros(steps), atol=1e-6, rtol=0)


def test_the_gain_is_weight_times_gate_by_window_band_and_feature() -> None:
    norm = FrequencyAdaptiveNorm(3, 2, 8)
    x = torch.randn(4, 8, 3)
    assert torch.equal(norm.gain(x), torch.ones(4, 2, 3))
    last = norm.scale_network[2]
    with torch.no_grad():
        norm.frequency_weights.copy_(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
        last.bias.copy_(torch.tensor([50.0, 0, -50, 0, math.log(3), 50]))  # gates 2, 1, 0 and 1, 1.5, 2
    expected = torch.tensor([[2.0, 2, 0], [4, 7.5, 12]])
    torch.testing.assert_close(norm.gain(x), expected.expand(4, 2, 3))


def test_the_gate_closes_a_band_of_one_feature_and_no_other() -> None:
    """Two features with a slow and a fast wave each; the fast wave of the first is removed."""
    steps = 60
    norm = FrequencyAdaptiveNorm(2, 5, steps)
    with torch.no_grad():
        norm.scale_network[2].bias.view(5, 2)[4, 0] = -50
    fast = torch.tensor([1.0, -1.0]).repeat(steps // 2)
    x = torch.stack([fast + 1, fast + 1], dim=1)[None]
    y = norm(x)
    torch.testing.assert_close(y[0, :, 0], torch.ones(steps), atol=1e-5, rtol=0)
    torch.testing.assert_close(y[0, :, 1], fast + 1, atol=1e-5, rtol=0)


def test_the_gain_of_one_feature_may_depend_on_the_level_of_another() -> None:
    norm = FrequencyAdaptiveNorm(2, 3, 9)
    with torch.no_grad():
        norm.scale_network[0].weight.copy_(torch.tensor([[0.0, 1.0]]))
        norm.scale_network[0].bias.zero_()
        norm.scale_network[2].weight.view(3, 2, -1)[:, 0] = -50
    x = torch.randn(1, 9, 2)
    for level, kept in ((-1.0, x[0, :, 0]), (1.0, torch.zeros(9))):
        x[0, :, 1] = level
        torch.testing.assert_close(norm(x)[0, :, 0], kept, atol=1e-5, rtol=0)


def test_the_gate_depends_only_on_the_windows_mean() -> None:
    norm = random_norm(3, 2, 8)
    x = torch.randn(4, 8, 3)
    torch.testing.assert_close(norm.gain(x), norm.gain(x.flip(1)))
    assert not torch.allclose(norm.gain(x), norm.gain(x + 1))


def test_windows_are_independent() -> None:
    norm = random_norm(3, 4, 9)
    x = torch.randn(5, 9, 3)
    torch.testing.assert_close(norm(x)[2:3], norm(x[2:3]), atol=1e-6, rtol=1e-6)


def test_the_gradient_reaches_every_weight_and_the_input() -> None:
    norm = random_norm(4, 3, 10)
    x = torch.randn(6, 10, 4, requires_grad=True)
    norm(x).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    for name, parameter in norm.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_it_runs_in_bfloat16_where_the_fourier_transform_does_not() -> None:
    norm = FrequencyAdaptiveNorm(3, 2, 8).bfloat16()
    x = torch.randn(2, 8, 3, dtype=torch.bfloat16)
    torch.testing.assert_close(norm(x), x, atol=0.05, rtol=0.05)


def test_the_basis_is_not_saved_with_the_weights() -> None:
    assert not {"basis", "bands"} & set(FrequencyAdaptiveNorm(3, 2, 8).state_dict())


def test_windows_of_another_size_are_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match="windows of 8 steps x 3 features, got 9 x 3"):
        FrequencyAdaptiveNorm(3, 2, 8)(torch.zeros(1, 9, 3))
    with pytest.raises(ValueError, match="got 8 x 4"):
        FrequencyAdaptiveNorm(3, 2, 8)(torch.zeros(1, 8, 4))
