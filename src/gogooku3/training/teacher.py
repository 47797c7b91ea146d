"""A teacher for the snapshot: boosted trees on the same rows, whose forecasts are less noisy than labels."""

import numpy as np
import torch
from torch import Tensor

from gogooku3.config import RunConfig
from gogooku3.models.lightgbm_baseline import boosting_parameters


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
