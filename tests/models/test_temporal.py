"""Attention over the history equals plain attention; the regime scales it; the core combines both."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gogooku3.models.temporal import ATFTCore, HistoryAttention, Regime


def attention(hidden: int = 8, heads: int = 2, steps: int = 6, dropout: float = 0.0) -> HistoryAttention:
    layer = HistoryAttention(hidden, heads, steps, 2 * hidden, dropout)
    for parameter in layer.parameters():
        if parameter is not layer.lag_bias:
            torch.nn.init.normal_(parameter, std=0.5)
    return layer


def plain_attention(layer: HistoryAttention, state: Tensor, history: Tensor, absent: Tensor) -> Tensor:
    """The layer with explicit keys and values, by torch's attention."""
    samples, _, hidden = history.shape

    def split(x: Tensor) -> Tensor:
        return x.view(samples, -1, layer.num_heads, layer.head_dim).transpose(1, 2)

    query = split(layer.query(layer.attention_norm(state))[:, None])
    allowed = ~absent[:, None, None, :]
    attended = functional.scaled_dot_product_attention(
        query, split(layer.key(history)), split(layer.value(history)), attn_mask=allowed
    )
    state = state + layer.output(attended.transpose(1, 2).reshape(samples, hidden))
    return state + layer.feedforward(layer.feedforward_norm(state))


def holes(samples: int, steps: int) -> Tensor:
    """Absent steps; the current step is always present."""
    absent = torch.rand(samples, steps) < 0.4
    absent[:, -1] = False
    return absent


# --- attention over the history ----------------------------------------------------------------------------


def test_folded_attention_equals_multi_head_attention_with_keys_and_values() -> None:
    layer = attention()
    state, history, absent = torch.randn(5, 8), torch.randn(5, 6, 8), holes(5, 6)
    found, weights = layer(state, history, absent, torch.ones(5, 2))
    torch.testing.assert_close(found, plain_attention(layer, state, history, absent), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(5, 2))


def test_without_a_mask_every_step_is_attended_to() -> None:
    layer = attention()
    state, history = torch.randn(5, 8), torch.randn(5, 6, 8)
    none_absent = torch.zeros(5, 6, dtype=torch.bool)
    found, weights = layer(state, history, None, torch.ones(5, 2))
    torch.testing.assert_close(
        found, plain_attention(layer, state, history, none_absent), atol=1e-5, rtol=1e-5
    )
    assert (weights > 0).all()


def test_absent_steps_get_no_weight_and_their_values_do_not_matter() -> None:
    layer = attention()
    state, history, absent = torch.randn(5, 8), torch.randn(5, 6, 8), holes(5, 6)
    found, weights = layer(state, history, absent, torch.ones(5, 2))
    assert (weights.transpose(1, 2)[absent] == 0).all()
    history[absent] = 100 * torch.randn(int(absent.sum()), 8)
    torch.testing.assert_close(layer(state, history, absent, torch.ones(5, 2))[0], found)


def test_the_lag_bias_adds_to_the_scores_of_its_head_and_lag() -> None:
    layer = attention(hidden=4, heads=2, steps=3)
    with torch.no_grad():
        layer.query.weight.zero_()
        layer.query.bias.zero_()
        layer.lag_bias.copy_(torch.tensor([[0.0, math.log(2), 0.0], [0.0, 0.0, 0.0]]))
    _, weights = layer(torch.randn(1, 4), torch.randn(1, 3, 4), None, torch.ones(1, 2))
    torch.testing.assert_close(weights[0], torch.tensor([[0.25, 0.5, 0.25], [1 / 3, 1 / 3, 1 / 3]]))


def test_a_higher_sharpness_sharpens_its_own_head() -> None:
    layer = attention()
    state, history = torch.randn(5, 8), torch.randn(5, 6, 8)

    def entropy(sharpness: Tensor) -> Tensor:
        _, weights = layer(state, history, None, sharpness)
        return -(weights * weights.clamp(min=1e-12).log()).sum(dim=-1)

    plain, sharp = entropy(torch.ones(5, 2)), entropy(torch.tensor([[2.0, 1.0]]).expand(5, 2))
    assert (sharp[:, 0] < plain[:, 0]).all()
    torch.testing.assert_close(sharp[:, 1], plain[:, 1])


# --- the day's state ---------------------------------------------------------------------------------------


def random_regime(market_dim: int = 0) -> Regime:
    regime = Regime(8, 3, market_dim).eval()
    for parameter in regime.parameters():
        torch.nn.init.normal_(parameter)
    return regime


ONE_DAY = torch.zeros(7, dtype=torch.long)


