"""Trains the snapshot of a network: rows of all training days shuffled, each horizon for its own time."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from gogooku3.config import RunConfig
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.lightgbm_baseline import boosting_parameters
from gogooku3.training.batches import PanelBatches
from gogooku3.training.losses import MultiHorizonFinancialLoss
from gogooku3.training.module import parameter_groups

AVERAGED = 2
"""The average of the weights covers about the last 1 / (1 + AVERAGED) of the steps so far."""
CHECK_EVERY = 50
"""Steps between two checks of the loss; a check waits for a GPU."""


def passes_by_horizon(passes: float, horizons: Sequence[int]) -> dict[int, float]:
    """Passes over the training days for each horizon: `passes / sqrt(horizon)`.

    Labels of h days overlap, so they hold less evidence than their number suggests. After as many passes as 1
    day needs, forecasts of 20 days follow the noise of the training years.

    >>> passes_by_horizon(3.0, (1, 9))
    {1: 3.0, 9: 1.0}
    """
    return {horizon: passes / math.sqrt(horizon) for horizon in horizons}


def train_snapshot(
    model: ATFTGATFANModel,
    batches: PanelBatches,
    days: Sequence[int],
    config: RunConfig,
    precision: torch.autocast,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fit `model.snapshot` to what the linear path leaves of the labels.

    One network learns all horizons together, with a constant learning rate after the warm-up. Each horizon
    keeps the average of the weights at the end of its own passes (`passes_by_horizon`). A step takes rows of
    all days, because the labels of one day share its factor returns, which a step of few days would follow.
    With `snapshot.teacher_weight`, the labels of the shortest horizon are mixed with the forecasts of trees
    (`with_teacher`).
    The result depends on the arguments and `training.seed` only.

    Args:
        model: its snapshot is replaced, everything else stays; on the device of `batches`.
        batches: of the training panel, with treated labels.
        days: training days with samples.
        config: of the run; the groups `snapshot`, `loss` and, for the teacher, `lightgbm` apply.
        precision: entered for the network's part of each step, because autocast keeps its copies of the
            weights until it is left.
        progress: called after each step with the number of steps done and their total.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    settings, horizons = config.snapshot, model.prediction_horizons
    rows = batches.rows(days)
    size = min(settings.batch_size, len(rows))
    steps_per_pass = len(rows) // size
    ends: dict[int, list[int]] = {}
    for position, passes in enumerate(passes_by_horizon(settings.passes, horizons).values()):
        ends.setdefault(max(1, round(passes * steps_per_pass)), []).append(position)
    labels, scale = batches.labels(rows), torch.ones(len(horizons), device=rows.device)
    if settings.teacher_weight:
        first = int(np.argmin(horizons))
        labels[:, first], scale[first] = with_teacher(batches.features(rows), labels[:, first], config)
    # Independent of everything that was drawn before.
    with torch.random.fork_rng(devices=[rows.device] if rows.is_cuda else []):
        torch.manual_seed(config.training.seed)
        learner = model.snapshot.new_learner().to(rows.device).train()
        average = {name: tensor.detach().clone() for name, tensor in learner.state_dict().items()}
        optimizer = torch.optim.AdamW(
            parameter_groups(learner, settings.learning_rate, settings.weight_decay),
            fused=rows.device.type in ("cuda", "cpu"),
        )
        weights = {horizon: config.loss.horizon_weights[horizon] for horizon in horizons}
        loss_function = MultiHorizonFinancialLoss(weights).to(rows.device)
        total = torch.zeros((), device=rows.device)
        for step in range(max(ends)):
            start = step % steps_per_pass * size
            if start == 0:
                order = _shuffled(len(rows), (config.training.seed, step // steps_per_pass)).to(rows.device)
            chosen = order[start : start + size]
            x, ranks = batches.today(rows[chosen])
            with precision:
                predictions = learner(x, ranks)
            loss = loss_function(predictions, scale * (labels[chosen] - model.linear(x)))
            total += loss.detach()
            if step % CHECK_EVERY == 0 or step + 1 in ends:
                _require_finite(total, step)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * min(1.0, (step + 1) / max(1, settings.warmup_steps))
            optimizer.step()
            _add_to_average(average, learner.state_dict(), step)
            for position in ends.get(step + 1, []):
                model.snapshot.keep(position, average, 1 / float(scale[position]))
            progress(step + 1, max(ends))


def with_teacher(features: Tensor, labels: Tensor, config: RunConfig) -> tuple[Tensor, float]:
    """Mix the labels of one horizon with the forecasts of trees that are fitted to them (distillation).

    `((1 - w) label + w forecast / s) / d`, with `d = (1 - w) + w / s`, the teacher's weight w, and the
    deviation s of its forecasts: the two parts weigh as 1 - w to w, in units of the label (after Hinton,
    Vinyals and Dean, 2015, "Distilling the Knowledge in a Neural Network", sec. 2, with squared errors). The
    trees have the settings of the group `lightgbm`, without early stopping, and see these rows only.

    Args:
        features: `[rows, features]`.
        labels: `[rows]`, NaN unknown.
        config: of the run; `snapshot.teacher_weight` is w.

    Returns:
        the mixed labels `[rows]`, NaN where the label is unknown, and d. Times d, the mixture has about the
        deviation of a label, so that its errors weigh as much in a loss.
    """
    import lightgbm

    weight, settings = config.snapshot.teacher_weight, config.lightgbm
    known = labels.isfinite()
    x, y = features.cpu().numpy(), labels.cpu().numpy()
    parameters = boosting_parameters(settings.model_dump(exclude={"label"}), config.training.seed)
    parameters["num_threads"] = torch.get_num_threads()
    rows = np.flatnonzero(known.cpu().numpy())
    trees = lightgbm.train(parameters, lightgbm.Dataset(x[rows], y[rows]), settings.num_boost_round)
    forecasts = torch.from_numpy(np.asarray(trees.predict(x), dtype=np.float32)).to(labels.device)
    spread = float(forecasts[known].std())
    if not spread > 0:
        return labels, 1.0
    divisor = (1 - weight) + weight / spread
    return ((1 - weight) * labels + weight * forecasts / spread) / divisor, divisor


def _shuffled(size: int, seed: tuple[int, int]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).permutation(size))


def _add_to_average(average: Mapping[str, Tensor], weights: Mapping[str, Tensor], step: int) -> None:
    """Move the average towards the weights of a step, counted from 0; the first step replaces it."""
    share = 1 - step / (step + 1 + AVERAGED)
    torch._foreach_lerp_(list(average.values()), list(weights.values()), share if step else 1.0)


def _require_finite(total: Tensor, step: int) -> None:
    if not bool(total.isfinite()):
        raise FloatingPointError(
            f"the loss of the snapshot is not finite by step {step}. Try a lower snapshot.learning_rate, or "
            "training.mixed_precision=false"
        )
