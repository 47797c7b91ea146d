"""A linear reading of today's features, solved in closed form and never trained by gradients."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gogooku3.errors import DataError


class LinearPath(nn.Module):
    """`x W`, with `W` the ridge regression of the labels on today's features.

    Most of what can be predicted is a faint linear tilt, and gradient steps that learn it learn noise at the
    same time. So it is solved at once, `W = (X'X + n penalty I)^-1 X'y` (Hoerl and Kennard, 1970, eq. 2.1;
    the penalty in units of a feature's variance), and what is trained learns the rest. Starts at 0.

    Shapes:
        x `[samples, features]` -> `[samples, horizons]`.
    """

    weight: Tensor

    def __init__(self, num_features: int, num_horizons: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(num_features, num_horizons))

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.weight.dtype) @ self.weight

    def solve(self, parts: Iterable[tuple[Tensor, Tensor]], penalty: float) -> None:
        """Solve for the weights.

        Args:
            parts: features `[rows, features]` and labels `[rows, horizons]`, NaN unknown, part by part;
                they are summed in double precision.
            penalty: on the squared weights, in units of a feature's variance.

        Raises:
            DataError: a horizon has no label at all, or a value is not finite; the weights stay.
        """
        features, horizons = self.weight.shape
        device = self.weight.device
        gram = torch.zeros(horizons, features, features, dtype=torch.float64, device=device)
        moment = torch.zeros(horizons, features, dtype=torch.float64, device=device)
        rows = torch.zeros(horizons, dtype=torch.float64, device=device)
        for x, y in parts:
            known = ~y.isnan()
            whole = x.T @ x
            for horizon in range(horizons):
                mine = known[:, horizon]
                if bool(mine.all()):
                    gram[horizon] += whole
                else:
                    part = x[mine]
                    gram[horizon] += part.T @ part
            moment += (torch.where(known, y, 0).T @ x).double()
            rows += known.sum(dim=0)
        if not bool((rows > 0).all()):
            raise DataError("the linear path needs labels at every horizon; at one, no training day has any")
        if not bool(gram.isfinite().all() and moment.isfinite().all()):
            raise DataError(
                "the sums of the linear path are not finite: a feature is NaN or infinite, or a label "
                "infinite; normalise the features, with unknown as 0, and leave unknown labels NaN"
            )
        ridge = penalty * rows[:, None, None] * torch.eye(features, dtype=torch.float64, device=device)
        self.weight.copy_(torch.linalg.solve(gram + ridge, moment).T)
