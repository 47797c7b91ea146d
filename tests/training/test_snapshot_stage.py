"""The snapshot learns thresholds, averages the weights up to each horizon's end, and reads its days only."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from panels import make_panel
from torch import Tensor

from gogooku3.config import RunConfig
from gogooku3.data.panel import Panel
from gogooku3.evaluation.metrics import information_coefficient
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.training.batches import PanelBatches
from gogooku3.training.snapshot_stage import (
    _add_to_average,
    passes_by_horizon,
    train_snapshot,
    with_teacher,
)

DAYS, STOCKS, FEATURES, STEPS = 30, 40, 4, 5
TRAIN = range(STEPS - 1, 24)
FLOAT32 = torch.autocast("cpu", enabled=False)


def market(seed: int = 0) -> Panel:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(DAYS, STOCKS, FEATURES))
    return make_panel(values, rng.normal(size=(DAYS, STOCKS, 2)))


def config(seed: int = 42, **snapshot: Any) -> RunConfig:
    """800 training rows in steps of 200: four steps per pass."""
    return RunConfig.from_mapping(
        {
            "training": {"seed": seed, "mixed_precision": False},
            "time_series": {"sequence_length": STEPS, "prediction_horizons": [1, 5]},
            "loss": {"horizon_weights": {1: 1.0, 5: 0.7}},
            "snapshot": {"batch_size": 200, "warmup_steps": 2, **snapshot},
            "lightgbm": {"num_boost_round": 20, "min_data_in_leaf": 20},
        }
    )


def network() -> ATFTGATFANModel:
    torch.manual_seed(0)
    return ATFTGATFANModel(FEATURES, 8, 2, 1, [1, 5], sequence_length=STEPS, dropout=0.2)


def fitted(panel: Panel, settings: RunConfig, **options: Any) -> ATFTGATFANModel:
    model = network()
    batches = PanelBatches(panel, panel.targets, STEPS)
    train_snapshot(model, batches, TRAIN, settings, FLOAT32, **options)
    return model


def weights(model: ATFTGATFANModel, horizon: int | None = None) -> dict[str, Tensor]:
    module = model.snapshot if horizon is None else model.snapshot.networks[horizon]
    return module.state_dict()


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


# --- passes and average ------------------------------------------------------------------------------------


def test_each_horizon_keeps_the_average_at_the_end_of_its_own_passes() -> None:
    assert passes_by_horizon(2.0, (1, 4)) == {1: 2.0, 4: 1.0}
    steps: list[tuple[int, int]] = []
    # Horizon 1 ends after 2 passes of 4 steps; horizon 5 after 2 / sqrt(5) passes, which is 4 steps rounded.
    long = fitted(market(), config(passes=2.0), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 8) for done in range(1, 9)]
    short = fitted(market(), config(passes=1.0))
    shared = {name for name in weights(long, 0) if not name.startswith("last.")}
    for name in shared:
        assert torch.equal(weights(long, 1)[name], weights(short, 0)[name]), name
    assert not equal(weights(long, 0), weights(short, 0))


def test_the_average_by_hand() -> None:
    average, found = {"weight": torch.tensor([7.0])}, []
    for step, value in enumerate((1.0, 5.0, 0.0)):
        _add_to_average(average, {"weight": torch.tensor([value])}, step)
        found.append(average["weight"].item())
    # The first replaces it; then shares of 3/4 and 3/5.
    assert found == pytest.approx([1.0, 4.0, 1.6])


# --- what the result depends on ----------------------------------------------------------------------------


def test_only_arguments_and_seed_decide_and_the_global_generator_stays() -> None:
    panel = market()
    first = fitted(panel, config())
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = network()
    model.snapshot.load_state_dict(weights(first))
    torch.set_rng_state(before)
    train_snapshot(model, PanelBatches(panel, panel.targets, STEPS), list(TRAIN), config(), FLOAT32)
    assert torch.equal(torch.get_rng_state(), before)
    assert equal(weights(model), weights(first))
    assert not equal(weights(fitted(panel, config(seed=1))), weights(first))


def test_days_outside_the_training_days_do_not_matter() -> None:
    panel = market()
    values, targets, mask = panel.values.copy(), panel.targets.copy(), panel.mask.copy()
    outside = [*range(TRAIN.start), *range(TRAIN.stop, DAYS)]
    values[outside], targets[outside] = 9 * values[outside, ::-1], -100
    mask[outside, ::2] = False
    changed = replace(panel, values=values, targets=targets, mask=mask)
    assert equal(weights(fitted(changed, config())), weights(fitted(panel, config())))


def test_only_the_snapshot_changes_and_it_learns_what_the_linear_path_leaves() -> None:
    panel, model = market(), network()
    panel.targets[:] = panel.values[:, :, :1]
    batches = PanelBatches(panel, panel.targets, STEPS)
    model.linear.weight[0] = 1.0
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = config(learning_rate=1e-2, passes=10.0, warmup_steps=0)
    train_snapshot(model, batches, TRAIN, settings, FLOAT32)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all(name.startswith("snapshot.") for name in changed)
    assert model.eval().snapshot(*batches.today(batches.rows(TRAIN))).abs().max() < 0.02


def test_a_non_finite_loss_is_refused() -> None:
    panel = market()
    panel.values[20, 3, 1] = np.inf
    before = network().snapshot.state_dict()
    model = network()
    with pytest.raises(
        FloatingPointError, match=r"loss of the snapshot is not finite .*snapshot.learning_rate"
    ):
        train_snapshot(model, PanelBatches(panel, panel.targets, STEPS), TRAIN, config(passes=1.0), FLOAT32)
    assert equal(weights(model), before)


# --- learning ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixed_precision", [False, True])
def test_it_finds_a_planted_threshold_that_a_linear_path_misses(mixed_precision: bool) -> None:
    """The label is whether a feature is among the day's middle half."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(40, 60, FEATURES))
    label = (np.abs(values[:, :, 2]) < 0.67) - 0.5
    panel = make_panel(values, label[:, :, None] + 0.3 * rng.normal(size=(40, 60, 2)))
    model, batches = network(), PanelBatches(panel, panel.targets, STEPS)
    precision = torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed_precision)
    train_snapshot(model, batches, range(4, 30), config(passes=40.0, learning_rate=1e-2), precision)
    rows, test = batches.rows(range(30, 40)), np.repeat(np.arange(10), 60)
    predictions = model.eval().snapshot(*batches.today(rows)).detach().numpy()
    for horizon in range(2):
        score = information_coefficient(predictions[:, horizon], panel.targets[30:, :, horizon].ravel(), test)
        assert score > 0.6


