"""Loss over several horizons: squared error plus, optionally, the correlation within each day.

On noisy returns near-constant predictions minimise the squared error, so a network may collapse to them. The
correlation rewards the right order of stocks, independent of scale.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gogooku3.errors import ConfigError

DEFAULT_HORIZON_WEIGHTS: Mapping[int, float] = {1: 1.0, 5: 0.7, 10: 0.5, 20: 0.5}


_LEAST_VARIANCE = 1e-12
"""Variance of a day's predictions or labels below which differences are rounding errors."""


class MultiHorizonFinancialLoss(nn.Module):
    """Sum over horizons of weight x error, divided by the number of horizons.

    `error_h = mean((p - y)^2) + correlation_weight * (1 - mean over days of corr(p, y))`: squared error over
    all samples, Pearson correlation within each day (a rank correlation for ranked targets).

    Args:
        horizon_weights: weight of each horizon, in the order of the prediction's columns.
        correlation_weight: weight of the correlation term; 0 omits it.

    Shapes:
        predictions, targets `[samples, horizons]`, day_index int `[samples]` (0 .. n_days - 1; None: one day)
        -> scalar. A NaN target is ignored in its horizon only. A horizon without targets contributes 0. A day
        with fewer than two targets, or without variance in its targets or predictions, has no correlation and
        is left out of the mean.

    Raises:
        ConfigError: no weights, or a negative one.

    >>> loss = MultiHorizonFinancialLoss({1: 1.0, 5: 0.5})
    >>> nan = float("nan")
    >>> float(loss(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 2.0], [3.0, nan]])))
    3.5
    """

    weights: Tensor

    def __init__(
        self, horizon_weights: Mapping[int, float] = DEFAULT_HORIZON_WEIGHTS, correlation_weight: float = 0.0
    ) -> None:
        super().__init__()
        if not horizon_weights or min(horizon_weights.values()) < 0:
            raise ConfigError(f"horizon_weights is {dict(horizon_weights)}; give weights of 0 or more")
        if correlation_weight < 0:
            raise ConfigError(f"correlation_weight is {correlation_weight}; give 0 or more")
        self.horizon_weights = dict(horizon_weights)
        self.correlation_weight = correlation_weight
        self.register_buffer("weights", torch.tensor(list(horizon_weights.values())), persistent=False)

    def forward(
        self, predictions: Tensor, targets: Tensor, day_index: Tensor | None = None, n_days: int = 1
    ) -> Tensor:
        if predictions.shape != targets.shape or predictions.shape[1] != len(self.weights):
            raise ValueError(
                f"expected predictions and targets [samples, {len(self.weights)}], got "
                f"{tuple(predictions.shape)} and {tuple(targets.shape)}"
            )
        valid = ~targets.isnan()
        error = torch.where(valid, predictions - targets.nan_to_num(), 0).square()
        mean = error.sum(dim=0) / valid.sum(dim=0).clamp(min=1)
        if self.correlation_weight:
            if day_index is None:
                day_index = torch.zeros(len(targets), dtype=torch.long, device=targets.device)
            correlation, days = mean_daily_correlation(predictions, targets, day_index, n_days)
            mean = mean + self.correlation_weight * torch.where(days > 0, 1 - correlation, 0)
        return (self.weights * mean).sum() / len(self.weights)


def mean_daily_correlation(
    predictions: Tensor, targets: Tensor, day_index: Tensor, n_days: int
) -> tuple[Tensor, Tensor]:
    """Mean over days of the Pearson correlation within a day.

    Args:
        predictions, targets: `[samples, horizons]`; a NaN target is ignored.
        day_index: int `[samples]`, 0 .. n_days - 1.
        n_days: number of days.

    Returns:
        mean correlation (0 without any day) and number of days with a correlation, both `[horizons]`.
    """
    valid = ~targets.isnan()

    def by_day(values: Tensor) -> Tensor:
        return values.new_zeros(n_days, values.shape[1]).index_add(0, day_index, values)

    count = by_day(valid.to(predictions.dtype)).clamp(min=1)

    def centred(values: Tensor) -> Tensor:
        mean = by_day(torch.where(valid, values, 0)) / count
        return torch.where(valid, values - mean.index_select(0, day_index), 0)

    p, y = centred(predictions), centred(targets.nan_to_num())
    covariance = by_day(p * y) / count
    p_variance, y_variance = by_day(p.square()) / count, by_day(y.square()) / count
    # A day with a single target has no variance and drops out here too.
    usable = (p_variance > _LEAST_VARIANCE) & (y_variance > _LEAST_VARIANCE)
    scale = torch.where(usable, p_variance * y_variance, 1).sqrt()
    correlation = torch.where(usable, covariance / scale, 0)
    days = usable.sum(dim=0)
    return correlation.sum(dim=0) / days.clamp(min=1), days