def test_sharpness_starts_at_one_and_scale_near_one() -> None:
    sharpness, scale = Regime(8, 3, 2)(torch.randn(7, 8), ONE_DAY, 1, torch.randn(1, 2))
    assert torch.equal(sharpness, torch.ones(7, 3))
    assert scale.shape == (7, 8) and (scale - 1).abs().max() <= 1


def test_sharpness_and_scale_are_shared_within_a_day_only() -> None:
    day = torch.tensor([0, 0, 0, 1, 1])
    for factor in random_regime()(5 * torch.randn(5, 8), day, 2, None):
        torch.testing.assert_close(factor[0], factor[2])
        torch.testing.assert_close(factor[3], factor[4])
        assert not torch.allclose(factor[0], factor[3])


def test_sharpness_is_between_1_over_e_and_e() -> None:
    regime = random_regime()
    for parameter in regime.parameters():
        parameter.data *= 100
    sharpness, _ = regime(torch.randn(7, 8), ONE_DAY, 1, None)
    assert (sharpness >= 1 / math.e - 1e-6).all() and (sharpness <= math.e + 1e-6).all()


def test_the_order_of_stocks_does_not_change_the_regime() -> None:
    regime, states, day = random_regime(), torch.randn(9, 8), torch.tensor([0, 1, 2] * 3)
    order = torch.randperm(9)
    for mixed, plain in zip(
        regime(states[order], day[order], 3, None), regime(states, day, 3, None), strict=True
    ):
        torch.testing.assert_close(mixed, plain[order])


def test_other_days_in_the_batch_do_not_change_the_regime() -> None:
    regime, states, market = random_regime(2), torch.randn(9, 8), torch.randn(2, 2)
    day = torch.tensor([0] * 4 + [1] * 5)
    both = regime(states, day, 2, market)
    single_day = regime(states[:4], day[:4], 1, market[:1])
    changed = states.clone()
    changed[4:] *= -30
    other = regime(changed, day, 2, market * torch.tensor([[1.0], [9.0]]))
    for whole, own, moved in zip(both, single_day, other, strict=True):
        torch.testing.assert_close(whole[:4], own, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(moved[:4], whole[:4], atol=1e-6, rtol=1e-6)
        assert not torch.allclose(moved[4:], whole[4:])


def test_the_regime_equals_a_day_by_day_twin() -> None:
    regime, states, market = random_regime(2), torch.randn(9, 8), torch.randn(3, 2)
    day = torch.tensor([2, 0, 1, 0, 2, 2, 1, 1, 0])
    sharpness, scale = regime(states, day, 3, market)
    for number in range(3):
        own = states[day == number]
        deviation = (own.var(dim=0, unbiased=False) + 1e-6).sqrt()
        summary = regime.summary(torch.cat([own.mean(dim=0), deviation, market[number]]))
        assert regime.sharpness is not None
        torch.testing.assert_close(
            sharpness[day == number], regime.sharpness(summary).tanh().exp().expand(len(own), -1)
        )
        torch.testing.assert_close(scale[day == number], 1 + regime.scale(summary).expand(len(own), -1))


def test_the_regime_reads_the_market_and_unknown_means_zeros() -> None:
    regime, states = random_regime(2), torch.randn(7, 8)
    unknown = regime(states, ONE_DAY, 1, None)
    for found, zero, up in zip(
        unknown,
        regime(states, ONE_DAY, 1, torch.zeros(1, 2)),
        regime(states, ONE_DAY, 1, torch.ones(1, 2)),
        strict=True,
    ):
        assert torch.equal(found, zero)
        assert not torch.allclose(found, up)


def test_a_regime_without_attention_heads_still_scales() -> None:
    regime = Regime(8, 0)
    sharpness, scale = regime(torch.randn(7, 8), ONE_DAY, 1, None)
    assert sharpness.shape == (7, 0) and scale.shape == (7, 8)
    assert not [name for name, _ in regime.named_parameters() if "sharpness" in name]


def test_a_day_with_one_stock_has_a_finite_gradient() -> None:
    states = torch.randn(1, 8, requires_grad=True)
    sharpness, scale = random_regime()(states, ONE_DAY[:1], 1, None)
    (sharpness.sum() + scale.sum()).backward()
    assert states.grad is not None
    assert states.grad.isfinite().all()


# --- the core ----------------------------------------------------------------------------------------------


def core(**changes: object) -> ATFTCore:
    settings = {"input_dim": 5, "hidden_dim": 8, "num_heads": 2, "sequence_length": 6, "num_layers": 2}
    return ATFTCore(**{**settings, **changes}).eval()  # type: ignore[arg-type]


def test_a_window_becomes_one_state_and_the_attention_of_every_layer() -> None:
    state, weights = core()(torch.randn(7, 6, 5))
    assert state.shape == (7, 8)
    assert weights.shape == (7, 2, 2, 6)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(7, 2, 2))


