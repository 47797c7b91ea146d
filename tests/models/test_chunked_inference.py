"""Predictions and contributions in chunks equal those of the whole day, for any chunks and threads."""

import pytest
import torch

from gogooku3.models import ATFTGATFANModel, chunked_inference
from gogooku3.models.atft_gat_fan import ModelInputs
from gogooku3.models.chunked_inference import contributions_in_chunks, predict_in_chunks
from gogooku3.models.graph_attention import Neighbours

SAMPLES, STEPS, FEATURES, MARKET = 23, 8, 6, 4
PARTS = [None, "frequency_norm", "temporal_attention", "graph_attention", "regime"]
"""Optional parts of the network."""


def network(**options: bool) -> ATFTGATFANModel:
    """A network with random weights in all parts."""
    torch.manual_seed(0)
    model = ATFTGATFANModel(FEATURES, 16, 4, 2, sequence_length=STEPS, market_dim=MARKET, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def two_days() -> ModelInputs:
    """Windows of two days with absent steps, and neighbours within each day."""
    mask = torch.rand(SAMPLES, STEPS) > 0.2
    mask[:, -1] = True
    day = (torch.arange(SAMPLES) >= 11).long()
    first = day * 11
    index = first[:, None] + torch.randint(11, (SAMPLES, 3))
    neighbours = Neighbours(index, torch.rand(SAMPLES, 3), torch.rand(SAMPLES, 3) > 0.3)
    return ModelInputs(
        torch.randn(SAMPLES, STEPS, FEATURES), mask, day, neighbours, 2, torch.randn(2, MARKET)
    )


@pytest.mark.parametrize("off", PARTS)
def test_chunked_predictions_equal_the_models(off: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_inference, "CHUNK", 5)
    model, inputs = network(**({f"use_{off}": False} if off else {})), two_days()
    with torch.inference_mode():
        whole = model(*inputs)
        found = predict_in_chunks(model, inputs, threads=2)
    assert whole.std(0).min() > 0.01
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)


def test_predictions_are_bit_identical_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_inference, "CHUNK", 5)
    model, inputs = network(), two_days()
    with torch.inference_mode():
        found = [predict_in_chunks(model, inputs, threads=threads) for threads in (1, 2, 3)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_chunks_run_in_the_callers_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_inference, "CHUNK", 5)
    model, inputs = network(), two_days()
    with torch.inference_mode():
        exact = predict_in_chunks(model, inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            whole, found = model(*inputs), predict_in_chunks(model, inputs)
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, whole, rtol=0.05, atol=0.05)


def test_chunked_predictions_need_no_gradient() -> None:
    model, inputs = network(), two_days()
    assert not predict_in_chunks(model, inputs).requires_grad


@pytest.mark.parametrize("off", PARTS)
@pytest.mark.parametrize("horizon", [1, 20])
def test_chunked_contributions_equal_the_models(
    off: str | None, horizon: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked_inference, "CHUNK", 5)
    monkeypatch.setattr(chunked_inference, "GRADIENT_CHUNK", 4)
    model, inputs = network(**({f"use_{off}": False} if off else {})), two_days()
    whole = model.explain(*inputs, [horizon]).contributions[:, 0]
    found = contributions_in_chunks(model, inputs, horizon, threads=2)
    assert whole.abs().mean(0).min() > 1e-4
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_contributions_are_bit_identical_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_inference, "CHUNK", 5)
    monkeypatch.setattr(chunked_inference, "GRADIENT_CHUNK", 4)
    model, inputs = network(), two_days()
    found = [contributions_in_chunks(model, inputs, 5, threads=threads) for threads in (1, 2, 3)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
