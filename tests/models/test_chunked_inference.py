"""Predictions and contributions in chunks equal those of the whole day, for any chunks and threads."""

from collections.abc import Callable

import pytest
import torch
from networks import random_network

from gogooku3.models import ATFTGATFANModel, chunked_inference
from gogooku3.models.atft_gat_fan import ModelInputs
from gogooku3.models.chunked_inference import contributions_in_chunks, predict_in_chunks

SERIES = 23
PARTS = [None, "frequency_norm", "temporal_attention", "graph_attention", "regime"]
"""Optional parts of the network."""

each_part = pytest.mark.parametrize("off", PARTS)


def network(off: str | None = None) -> ATFTGATFANModel:
    """A network with random weights in all parts but one."""
    model = random_network(
        market_dim=3, prediction_horizons=[1, 20], **({f"use_{off}": False} if off else {})
    )
    torch.nn.init.normal_(model.linear.weight)
    model.snapshot_share.copy_(torch.tensor([0.5, 1.0]))
    model.windows_share.copy_(torch.tensor([1.0, 0.7]))
    return model


@pytest.fixture
def inputs(make_inputs: Callable[..., ModelInputs]) -> ModelInputs:
    return make_inputs(SERIES, market_dim=3)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_inference, "CHUNK", 5)
    monkeypatch.setattr(chunked_inference, "GRADIENT_CHUNK", 4)


@each_part
@pytest.mark.parametrize("days", [1, 3])
def test_chunked_predictions_equal_the_models(
    off: str | None, days: int, make_inputs: Callable[..., ModelInputs]
) -> None:
    """Missing ranks are computed among all samples of a day, not those of a chunk."""
    model, inputs = network(off), make_inputs(SERIES, days, market_dim=3)
    for given in (inputs, inputs._replace(ranks=None)):
        with torch.inference_mode():
            whole = model(*given)
        found = predict_in_chunks(model, given, threads=2)
        assert whole.std(0).min() > 0.01 and not found.requires_grad
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)


@each_part
def test_chunked_contributions_equal_the_models(off: str | None, inputs: ModelInputs) -> None:
    model = network(off)
    for horizon in (1, 20):
        whole = model.explain(*inputs[:6], [horizon]).contributions[:, 0]
        found = contributions_in_chunks(model, inputs, horizon, threads=2)
        assert whole.abs().mean(0).min() > 1e-4
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_results_are_bit_identical_for_any_number_of_threads(inputs: ModelInputs) -> None:
    model, threads = network(), torch.get_num_threads()
    predictions = [predict_in_chunks(model, inputs, count) for count in (1, 2, 3)]
    contributions = [contributions_in_chunks(model, inputs, 1, count) for count in (1, 2, 3)]
    for first, *others in (predictions, contributions):
        assert all(torch.equal(first, other) for other in others)
    assert torch.get_num_threads() == threads


def test_later_series_in_a_request_do_not_change_the_bits_of_whole_chunks(inputs: ModelInputs) -> None:
    """Without a graph, the first ten series have the same predictions alone as with others."""
    model = network("graph_attention")
    first = predict_in_chunks(model, inputs.series(slice(0, 10)))
    assert torch.equal(predict_in_chunks(model, inputs)[:10], first)


def test_chunks_run_in_the_callers_precision(inputs: ModelInputs) -> None:
    model = network()
    exact = predict_in_chunks(model, inputs)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        whole, found = model(*inputs), predict_in_chunks(model, inputs)
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found, whole, rtol=0.05, atol=0.05)