def test_masked_steps_of_a_window_are_not_attended_to() -> None:
    mask = ~holes(7, 6)
    _, weights = core()(torch.randn(7, 6, 5), mask)
    assert (weights.permute(0, 3, 1, 2)[~mask] == 0).all()


def test_values_at_masked_steps_do_not_matter() -> None:
    model, x, mask = core(), torch.randn(7, 6, 5), ~holes(7, 6)
    state, _ = model(x, mask)
    x[~mask] = 1e3
    torch.testing.assert_close(model(x, mask)[0], state)


def test_a_full_mask_equals_none() -> None:
    model, x = core(), torch.randn(7, 6, 5)
    torch.testing.assert_close(model(x, torch.ones(7, 6, dtype=torch.bool))[0], model(x)[0])


def test_the_default_day_index_is_one_day() -> None:
    model, x = core(), torch.randn(7, 6, 5)
    torch.testing.assert_close(model(x, None, torch.zeros(7, dtype=torch.long), 1)[0], model(x)[0])


def test_without_layers_the_state_is_the_lstms_output() -> None:
    model, x = core(num_layers=0, market_dim=None), torch.randn(7, 6, 5)
    state, weights = model(x)
    assert weights.shape == (7, 0, 2, 6)
    projected = model.input_projection(x)
    output = model.lstm(projected.transpose(0, 1))[0][-1]
    current = projected[:, -1]
    fused = model.feature_fusion(torch.cat([output, current], dim=1))
    torch.testing.assert_close(state, model.norm(output + current + fused))


def test_the_regime_scales_the_state_and_sharpens_attention() -> None:
    model, x, market = core(market_dim=2), torch.randn(7, 6, 5), torch.randn(1, 2)
    with torch.no_grad():
        model.regime.scale.weight.zero_()
    plain, calm = model(x, market=market)
    with torch.no_grad():
        model.regime.scale.bias[3] = 0.5
    scaled, same = model(x, market=market)
    torch.testing.assert_close(scaled[:, 3], 1.5 * plain[:, 3])
    torch.testing.assert_close(scaled[:, :3], plain[:, :3])
    torch.testing.assert_close(same, calm)
    with torch.no_grad():
        model.regime.sharpness.bias[0] = 3.0  # the first head of the first layer
    _, sharp = model(x, market=market)
    assert not torch.allclose(sharp[:, 0, 0], calm[:, 0, 0])
    torch.testing.assert_close(sharp[:, 0, 1], calm[:, 0, 1])


def test_without_a_regime_the_market_and_the_day_do_not_matter() -> None:
    model, x = core(market_dim=None), torch.randn(7, 6, 5)
    assert model.regime is None
    day = torch.tensor([0, 0, 0, 1, 1, 1, 1])
    assert torch.equal(model(x, None, day, 2)[0], model(x)[0])


def test_the_encoded_current_step_joins_the_projected_one() -> None:
    model, x, today = (
        core(num_layers=0, market_dim=None, snapshot_dim=3),
        torch.randn(7, 6, 5),
        torch.randn(7, 3),
    )
    projected = model.input_projection(x)
    output = model.lstm(projected.transpose(0, 1))[0][-1]
    current = projected[:, -1] + model.today(today)
    fused = model.feature_fusion(torch.cat([output, current], dim=1))
    torch.testing.assert_close(model(x, today=today)[0], model.norm(output + current + fused))
    assert core().today is None, "without a width for it only the window is read"


def test_encoding_in_chunks_equals_encoding_at_once() -> None:
    for steps in (6, 7, 9):  # chunks of 2, 2 and 3, with and without a remainder
        model, x, mask = core(sequence_length=steps), torch.randn(4, steps, 5), ~holes(4, steps)
        for at_once, stretched in zip(model(x, mask), model(x, mask, recompute=True), strict=True):
            torch.testing.assert_close(stretched, at_once, atol=1e-6, rtol=1e-6)


def test_the_oldest_step_still_reaches_the_state() -> None:
    model, x = core(), torch.randn(3, 6, 5, requires_grad=True)
    (model(x)[0] * torch.randn(3, 8)).sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().sum(dim=(0, 2)) > 0).all()


def test_a_hidden_dim_that_is_not_a_multiple_of_the_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden_dim 8 is not a multiple of num_heads 3"):
        core(num_heads=3)
