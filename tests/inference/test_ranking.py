"""Tests that reasons are the network's contributions, and that a thinned-out day predicts the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gogooku3.inference import ranking
from gogooku3.inference.predict import read_inputs
from gogooku3.inference.ranking import explain_samples
from gogooku3.inference.saved_fold import SavedFold
from gogooku3.models.atft_gat_fan import ModelInputs


@pytest.fixture(scope="module")
def fold(trained_run: Path) -> SavedFold:
    """A fold in single precision whose networks use windows and graph."""
    fold = replace(SavedFold.open(trained_run), half_precision=False)
    for model in fold.networks.values():
        model.windows_share.fill_(1)
        for head in model.heads.values():
            torch.nn.init.normal_(head[-1].weight)
    return fold


@pytest.fixture(scope="module")
def day(fold: SavedFold, small_dataset: Path) -> ModelInputs:
    inputs = read_inputs(fold, small_dataset)
    return inputs.batch(inputs.days[-1]).inputs


def test_reasons_are_the_mean_contributions_relative_to_the_day(fold: SavedFold, day: ModelInputs) -> None:
    requested = np.array([2, 7, 20])
    contributions = explain_samples(fold, day, requested, 5)
    explained = [
        model.explain(*day[:-1], horizons=[5]).contributions[:, 0].numpy() for model in fold.networks.values()
    ]
    expected = np.mean(explained, axis=0)
    np.testing.assert_allclose(contributions, (expected - expected.mean(axis=0))[requested], atol=1e-5)
    assert np.abs(contributions).max() > 0.01


def test_requested_samples_predict_the_same_on_a_thinned_out_day(
    fold: SavedFold, day: ModelInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "REFERENCE_SAMPLES", 0)
    requested = np.array([4, 11])
    kept = ranking._thinned_out(day, requested)
    assert len(requested) < len(kept) < len(day.x)
    part = ranking._subset(day, kept)
    (model, *_) = fold.networks.values()
    with torch.inference_mode():
        whole, thinned = model(*day)[requested], model(*part)[np.searchsorted(kept, requested)]
    torch.testing.assert_close(thinned, whole)
