"""Linear path on today's features, solved in closed form and never trained by gradients."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gogooku3.errors import DataError


class LinearPath(nn.Module):
    """`x W`, where `W` is the ridge regression of the labels on today's features.

    `W = (X'X + n penalty I)^-1 X'y` (Hoerl and Kennard, 1970, eq. 2.1; the penalty in units of a feature's
    variance). Most of what is predictable is a weak linear effect; gradient steps that learn it also learn
    noise. So it is solved directly, and training learns the remainder. `W` is initially 0.

    Shapes:
        x `[samples, features]` -> `[samples, horizons]`.
    """

    weight: Tensor

    def __init__(self, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(num_features, num_horizons))

    def forward(self, x: Tensor) -> Tensor:
        # Full precision: bfloat16 rounding would create ties in a day's ranking.
        with torch.autocast(x.device.type, enabled=False):
            return x.to(self.weight.dtype) @ self.weight

    def solve(self, parts: Iterable[tuple[Tensor, Tensor]], penalty: float) -> None:
        """Solve for the weights.

        Args:
            parts: features `[rows, features]` and labels `[rows, horizons]` (NaN unknown) of some rows each;
                the parts are added up in double precision.
            penalty: on the squared weights, in units of a standardised feature's variance.

        Raises:
            DataError: a horizon has no label, or a value is not finite; the weights are unchanged.
        """
        features, horizons = self.weight.shape
        gram = torch.zeros(horizons, features, features, dtype=torch.float64, device=self.weight.device)
        moment, rows = gram.new_zeros(horizons, features), gram.new_zeros(horizons)
        for x, y in parts:
            labelled = ~y.isnan()
            whole = x.T @ x
            for horizon in range(horizons):
                mask = labelled[:, horizon]
                if bool(mask.all()):
                    gram[horizon] += whole
                else:
                    part = x[mask]
                    gram[horizon] += part.T @ part
            moment += (torch.where(labelled, y, 0).T @ x).double()
            rows += labelled.sum(dim=0)
        if not bool((rows > 0).all()):
            raise DataError(
                "the linear path needs labels at every horizon, but one has none on the training days"
            )
        if not bool(gram.isfinite().all() and moment.isfinite().all()):
            raise DataError(
                "the sums of the linear path are not finite: a feature is NaN or infinite, or a label "
                "infinite; normalise the features, with unknown as 0, and leave unknown labels NaN"
            )
        ridge = penalty * rows[:, None, None] * torch.eye(features, dtype=gram.dtype, device=gram.device)
        self.weight.copy_(torch.linalg.solve(gram + ridge, moment).T)
