"""The network as a function of one day's named arrays, for export to other programs."""

import torch
from torch import Tensor, nn

from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.graph_attention import Neighbours


class OneDayNetwork(nn.Module):
    """A network whose samples are all stocks of one day.

    Only what the network reads is an input: `neighbours`, `correlations` and `is_neighbour` with graph
    attention, `market` if its regime reads the day's statistics.

    Args:
        network: in evaluation mode.
        max_neighbours: largest number of neighbours per stock; 0: no stock has neighbours.

    Shapes:
        features float `[stocks, steps, features]`, normalised, missing as 0; traded bool `[stocks, steps]`;
        neighbours int64 `[stocks, K]`, positions among the day's stocks (any position as padding);
        correlations float `[stocks, K]`; is_neighbour bool `[stocks, K]`, False for padding; market float
        `[1, market_dim]` -> `[stocks, horizons]`.
    """

    def __init__(self, network: ATFTGATFANModel, max_neighbours: int) -> None:
        super().__init__()
        self.network = network
        self._max_neighbours = max_neighbours if network.graph is not None else 0

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input without its stocks axis, the first of all inputs but `market`."""
        settings = self.network.settings
        steps = settings["sequence_length"]
        shapes: dict[str, tuple[int, ...]] = {"features": (steps, settings["input_dim"]), "traded": (steps,)}
        if self._max_neighbours:
            names = ("neighbours", "correlations", "is_neighbour")
            shapes |= dict.fromkeys(names, (self._max_neighbours,))
        regime = self.network.temporal.regime
        if regime is not None and regime.market_dim:
            shapes["market"] = (1, regime.market_dim)
        return shapes

    def forward(
        self,
        features: Tensor,
        traded: Tensor,
        neighbours: Tensor | None = None,
        correlations: Tensor | None = None,
        is_neighbour: Tensor | None = None,
        market: Tensor | None = None,
    ) -> Tensor:
        """Predict the day."""
        stocks = features.shape[0]
        same_day = torch.zeros(stocks, dtype=torch.long, device=features.device)
        if neighbours is None or correlations is None or is_neighbour is None:
            # One padded column: not every runtime accepts a table without columns.
            padding = torch.zeros(stocks, 1, device=features.device)
            links = Neighbours(padding.long(), padding, padding.bool())
        else:
            links = Neighbours(neighbours, correlations, is_neighbour)
        predictions: Tensor = self.network(features, traded, same_day, links, 1, market)
        return predictions

    def random_inputs(self, stocks: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Inputs of the right shapes: a fifth of the steps not traded, a third of the links absent."""
        inputs = {}
        for name, shape in self.input_shapes.items():
            size = shape if name == "market" else (stocks, *shape)
            if name == "neighbours":
                inputs[name] = torch.randint(0, stocks, size, generator=generator)
            elif name in ("traded", "is_neighbour"):
                inputs[name] = torch.rand(size, generator=generator) < (0.8 if name == "traded" else 0.67)
            elif name == "correlations":
                inputs[name] = 2 * torch.rand(size, generator=generator) - 1
            else:
                inputs[name] = torch.randn(size, generator=generator)
        inputs["traded"][:, -1] = True
        return inputs
