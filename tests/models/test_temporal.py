"""One pass over a stretch equals a twin that encodes each day from its past; no state looks ahead."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gogooku3.models.temporal import ATFTCore, Band, HistoryAttention, Regime, StretchDropout

SERIES, STEPS, DAYS, LENGTH, FEATURES, MARKET = 4, 11, 4, 6, 5, 3


class CoreByDay(ATFTCore):
    """The core with its samples as `[series, days]`."""

    def forward(
        self, x: Tensor, step_mask: Tensor | None = None, days: int = 1, *rest: Any, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        state, attention = super().forward(x, step_mask, days, *rest, **options)
        by_day = (len(x), days)
        return state.unflatten(0, by_day), None if attention is None else attention.unflatten(0, by_day)


def core(**changes: object) -> ATFTCore:
    """A core with random weights, in evaluation mode."""
    settings = {"input_dim": FEATURES, "hidden_dim": 8, "num_heads": 2, "sequence_length": LENGTH}
    settings |= {"num_layers": 2, "market_dim": MARKET}
    model = CoreByDay(**{**settings, **changes}).eval()  # type: ignore[arg-type]
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def stretches(steps: int = STEPS, days: int = DAYS) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, step_mask with absent steps (some on predicted days), day_index and market."""
    mask = torch.rand(SERIES, steps) < 0.6
    day = torch.arange(days).expand(SERIES, days)
    return torch.randn(SERIES, steps, FEATURES), mask, day, torch.randn(days, MARKET)


def twin(model: ATFTCore, past: Tensor, mask: Tensor, market: Tensor) -> tuple[Tensor, Tensor]:
    """State and attention of one stock on one day from `past` `[steps, features]`, head by head."""
    length, heads = model.sequence_length, model.num_heads
    projected = torch.where(mask[:, None], model.input_projection(past), model.absent_step)
    output = model.lstm(projected)[0]
    history = (output + projected)[-length:]
    present = mask[-length:].clone()
    present[-1] = True
    sharpness, scale = torch.ones(model.num_layers * heads), torch.ones(1)
    if model.regime is not None:
        summary = model.regime.summary(market)
        scale = 1 + model.regime.scale(summary)
        if model.regime.sharpness is not None:
            sharpness = model.regime.sharpness(summary).tanh().exp()
    state = output[-1]
    attention = torch.zeros(model.num_layers, heads, length)
    for number, layer in enumerate(model.temporal_attention):
        query, keys, values = (
            layer.query(layer.attention_norm(state)).view(heads, -1),
            layer.key(history).view(len(history), heads, -1),
            layer.value(history).view(len(history), heads, -1),
        )
        heard = []
        for head in range(heads):
            scores = keys[:, head] @ query[head] / math.sqrt(layer.head_dim)
            bias = layer.lag_bias[head, length - len(history) :]
            scores = scores * sharpness[number * heads + head] + bias
            weights = scores.masked_fill(~present, -math.inf).softmax(dim=0)
            attention[number, head, length - len(history) :] = weights
            heard.append(weights @ values[:, head])
        state = state + layer.output(torch.cat(heard))
        state = state + layer.feedforward(layer.feedforward_norm(state))
    fusion = model.feature_fusion(torch.cat([state, projected[-1]]))
    return model.norm(state + projected[-1] + fusion) * scale, attention


# --- parts -------------------------------------------------------------------------------------------------


