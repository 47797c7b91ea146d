"""The network as a function of one day's arrays, by name: the form in which it leaves for another program."""

import torch
from torch import Tensor, nn

from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.graph_attention import Neighbours


class OneDayNetwork(nn.Module):
    """A network of which all samples are the stocks of one day.

    Only what the network reads is an input: `neighbours`, `correlations` and `is_neighbour` where it listens
    to neighbours, `market` where its regime reads the day's statistics.

    Args:
        network: in evaluation mode.
        neighbours: most neighbours of a stock; 0: every stock stands alone.

    Shapes:
        features float `[stocks, steps, features]`, normalised, missing as 0; traded bool `[stocks, steps]`;
        neighbours int64 `[stocks, K]`, places among the day's stocks (any of them where there is no
        neighbour); correlations float `[stocks, K]`; is_neighbour bool `[stocks, K]`; market float
        `[1, market_dim]` -> `[stocks, horizons]`.
    """

    def __init__(self, network: ATFTGATFANModel, neighbours: int) -> None:
        super().__init__()
        self.network = network
        self._neighbours = neighbours if network.graph is not None else 0

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each input without the stocks, which come first everywhere but in `market`."""
        settings = self.network.settings
        steps = settings["sequence_length"]
        shapes: dict[str, tuple[int, ...]] = {"features": (steps, settings["input_dim"]), "traded": (steps,)}
        if self._neighbours:
            names = ("neighbours", "correlations", "is_neighbour")
            shapes |= dict.fromkeys(names, (self._neighbours,))
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
            # A table without columns is no shape that every program takes.
            nobody = torch.zeros(stocks, 1, device=features.device)
            heard = Neighbours(nobody.long(), nobody, nobody.bool())
        else:
            heard = Neighbours(neighbours, correlations, is_neighbour)
        found: Tensor = self.network(features, traded, same_day, heard, 1, market)
        return found

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
