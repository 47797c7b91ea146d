"""The loss over several horizons; a null target drops out of its horizon alone.

Squared errors ask for the right size, and on noisy returns the cheapest size is near nothing: predictions
may collapse to a constant. The correlation within the day asks for the right order, whatever its size.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gogooku3.errors import ConfigError

DEFAULT_HORIZON_WEIGHTS: Mapping[int, float] = {1: 1.0, 5: 0.7, 10: 0.5, 20: 0.5}


_LEAST_VARIANCE = 1e-12
"""Of a day's predictions or labels; below it there is no order to speak of, only rounding."""


class MultiHorizonFinancialLoss(nn.Module):
    """Sum over horizons of weight x error, divided by the number of horizons.

    The error of a horizon is the mean squared error over all samples, plus `correlation_weight` x (1 - the
    mean over days of the Pearson correlation of predictions and targets within the day). With ranked
    targets that is a rank correlation.

    Args:
        horizon_weights: weight of each horizon, in the order of the prediction's columns.
        correlation_weight: weight of the correlation; 0 leaves it out.

    Shapes:
        predictions, targets `[samples, horizons]`, day_index int `[samples]` (0 .. n_days - 1; None: all of
        one day) -> scalar. A NaN target is unknown: it takes no part in its horizon. A horizon without any
        known target contributes 0. A day with fewer than two known targets, or without spread in its
        targets or predictions, has no correlation and takes no part in their mean.

    Raises:
        ConfigError: no weight, or a negative one.

    >>> loss = MultiHorizonFinancialLoss({1: 1.0, 5: 0.5})
    >>> nan = float("nan")
    >>> float(loss(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 2.0], [3.0, nan]])))
    3.5
    """

    weights: Tensor

    def __init__(
        self,
        horizon_weights: Mapping[int, float] = DEFAULT_HORIZON_WEIGHTS,
        correlation_weight: float = 0.0,
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
        known = ~targets.isnan()
        error = torch.where(known, predictions - targets.nan_to_num(), 0).square()
        mean = error.sum(dim=0) / known.sum(dim=0).clamp(min=1)
        if self.correlation_weight:
            if day_index is None:
                day_index = torch.zeros(len(targets), dtype=torch.long, device=targets.device)
            correlation, days = mean_daily_correlation(predictions, targets, day_index, n_days)
            mean = mean + self.correlation_weight * torch.where(days > 0, 1 - correlation, 0)
        return (self.weights * mean).sum() / len(self.weights)


def mean_daily_correlation(
    predictions: Tensor, targets: Tensor, day_index: Tensor, n_days: int
) -> tuple[Tensor, Tensor]:
    """Pearson correlation within each day, averaged over the days that have one.

    Args:
        predictions, targets: `[samples, horizons]`; a NaN target is unknown.
        day_index: int `[samples]`, 0 .. n_days - 1.
        n_days: number of days.

    Returns:
        the mean correlation, 0 where no day has one, and the number of days that have, both `[horizons]`.
    """
    known = ~targets.isnan()

    def by_day(values: Tensor) -> Tensor:
        return values.new_zeros(n_days, values.shape[1]).index_add(0, day_index, values)

    count = by_day(known.to(predictions.dtype)).clamp(min=1)

    def centred(values: Tensor) -> Tensor:
        mean = by_day(torch.where(known, values, 0)) / count
        return torch.where(known, values - mean.index_select(0, day_index), 0)

    mine, theirs = centred(predictions), centred(targets.nan_to_num())
    covariance = by_day(mine * theirs) / count
    first, second = by_day(mine.square()) / count, by_day(theirs.square()) / count
    # One known target has no variance, so it drops out here too.
    usable = (first > _LEAST_VARIANCE) & (second > _LEAST_VARIANCE)
    size = torch.where(usable, first * second, 1).sqrt()
    correlation = torch.where(usable, covariance / size, 0)
    days = usable.sum(dim=0)
    return correlation.sum(dim=0) / days.clamp(min=1), days
