"""The loss over several horizons; a null target drops out of its horizon alone."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gogooku3.errors import ConfigError

DEFAULT_HORIZON_WEIGHTS: Mapping[int, float] = {1: 1.0, 5: 0.7, 10: 0.5, 20: 0.5}


class MultiHorizonFinancialLoss(nn.Module):
    """Sum over horizons of weight x mean squared error, divided by the number of horizons.

    Args:
        horizon_weights: weight of each horizon, in the order of the prediction's columns.

    Shapes:
        predictions, targets `[samples, horizons]` -> scalar. A NaN target is unknown: it takes
        no part in its horizon's mean; a horizon without any known target contributes 0.

    Raises:
        ConfigError: no weight, or a negative one.

    >>> loss = MultiHorizonFinancialLoss({1: 1.0, 5: 0.5})
    >>> nan = float("nan")
    >>> float(loss(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 2.0], [3.0, nan]])))
    3.5
    """

    weights: Tensor

    def __init__(self, horizon_weights: Mapping[int, float] = DEFAULT_HORIZON_WEIGHTS) -> None:
        super().__init__()
        if not horizon_weights or min(horizon_weights.values()) < 0:
            raise ConfigError(f"horizon_weights is {dict(horizon_weights)}; give weights of 0 or more")
        self.horizon_weights = dict(horizon_weights)
        self.register_buffer("weights", torch.tensor(list(horizon_weights.values())), persistent=False)

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        if predictions.shape != targets.shape or predictions.shape[1] != len(self.weights):
            raise ValueError(
                f"expected predictions and targets [samples, {len(self.weights)}], got "
                f"{tuple(predictions.shape)} and {tuple(targets.shape)}"
            )
        known = ~targets.isnan()
        error = torch.where(known, predictions - targets.nan_to_num(), 0).square()
        mean = error.sum(dim=0) / known.sum(dim=0).clamp(min=1)
        return (self.weights * mean).sum() / len(self.weights)
