"""The network as a function of one day's named arrays, for export to other programs."""

import torch
from torch import Tensor, nn

from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.graph_attention import Neighbours
from gogooku3.schema import MONTH_DAYS


class OneDayNetwork(nn.Module):
    """A network whose samples are all stocks of one day.

    Exporters fix the number of steps, because they unroll the LSTM. So a stretch always has the steps of the
    longest month. Steps after the predicted day may hold anything: no step depends on a later one. Only what
    the network reads is an input: `neighbours`, `correlations` and `is_neighbour` with graph attention,
    `market` if its regime reads the day's statistics.

    Args:
        network: in evaluation mode.
        max_neighbours: largest number of neighbours per stock; 0: no stock has neighbours.

    Shapes:
        features float `[stocks, sequence_length + 23, features]`, normalised, missing as 0, the first day of
        the month at step `sequence_length`; traded bool `[stocks, sequence_length + 23]`; day_of_month int64
        `[1]`, trading days of the month before the predicted day, 0 to 22; ranks float `[stocks, features]`,
        among all stocks of the predicted day, from 0 to 1;
        neighbours int64 `[stocks, K]`, positions among the day's stocks (any position as padding);
        correlations float `[stocks, K]`; is_neighbour bool `[stocks, K]`, False for padding; market float
        `[1, market_dim]` -> `[stocks, horizons]`.
    """

    def __init__(self, network: ATFTGATFANModel, max_neighbours: int) -> None:
        super().__init__()
        self.network = network
        self._max_neighbours = max_neighbours if network.graph is not None else 0

    @property
    def steps(self) -> int:
        """Steps of a stretch."""
        return int(self.network.settings["sequence_length"]) + MONTH_DAYS

    @property
    def input_shapes(self) -> dict[str, tuple[int | str, ...]]:
        """Shape of each input; `stocks` varies from day to day."""
        features = self.network.settings["input_dim"]
        shapes: dict[str, tuple[int | str, ...]] = {
            "features": ("stocks", self.steps, features),
            "traded": ("stocks", self.steps),
            "day_of_month": (1,),
            "ranks": ("stocks", features),
        }
        if self._max_neighbours:
            names = ("neighbours", "correlations", "is_neighbour")
            shapes |= dict.fromkeys(names, ("stocks", self._max_neighbours))
        regime = self.network.temporal.regime
        if regime is not None and regime.market_dim:
            shapes["market"] = (1, regime.market_dim)
        return shapes

    def forward(
        self,
        features: Tensor,
        traded: Tensor,
        day_of_month: Tensor,
        ranks: Tensor,
        neighbours: Tensor | None = None,
        correlations: Tensor | None = None,
        is_neighbour: Tensor | None = None,
        market: Tensor | None = None,
    ) -> Tensor:
        """Predict the day: all days of the month are predicted as if each were the day, and one is kept."""
        stocks = features.shape[0]
        if neighbours is None or correlations is None or is_neighbour is None:
            # One padded column: not every runtime accepts a table without columns.
            padding = torch.zeros(stocks, 1, device=features.device)
            neighbours, correlations, is_neighbour = padding.long(), padding, padding.bool()
        # Samples are day by day within a stock.
        day = torch.arange(MONTH_DAYS, device=features.device)
        places = (neighbours[:, None] * MONTH_DAYS + day[:, None]).flatten(0, 1)
        links = Neighbours(places, *(_every_day(each) for each in (correlations, is_neighbour)))
        same_day = torch.zeros(stocks * MONTH_DAYS, dtype=torch.long, device=features.device)
        predictions: Tensor = self.network(
            features, traded, same_day, links, market, _every_day(ranks), MONTH_DAYS
        )
        return predictions.unflatten(0, (stocks, MONTH_DAYS)).index_select(1, day_of_month)[:, 0]

    def random_inputs(self, stocks: int, day_of_month: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Random inputs: a fifth of the steps not traded, a third of the links absent.

        Args:
            stocks: number of stocks.
            day_of_month: trading days of the month before the predicted one.
            generator: draws the numbers.
        """
        inputs = {}
        for name, shape in self.input_shapes.items():
            size = [stocks if axis == "stocks" else int(axis) for axis in shape]
            if name == "day_of_month":
                inputs[name] = torch.tensor([day_of_month])
            elif name == "neighbours":
                inputs[name] = torch.randint(0, stocks, size, generator=generator)
            elif name in ("traded", "is_neighbour"):
                inputs[name] = torch.rand(size, generator=generator) < (0.8 if name == "traded" else 0.67)
            elif name == "ranks":
                inputs[name] = torch.rand(size, generator=generator)
            elif name == "correlations":
                inputs[name] = 2 * torch.rand(size, generator=generator) - 1
            else:
                inputs[name] = torch.randn(size, generator=generator)
        return inputs


def _every_day(rows: Tensor) -> Tensor:
    """The same row for every day of the month: `[stocks, n]` -> `[stocks * MONTH_DAYS, n]`."""
    return rows[:, None].expand(-1, MONTH_DAYS, -1).flatten(0, 1)
