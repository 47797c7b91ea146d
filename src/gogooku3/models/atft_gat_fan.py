"""ATFT-GAT-FAN: FAN -> LSTM and temporal attention -> graph attention -> one head per horizon."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gogooku3.errors import ConfigError
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.models.frequency_norm import FrequencyAdaptiveNorm
from gogooku3.models.graph_attention import FinancialGraphAttention, Neighbours
from gogooku3.models.linear_layers import zero_linear
from gogooku3.models.linear_path import LinearPath
from gogooku3.models.saving import load_model, network_folders, save_model
from gogooku3.models.snapshot import SnapshotByHorizon, ranks_within
from gogooku3.models.temporal import ATFTCore, maybe_checkpoint
from gogooku3.schema import HORIZONS


class ModelInputs(NamedTuple):
    """Inputs of the network, in the order of `ATFTGATFANModel.forward`.

    A stretch is the series of one stock over consecutive trading days; the last `days` of it are predicted,
    so the samples are `series x days`, day by day within a series.

    Shapes:
        x float `[series, steps, features]`, normalised, missing as 0; at least `sequence_length` steps;
        step_mask bool `[series, steps]`, true where the stock traded; None: everywhere;
        day_index int `[samples]`, row of `market` of each sample; None: all series have the same days, rows 0
        to `days` - 1;
        neighbours: positions of each sample's neighbours among the samples of its day; None takes the
        standing graph, or no neighbours without one;
        market float `[n_days, market_dim]`, the market's state by day; None: unknown, all 0;
        ranks float `[samples, features]`, the rank of each feature among all stocks of the day, from 0 to 1;
        None ranks the samples of each day among themselves, which is right if they are all its stocks;
        days: last steps of each stretch that are predicted.
    """

    x: Tensor
    step_mask: Tensor | None = None
    day_index: Tensor | None = None
    neighbours: Neighbours | None = None
    market: Tensor | None = None
    ranks: Tensor | None = None
    days: int = 1

    @property
    def today(self) -> Tensor:
        """Features of the predicted days `[samples, features]`."""
        return self.x[:, self.x.shape[1] - self.days :].flatten(0, 1)

    def series(self, part: slice) -> "ModelInputs":
        """Some series, without neighbours."""
        samples = slice(part.start * self.days, part.stop * self.days)
        return ModelInputs(
            self.x[part],
            None if self.step_mask is None else self.step_mask[part],
            None if self.day_index is None else self.day_index[samples],
            None,
            self.market,
            None if self.ranks is None else self.ranks[samples],
            self.days,
        )


class ModelOutput(NamedTuple):
    """Predictions and their explanation.

    Shapes:
        predictions `[samples, horizons]`; temporal_attention `[samples, layers, heads, sequence_length]`;
        feature_importance `[samples, features]`, summing to one; graph_attention
        `[samples, heads, 1 + K]`, the stock itself first; graph_embeddings `[samples, hidden]`;
        contributions `[samples, horizons, features]`, in units of the prediction.
    """

    predictions: Tensor
    temporal_attention: Tensor
    feature_importance: Tensor
    graph_attention: Tensor
    graph_embeddings: Tensor
    contributions: Tensor


class ATFTGATFANModel(nn.Module):
    """Predict relative returns over several horizons for the stocks of a day, from their windows.

    `prediction = linear(today) + snapshot_share * snapshot(today) + windows_share * heads(state)`. The three
    parts are fitted one after the other, each on what the parts before leave (`training.trainer`): the linear
    path in closed form (`models.linear_path`), the snapshot on today's features and their ranks
    (`models.snapshot`), and the rest of the network on windows and graph. Every part is 0 before it is
    fitted. A share of 0 leaves a part out of a horizon.

    Args:
        input_dim: features of a step.
        hidden_dim: width of the network; a multiple of `num_heads`.
        num_heads: heads of temporal and graph attention.
        num_layers: temporal attention layers.
        prediction_horizons: trading days ahead, one output each.
        graph_info: standing stock graph, used when `forward` gets the windows of exactly its stocks in its
            order and no neighbours; `update_graph` replaces it.
        sequence_length: steps of a window.
        dropout: share dropped in training.
        num_frequencies: bands of the FAN.
        market_dim: statistics of a day that the market regime reads; with 0 there is no regime.
        snapshot_dim: width of the snapshot; None is half of `hidden_dim`.
        use_linear_path, use_frequency_norm, use_temporal_attention, use_graph_attention, use_regime: parts of
            the network; switch one off to measure its value.
        gradient_checkpointing: keep only the borders between chunks of the temporal part, and recompute the
            inside of a chunk in the backward pass: less memory, more time.

    Raises:
        ConfigError: a size is out of range or `hidden_dim` is not a multiple of `num_heads`.
    """

    snapshot_share: Tensor
    windows_share: Tensor

    def __init__(
        self,
        input_dim: int = 145,
        hidden_dim: int = 256,
        num_heads: int = 8,
        num_layers: int = 4,
        prediction_horizons: Sequence[int] = HORIZONS,
        graph_info: StockGraph | None = None,
        *,
        sequence_length: int = 60,
        dropout: float = 0.3,
        num_frequencies: int = 5,
        market_dim: int = 0,
        snapshot_dim: int | None = None,
        use_linear_path: bool = True,
        use_frequency_norm: bool = True,
        use_temporal_attention: bool = True,
        use_graph_attention: bool = True,
        use_regime: bool = True,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {
            "input_dim": input_dim,
            "hidden_dim": hidden_dim,
            "num_heads": num_heads,
            "num_layers": num_layers,
            "prediction_horizons": list(prediction_horizons),
            "sequence_length": sequence_length,
            "dropout": dropout,
            "num_frequencies": num_frequencies,
            "market_dim": market_dim,
            "snapshot_dim": snapshot_dim,
            "use_linear_path": use_linear_path,
            "use_frequency_norm": use_frequency_norm,
            "use_temporal_attention": use_temporal_attention,
            "use_graph_attention": use_graph_attention,
            "use_regime": use_regime,
        }
        _check_settings(self.settings)
        self.prediction_horizons = tuple(prediction_horizons)
        self.gradient_checkpointing = gradient_checkpointing
        self.frequency = (
            FrequencyAdaptiveNorm(input_dim, num_frequencies, sequence_length) if use_frequency_norm else None
        )
        width = snapshot_dim or max(1, hidden_dim // 2)
        self.snapshot = SnapshotByHorizon(input_dim, width, prediction_horizons, dropout)
        self.temporal = ATFTCore(
            input_dim,
            hidden_dim,
            num_heads,
            sequence_length,
            num_layers if use_temporal_attention else 0,
            dropout,
            market_dim=market_dim if use_regime else 0,
        )
        self.graph: FinancialGraphAttention | None = None
        if use_graph_attention:
            self.graph_norm = nn.LayerNorm(hidden_dim)
            self.graph = FinancialGraphAttention(hidden_dim, hidden_dim // num_heads, num_heads)
            self.graph_output = nn.Linear(hidden_dim, hidden_dim)
        self.heads_norm = nn.LayerNorm(hidden_dim)
        self.heads = nn.ModuleDict(
            {
                f"{horizon}d": nn.Sequential(
                    nn.Linear(hidden_dim, hidden_dim // 2),
                    nn.GELU(),
                    nn.Dropout(dropout),
                    zero_linear(hidden_dim // 2, 1),
                )
                for horizon in prediction_horizons
            }
        )
        self.linear = LinearPath(input_dim, len(prediction_horizons))
        self.register_buffer("snapshot_share", torch.ones(len(prediction_horizons)))
        self.register_buffer("windows_share", torch.ones(len(prediction_horizons)))
        self.graph_info = graph_info

    def update_graph(self, graph: StockGraph) -> None:
        """Replace the standing graph, which `forward` uses when it gets no neighbours."""
        self.graph_info = graph

    @classmethod
    def from_pretrained(cls, path: Path | str, fold: int | None = None) -> "ATFTGATFANModel":
        """Load the trained network of a run, of one of its folds, or of a `save_pretrained` folder.

        Of a fold with several networks, it loads that of the last seed, in evaluation mode on the CPU.

        Args:
            path: the folder.
            fold: number of the run's fold; None takes the newest.

        Raises:
            DataError: the folder or fold is missing, or a file is invalid.
        """
        return load_model(list(network_folders(path, fold).values())[-1], cls)[0]

    def save_pretrained(self, folder: Path | str) -> Path:
        """Write weights and settings (`model.safetensors`, `model.json`) into a folder, created if missing.

        The standing graph is not saved. Returns the path of the weights.
        """
        return save_model(Path(folder), self)

    @property
    def n_parameters(self) -> int:
        """Number of parameters, those of finished stages included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def forward(
        self,
        x: Tensor,
        step_mask: Tensor | None = None,
        day_index: Tensor | None = None,
        neighbours: Neighbours | None = None,
        market: Tensor | None = None,
        ranks: Tensor | None = None,
        days: int = 1,
    ) -> Tensor:
        """Predict `[samples, horizons]`; the arguments are those of `ModelInputs`.

        Raises:
            ValueError: a stretch is shorter than a window, the number of features is another than
                `input_dim`, or the standing graph's number of stocks differs from the number of samples.
        """
        self._check_features(x)
        inputs = ModelInputs(x, step_mask, day_index, neighbours, market, ranks, days)
        return self.today(inputs) + self.windows_share * self.windows(inputs)

    def explain(
        self,
        x: Tensor,
        step_mask: Tensor | None = None,
        day_index: Tensor | None = None,
        neighbours: Neighbours | None = None,
        market: Tensor | None = None,
        ranks: Tensor | None = None,
        horizons: Sequence[int] | None = None,
    ) -> ModelOutput:
        """Predict as `forward` does in evaluation mode, with attention weights and feature contributions.

        A contribution is gradient x input (Shrikumar, Greenside and Kundaje, 2017, "Learning Important
        Features Through Propagating Activation Differences", sec. 2.2; the gradient only: Simonyan, Vedaldi
        and Zisserman, 2014), summed over the steps of the stretch, plus the same of the feature's rank, from
        the middle. To first order, it is the effect of a sample's feature on the predictions of its day, its
        own and, through the graph, its neighbours'. Importance is the absolute contribution summed over
        horizons, as a share; 0 without contributions.

        Leaves the parameters' gradients and the training mode unchanged.

        Args:
            x, step_mask, day_index, neighbours, market, ranks: as in `ModelInputs`; only the last step of
                each stretch is explained.
            horizons: explained horizons, one backward pass each; None: all. Contributions and importance
                cover only these.
        """
        self._check_features(x)
        training = self.training
        self.eval()
        try:
            # cuDNN's LSTM has a backward pass in training mode only.
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
                x = x.detach().requires_grad_()
                inputs = self.with_ranks(ModelInputs(x, step_mask, day_index, neighbours, market, ranks))
                assert inputs.ranks is not None
                ranks = inputs.ranks.detach().requires_grad_()
                inputs = inputs._replace(ranks=ranks)
                state, attention = self.temporal_state(inputs, with_attention=True)
                assert attention is not None
                embedding, graph_attention = self.graph_attend(state, neighbours)
                predictions = self.today(inputs) + self.windows_share * self.head(embedding)
                explained = self.prediction_horizons if horizons is None else horizons
                columns = [self.prediction_horizons.index(horizon) for horizon in explained]
                contributions = _contributions(predictions[:, columns], x, ranks)
        finally:
            self.train(training)
        size = contributions.abs().sum(dim=1)
        importance = size / size.sum(dim=1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
        parts = predictions, attention, importance, graph_attention, embedding, contributions
        return ModelOutput(*(part.detach() for part in parts))

    def today(self, inputs: ModelInputs) -> Tensor:
        """Part of the predictions that reads only today's features: linear path and snapshot."""
        ranks = self.with_ranks(inputs).ranks
        assert ranks is not None
        return self.today_rows(inputs.today, ranks)

    def today_rows(self, today: Tensor, ranks: Tensor) -> Tensor:
        """Linear path and snapshot for features and ranks `[samples, features]` of today."""
        linear: Tensor = self.linear(today)
        predictions: Tensor = linear + self.snapshot_share * self.snapshot(today, ranks)
        return predictions

    def windows(self, inputs: ModelInputs) -> Tensor:
        """Part of the predictions that reads windows and graph, before its share."""
        state, _ = self.temporal_state(inputs)
        return self.head(self.graph_attend(state, inputs.neighbours)[0])

    def temporal_state(
        self, inputs: ModelInputs, with_attention: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """State of every sample `[samples, hidden]` from its own series, and the attention if asked for."""
        x, recompute = inputs.x, self.gradient_checkpointing and torch.is_grad_enabled()
        if self.frequency is not None:
            x = maybe_checkpoint(self.frequency, x, recompute=recompute)
        day_index = inputs.day_index
        if day_index is not None:
            day_index = day_index.view(-1, inputs.days)
        encoded: tuple[Tensor, Tensor | None] = self.temporal(
            x, inputs.step_mask, inputs.days, day_index, inputs.market, recompute, with_attention
        )
        return encoded

    def graph_attend(self, state: Tensor, neighbours: Neighbours | None) -> tuple[Tensor, Tensor]:
        """Add the neighbours' messages to the states of all samples.

        Returns:
            embedding `[samples, hidden]`, attention `[samples, heads, 1 + K]`.
        """
        if self.graph is None:
            return state, state.new_ones(len(state), self.temporal.num_heads, 1)
        message, attention = self.graph(self.graph_norm(state), self._neighbours(state, neighbours))
        return state + self.graph_output(message), attention

    def head(self, embedding: Tensor) -> Tensor:
        """Output of windows and graph `[samples, horizons]` for embeddings of `graph_attend`."""
        # Full precision: bfloat16 rounding would create ties in a day's ranking.
        with torch.autocast(embedding.device.type, enabled=False):
            normed = self.heads_norm(embedding.to(self.heads_norm.weight.dtype))
            return torch.cat([head(normed) for head in self.heads.values()], dim=1)

    def with_ranks(self, inputs: ModelInputs) -> ModelInputs:
        """The inputs with ranks; missing ones are computed among the samples of each day."""
        if inputs.ranks is not None:
            return inputs
        today = inputs.today.detach()
        groups = inputs.day_index
        if groups is None:
            groups = torch.arange(today.shape[0], device=today.device) % inputs.days
        return inputs._replace(ranks=ranks_within(today, groups))

    def _check_features(self, x: Tensor) -> None:
        expected = self.settings["input_dim"]
        if x.shape[-1] != expected:
            raise ValueError(f"expected {expected} features, got {x.shape[-1]}")

    def _neighbours(self, state: Tensor, neighbours: Neighbours | None) -> Neighbours:
        if neighbours is not None:
            return neighbours
        graph = self.graph_info
        if graph is None:
            return Neighbours.none(state.shape[0], state.device)
        if graph.n_nodes != state.shape[0]:
            raise ValueError(
                f"the standing graph has {graph.n_nodes} stocks but {state.shape[0]} samples came; give the "
                "windows of its stocks in its order, or pass neighbours"
            )
        parts = graph.neighbours, graph.weights, graph.valid
        return Neighbours(*(torch.from_numpy(part).to(state.device) for part in parts))


def _check_settings(settings: dict[str, Any]) -> None:
    least = {"input_dim": 1, "num_heads": 1, "num_layers": 1, "sequence_length": 2, "num_frequencies": 1}
    for name, smallest in least.items():
        if settings[name] < smallest:
            raise ConfigError(f"{name} is {settings[name]}; set it to {smallest} or more")
    hidden_dim, num_heads = settings["hidden_dim"], settings["num_heads"]
    if hidden_dim < 1 or hidden_dim % num_heads:
        raise ConfigError(
            f"hidden_dim is {hidden_dim} and num_heads {num_heads}; set hidden_dim to a multiple"
        )
    horizons = settings["prediction_horizons"]
    if not horizons or len(set(horizons)) < len(horizons):
        raise ConfigError(f"prediction_horizons is {horizons}; give at least one, and each once")


def _contributions(predictions: Tensor, x: Tensor, ranks: Tensor) -> Tensor:
    """Gradient x input, summed over steps, plus gradient x (rank - 1/2): `[samples, horizons, features]`."""
    last = predictions.shape[1] - 1
    contributions = []
    for horizon in range(last + 1):
        through_x, through_ranks = torch.autograd.grad(
            predictions[:, horizon].sum(), (x, ranks), retain_graph=horizon < last
        )
        of_steps = (through_x * x.detach()).sum(dim=1)
        contributions.append(of_steps + through_ranks * (ranks.detach() - 0.5))
    return torch.stack(contributions, dim=1)
