"""Weight average by hand, scoring with it, and gradient clipping in every precision."""

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as lightning
import numpy as np
import pytest
import torch
from tests.training.test_trainer import (
    TEST,
    UNTOUCHED,
    VALIDATION,
    market,
    network,
    same_weights,
    settings,
    trainer,
)
from torch import Tensor, nn

from gogooku3.data.panel import PanelSlice
from gogooku3.evaluation.metrics import information_coefficient
from gogooku3.training.callbacks import copy_weights
from gogooku3.training.module import LAG_RATE, ATFTModule, parameter_groups, weight_average

STEPS = 8


class Steps(lightning.Callback):
    """Records the weights before training and after every step, and the scored weights of each epoch."""

    def __init__(self) -> None:
        self.raw: list[dict[str, Tensor]] = []
        self.scored: list[dict[str, Tensor]] = []
        self.norms: list[float] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule)
        self.raw.append(copy_weights(pl_module.model))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *rest: Any
    ) -> None:
        assert isinstance(pl_module, ATFTModule)
        if trainer.global_step == len(self.raw):
            self.raw.append(copy_weights(pl_module.model))

    def on_before_zero_grad(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: Any
    ) -> None:
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if gradients:
            self.norms.append(torch.stack([g.norm() for g in gradients]).norm().item())

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule)
        self.scored.append(copy_weights(pl_module.scored_model))


def averages(raw: list[dict[str, Tensor]], decay: float) -> Iterator[dict[str, Tensor]]:
    """The moving average after each step, written out."""
    average = {name: weight.double() for name, weight in raw[0].items()}
    for step, weights in enumerate(raw[1:], start=1):
        keep = min(decay, (1 + step) / (10 + step))
        average = {name: keep * average[name] + (1 - keep) * weights[name].double() for name in average}
        yield average


def test_the_average_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 10.0)
    average = weight_average(model, decay=0.2)
    found = []
    for value in (21.0, 0.0, 5.0):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        found.append(average.module.weight.item())
    # Keeps 2/11, then min(0.2, 3/12) and min(0.2, 4/13).
    assert found == pytest.approx([19.0, 3.8, 4.76], rel=1e-6)
    assert model.weight.item() == 5.0
    assert not average.module.weight.requires_grad


@pytest.mark.parametrize("accumulated", [1, 3])
def test_every_epoch_is_scored_by_the_average_of_its_optimiser_steps(accumulated: int) -> None:
    steps = Steps()
    config = settings(epochs=2, batch_size=64, ema_decay=0.4, accumulate_grad_batches=accumulated)
    trainer(config=config, callbacks=[steps]).fit()
    expected = list(averages(steps.raw, 0.4))
    per_epoch = len(expected) // 2
    # Two months of 24 stocks, two stocks per step.
    assert per_epoch == 24 // accumulated
    for scored, step in zip(steps.scored, (per_epoch, 2 * per_epoch), strict=True):
        for name, weight in scored.items():
            torch.testing.assert_close(weight, expected[step - 1][name].float(), atol=1e-6, rtol=1e-4)


def test_the_saved_weights_are_the_average_and_the_scores_are_its_own() -> None:
    panel, steps, model = market(), Steps(), network()
    fitted = trainer(model, panel, settings(ema_decay=0.9, **UNTOUCHED), callbacks=[steps])
    history = fitted.fit()["history"][0]
    kept = model.state_dict()
    assert all(torch.equal(kept[name], weight) for name, weight in steps.scored[0].items())
    assert any(not torch.equal(kept[name], weight) for name, weight in steps.raw[-1].items())

    part = PanelSlice(panel, VALIDATION)
    day, stock = part.rows(STEPS)

    def score() -> float:
        predictions = fitted.predict(part)["prediction_5d"]
        return information_coefficient(predictions, panel.targets[day, stock, 1], day)

    assert history["val/ic_5d"] == pytest.approx(score(), abs=1e-5)
    model.load_state_dict(steps.raw[-1])
    assert history["val/ic_5d"] != pytest.approx(score(), abs=1e-5)


def test_the_average_does_not_change_training_and_is_reproducible() -> None:
    plain, averaged, again = Steps(), Steps(), Steps()
    first, second = network(), network()
    trainer(config=settings(), callbacks=[plain]).fit()
    trainer(first, config=settings(ema_decay=0.95), callbacks=[averaged]).fit()
    trainer(second, config=settings(ema_decay=0.95), callbacks=[again]).fit()
    for one, other in zip(plain.raw, averaged.raw, strict=True):
        assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    assert same_weights(first, second)


def test_without_an_average_the_weights_themselves_are_scored() -> None:
    steps = Steps()
    trainer(config=settings(), callbacks=[steps]).fit()
    assert all(torch.equal(weight, steps.raw[-1][name]) for name, weight in steps.scored[0].items())


@pytest.mark.parametrize(("mixed", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_gradients_are_clipped_in_every_precision(
    mixed: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gogooku3.training.trainer.bfloat16_runs_fast", lambda accelerator: True)
    clipped, free = Steps(), Steps()
    for steps, limit in ((clipped, 0.01), (free, 0.0)):
        config = settings(mixed_precision=mixed, gradient_clip_val=limit)
        results = trainer(config=config, callbacks=[steps]).fit()
        assert results["precision"] == precision
    assert max(clipped.norms) <= 0.01 * 1.001
    assert max(free.norms) > 0.05


def test_the_daily_correlation_is_part_of_training_and_validation_loss() -> None:
    plain, ordered = (
        trainer(config=settings(epochs=2, loss={"correlation_weight": weight})).fit() for weight in (0.0, 1.0)
    )
    # The correlation adds between 0 and 2 x the weights (1 + 0.7) / 2.
    assert 0.2 < ordered["history"][0]["val/loss"] - plain["history"][0]["val/loss"] < 1.7
    assert ordered["history"][1]["train/loss"] < ordered["history"][0]["train/loss"]
    assert np.isfinite(ordered["best_score"]) and ordered["best_score"] > 0.2


def test_later_days_change_no_earlier_prediction_with_average_and_correlation() -> None:
    panel = market()
    fitted = trainer(panel=panel, config=settings(ema_decay=0.9, loss={"correlation_weight": 0.5}))
    fitted.fit()
    before = fitted.predict(PanelSlice(panel, TEST))
    panel.values[85:] = 7
    panel.targets[85:] = -7
    after = fitted.predict(PanelSlice(panel, TEST))
    past = before["date"] < panel.dates[85].item()
    assert after.filter(past).equals(before.filter(past))
    assert not after.filter(~past).equals(before.filter(~past))


def test_matrices_decay_and_only_lag_biases_learn_faster() -> None:
    model = network(market_dim=6)
    groups = parameter_groups(model, 0.01, 0.1)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.0]
    own = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(own) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        neutral = parameter.ndim < 2 or name.endswith(("lag_bias", "frequency_weights"))
        assert own[id(parameter)]["weight_decay"] == (0.0 if neutral else 0.1), name
        rate = LAG_RATE * 0.01 if name.endswith("lag_bias") else 0.01
        assert own[id(parameter)]["lr"] == rate, name
    model.snapshot.requires_grad_(False)
    spared = sum(len(group["params"]) for group in parameter_groups(model, 0.01, 0.1))
    assert spared == len(own) - len(list(model.snapshot.parameters())), "the snapshot is fixed by then"
    plain = parameter_groups(network(use_temporal_attention=False), 0.01, 0.1)
    assert [group["lr"] for group in plain] == [0.01, 0.01]