# --- the teacher -------------------------------------------------------------------------------------------


def test_labels_and_the_teachers_forecasts_are_mixed_by_weight_in_units_of_the_label() -> None:
    x = torch.randn(600, FEATURES, generator=torch.Generator().manual_seed(0))
    signal = (x[:, 0] > 0.5).float()
    labels = signal + torch.randn(600, generator=torch.Generator().manual_seed(1))
    labels[::7] = torch.nan
    known = labels.isfinite()
    mixed, divisor = with_teacher(x, labels, config(teacher_weight=0.25))
    assert torch.equal(mixed.isfinite(), known)
    spread = 0.25 / (divisor - 0.75)
    standardised = (mixed * divisor - 0.75 * labels)[known] / 0.25
    assert standardised.std().item() == pytest.approx(1, abs=1e-3)
    forecasts = spread * standardised
    assert information_coefficient(forecasts.numpy(), signal[known].numpy()) > 1.2 * information_coefficient(
        labels[known].numpy(), signal[known].numpy()
    ), "less noisy than the labels"


def test_a_teacher_changes_the_snapshot_and_reads_training_days_only() -> None:
    panel = market()
    taught = fitted(panel, config(teacher_weight=0.5))
    assert not equal(weights(taught, 0), weights(fitted(panel, config()), 0))
    later = replace(panel, values=panel.values.copy(), targets=panel.targets.copy())
    later.values[TRAIN.stop :] *= -5
    later.targets[TRAIN.stop :] *= -5
    assert equal(weights(taught), weights(fitted(later, config(teacher_weight=0.5))))