def test_a_day_attends_to_the_present_steps_of_its_window_and_to_itself() -> None:
    mask = torch.tensor([[True, False, True, True, False]])
    band = Band.of(5, 2, 3, mask, mask.device)
    assert (~band.hidden).int().tolist() == [[[0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]]
    assert band.position.tolist() == [[0, 0, 1, 2, 2], [0, 0, 0, 1, 2]]
    assert (~Band.of(5, 2, 3, None, mask.device).hidden).int().tolist() == [
        [[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]]
    ]


def test_the_lag_bias_adds_to_the_scores_of_its_head_and_lag() -> None:
    layer = HistoryAttention(4, 2, 3, 8, 0.0)
    with torch.no_grad():
        layer.query.weight.zero_()
        layer.query.bias.zero_()
        layer.lag_bias.copy_(torch.tensor([[0.0, math.log(2), 0.0], [0.0, 0.0, 0.0]]))
    band = Band.of(4, 2, 3, None, layer.lag_bias.device)
    _, weights = layer(torch.randn(1, 2, 4), torch.randn(1, 4, 4), band, torch.ones(1, 2, 2))
    expected = torch.tensor([[[0.25, 0.5, 0.25, 0], [0, 0.25, 0.5, 0.25]], [[1, 1, 1, 0], [0, 1, 1, 1]]])
    expected[1] /= 3
    torch.testing.assert_close(weights[0], expected)


def test_dropout_takes_the_same_dimensions_on_every_day_of_a_series() -> None:
    dropout, x = StretchDropout(0.25), torch.ones(200, 3, 50)
    dropped = dropout.train()(x)
    assert torch.equal(dropped[:, 0], dropped[:, 2])
    assert not torch.equal(dropped[0], dropped[1])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert dropped.mean().item() == pytest.approx(1, abs=0.03), "the remaining dimensions are scaled up"
    assert torch.equal(dropout.eval()(x), x)


def test_sharpness_starts_at_one_and_scale_near_one() -> None:
    sharpness, scale = Regime(8, 3, 2).eval()(torch.randn(7, 2))
    assert torch.equal(sharpness, torch.ones(7, 3))
    assert scale.shape == (7, 8) and (scale - 1).abs().max() <= 1


def test_the_regime_by_hand_and_its_bounds() -> None:
    """One number summarises the market: tanh(log 3 / 2) = 1/2."""
    regime = Regime(1, 2, 2).eval()
    with torch.no_grad():
        for parameter in regime.parameters():
            parameter.zero_()
        regime.summary[1].weight.copy_(torch.tensor([[0.5, 0.0]]))
        regime.sharpness.weight.copy_(torch.tensor([[math.log(3)], [-1e6]]))
        regime.scale.weight.fill_(3.0)
    sharpness, scale = regime(torch.tensor([[math.log(3), 7.0]]))
    torch.testing.assert_close(sharpness, torch.tensor([[math.exp(0.5), 1 / math.e]]))
    torch.testing.assert_close(scale, torch.tensor([[2.5]]))


def test_one_days_market_does_not_change_another_days_regime() -> None:
    regime, market = Regime(8, 3, 2).eval(), torch.randn(5, 2)
    torch.nn.init.normal_(regime.sharpness.weight)
    changed = market.clone()
    changed[3] *= -30
    for factor, other in zip(regime(market), regime(changed), strict=True):
        assert torch.equal(factor[[0, 1, 2, 4]], other[[0, 1, 2, 4]])
        assert not torch.allclose(factor[3], other[3])


# --- the core ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "days"), [(STEPS, DAYS), (LENGTH, 1), (LENGTH, LENGTH)])
@pytest.mark.parametrize("changes", [{}, {"num_layers": 0}, {"market_dim": 0}], ids=str)
def test_one_pass_equals_a_twin_that_encodes_each_day_from_its_past(
    steps: int, days: int, changes: dict[str, int]
) -> None:
    model, (x, mask, day, market) = core(**changes), stretches(steps, days)
    state, attention = model(x, mask, days, day, market, with_attention=True)
    assert state.shape == (SERIES, days, 8)
    assert attention.shape == (SERIES, days, model.num_layers, 2, LENGTH)
    for number in range(days):
        end = steps - days + number + 1
        for stock in range(SERIES):
            own, weights = twin(model, x[stock, :end], mask[stock, :end], market[number])
            torch.testing.assert_close(state[stock, number], own, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(attention[stock, number], weights, atol=1e-5, rtol=1e-4)
        if end >= LENGTH:
            single, _ = model(x[:, :end], mask[:, :end], 1, torch.full((SERIES, 1), number), market)
            torch.testing.assert_close(state[:, number], single[:, 0], atol=1e-5, rtol=1e-4)


def test_nothing_after_a_day_changes_its_state() -> None:
    """Bit for bit, for features and absent steps."""
    model, (x, mask, day, market) = core(), stretches()
    before, _ = model(x, mask, DAYS, day, market)
    for number in range(DAYS - 1):
        future = slice(STEPS - DAYS + number + 1, None)
        later_x, later_mask = x.clone(), mask.clone()
        later_x[:, future] = 30 * torch.randn_like(x[:, future])
        later_mask[:, future] = ~mask[:, future]
        for changed in ((later_x, mask), (x, later_mask), (later_x, later_mask)):
            after, _ = model(*changed, DAYS, day, market)
            assert torch.equal(after[:, : number + 1], before[:, : number + 1])
            assert not torch.allclose(after[:, -1], before[:, -1])


def test_absent_steps_get_no_attention_and_their_values_do_not_matter() -> None:
    model, (x, mask, day, market) = core(), stretches()
    state, attention = model(x, mask, DAYS, day, market, with_attention=True)
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(attention.shape[:-1]))
    for number in range(DAYS):
        end = STEPS - DAYS + number + 1
        absent = ~mask[:, end - LENGTH : end]
        absent[:, -1] = False
        assert (attention[:, number].permute(0, 3, 1, 2)[absent] == 0).all()
        assert (attention[:, number].permute(0, 3, 1, 2)[~absent] > 0).all()
    changed = torch.where(mask[:, :, None], x, 1e3)
    assert torch.equal(model(changed, mask, DAYS, day, market)[0], state)
    everywhere = torch.ones_like(mask)
    torch.testing.assert_close(model(x, everywhere, DAYS, day, market), model(x, None, DAYS, day, market))


def test_the_regime_reads_only_the_market_of_the_samples_own_day() -> None:
    model, (x, _, day, market) = core(), stretches()
    before, calm = model(x, None, DAYS, day, market, with_attention=True)
    moved = x.clone()
    moved[1:] *= -3
    assert torch.equal(model(moved, None, DAYS, day, market)[0][0], before[0])
    other = market.clone()
    other[2] += 1
    after, sharp = model(x, None, DAYS, day, other, with_attention=True)
    kept = [0, 1, 3]
    assert torch.equal(after[:, kept], before[:, kept]) and torch.equal(sharp[:, kept], calm[:, kept])
    assert not torch.allclose(after[:, 2], before[:, 2]) and not torch.allclose(sharp[:, 2], calm[:, 2])
    assert torch.equal(model(x, None, DAYS, None, market)[0], before), "series cover the same days by default"
    unknown = model(x, None, DAYS, day, None)[0]
    torch.testing.assert_close(unknown, model(x, None, DAYS, day, torch.zeros_like(market))[0])


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_recomputing_gives_the_same_states_and_gradients(dropout: float) -> None:
    """Chunks of 2 and 3 steps, with and without a remainder."""
    for steps in (6, 7, 12):
        x, mask, day, market = stretches(steps)
        results = []
        for recompute in (False, True):
            torch.manual_seed(3)
            model = core(dropout=dropout).train()
            torch.manual_seed(4)
            state, _ = model(x, mask, DAYS, day, market, recompute)
            functional.mse_loss(state, torch.ones_like(state)).backward()
            results.append([state, *(parameter.grad for parameter in model.parameters())])
        for plain, recomputed in zip(*results, strict=True):
            torch.testing.assert_close(recomputed, plain, atol=1e-6, rtol=1e-5)


def test_the_oldest_step_still_reaches_the_last_state() -> None:
    model, x = core(), torch.randn(3, STEPS, FEATURES, requires_grad=True)
    (model(x)[0] * torch.randn(3, 1, 8)).sum().backward()
    assert (x.grad.abs().sum(dim=(0, 2)) > 0).all()


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="hidden_dim 8 is not a multiple of num_heads 3"):
        core(num_heads=3)
    for steps, days, least in ((5, 1, 6), (7, 8, 8)):
        with pytest.raises(ValueError, match=f"expected stretches of at least {least} steps, got {steps}"):
            core()(torch.randn(1, steps, FEATURES), days=days)
