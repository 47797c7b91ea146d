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
from gogooku3.models.linear_path import LinearPath
from gogooku3.models.saving import load_model, network_folders, save_model
from gogooku3.models.snapshot import SnapshotEncoder
from gogooku3.models.temporal import ATFTCore, Encoded, maybe_checkpoint, zero_linear
from gogooku3.schema import HORIZONS


class ModelInputs(NamedTuple):
    """Inputs of the network, in the order of `ATFTGATFANModel.forward`.

    Shapes:
        x float `[samples, steps, features]`, normalised, missing as 0;
        step_mask bool `[samples, steps]`, true where the stock traded; None: everywhere;
        day_index int `[samples]`, 0 .. n_days - 1, the day of each sample; None: one day;
        neighbours: positions of each sample's neighbours among the samples of its day; None takes the
        standing graph, or no neighbours without one;
        n_days: days in the batch;
        market float `[n_days, market_dim]`, raw statistics of the days; None: unknown, all 0.
    """

    x: Tensor
    step_mask: Tensor | None = None
    day_index: Tensor | None = None
    neighbours: Neighbours | None = None
    n_days: int = 1
    market: Tensor | None = None

    def windows(self, samples: slice) -> tuple[Tensor, Tensor | None]:
        """Features and step mask of some samples."""
        return self.x[samples], None if self.step_mask is None else self.step_mask[samples]


class ModelOutput(NamedTuple):
    """Predictions and their explanation.

    Shapes:
        predictions `[samples, horizons]`; temporal_attention `[samples, layers, heads, steps]`;
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

    `prediction = linear(today) + learned_share * (direct(snapshot) + heads(state))`. The linear path is 0
    until it is solved (`models.linear_path`); the learned part is 0 at initialisation and reads today's
    features directly (`models.snapshot`) and the output of all other parts.

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
        market_dim: raw statistics of a day that the market regime reads in addition to the day's states.
        snapshot_dim: width of the direct path from the current step; None is `hidden_dim`.
        use_frequency_norm, use_temporal_attention, use_graph_attention, use_regime: parts of the network;
            switch one off to measure its value.
        gradient_checkpointing: keep only the borders between chunks of the temporal part, and recompute the
            inside of a chunk in the backward pass: less memory, more time.

    Raises:
        ConfigError: a size is out of range or `hidden_dim` is not a multiple of `num_heads`.
    """

    learned_share: Tensor

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
        width = snapshot_dim or hidden_dim
        self.snapshot = SnapshotEncoder(input_dim, width, dropout)
        self.direct = zero_linear(width, len(prediction_horizons))
        self.temporal = ATFTCore(
            input_dim,
            hidden_dim,
            num_heads,
            sequence_length,
            num_layers if use_temporal_attention else 0,
            dropout,
            market_dim=market_dim if use_regime else None,
            snapshot_dim=width,
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
        self.register_buffer("learned_share", torch.ones(len(prediction_horizons)))
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
        """Trainable parameters."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def forward(
        self,
        x: Tensor,
        step_mask: Tensor | None = None,
        day_index: Tensor | None = None,
        neighbours: Neighbours | None = None,
        n_days: int = 1,
        market: Tensor | None = None,
    ) -> Tensor:
        """Predict `[samples, horizons]`; the arguments are those of `ModelInputs`.

        Raises:
            ValueError: the standing graph's number of stocks differs from the number of samples.
        """
        return self._run(ModelInputs(x, step_mask, day_index, neighbours, n_days, market))[0]

    def explain(
        self,
        x: Tensor,
        step_mask: Tensor | None = None,
        day_index: Tensor | None = None,
        neighbours: Neighbours | None = None,
        n_days: int = 1,
        market: Tensor | None = None,
        horizons: Sequence[int] | None = None,
    ) -> ModelOutput:
        """Predict as `forward` does in evaluation mode, with attention weights and feature contributions.

        A contribution is gradient x input (Shrikumar, Greenside and Kundaje, 2017, "Learning Important
        Features Through Propagating Activation Differences", sec. 2.2; the gradient only: Simonyan, Vedaldi
        and Zisserman, 2014), summed over the steps of the window. To first order, it is the effect of a
        sample's feature on the predictions of its day, its own and, through the graph, its neighbours'.
        Importance is the absolute contribution summed over horizons, as a share; 0 without contributions.

        Leaves the parameters' gradients and the training mode unchanged.

        Args:
            x, step_mask, day_index, neighbours, n_days, market: as in `ModelInputs`.
            horizons: explained horizons, one backward pass each; None: all. Contributions and importance
                cover only these.
        """
        training = self.training
        self.eval()
        try:
            # cuDNN's LSTM has a backward pass in training mode only.
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
                x = x.detach().requires_grad_()
                inputs = ModelInputs(x, step_mask, day_index, neighbours, n_days, market)
                predictions, attention, graph_attention, embedding = self._run(inputs)
                explained = self.prediction_horizons if horizons is None else horizons
                columns = [self.prediction_horizons.index(horizon) for horizon in explained]
                contributions = _contributions(predictions[:, columns], x)
        finally:
            self.train(training)
        size = contributions.abs().sum(dim=1)
        importance = size / size.sum(dim=1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
        parts = predictions, attention, importance, graph_attention, embedding, contributions
        return ModelOutput(*(part.detach() for part in parts))

    def encode(self, x: Tensor, step_mask: Tensor | None) -> tuple[Encoded, Tensor]:
        """Encode windows sample by sample.

        Returns:
            the temporal encoding, and the encoded current step `[samples, snapshot_dim]`.
        """
        recompute = self._recomputes
        filtered = x
        if self.frequency is not None:
            filtered = maybe_checkpoint(self.frequency, x, recompute=recompute)
        snapshot: Tensor = self.snapshot(x[:, -1])
        return self.temporal.encode(filtered, step_mask, snapshot, recompute), snapshot

    def graph_attend(self, state: Tensor, neighbours: Neighbours | None) -> tuple[Tensor, Tensor]:
        """Add the neighbours' messages to the states of all samples.

        Returns:
            embedding `[samples, hidden]`, attention `[samples, heads, 1 + K]`.
        """
        if self.graph is None:
            return state, state.new_ones(len(state), self.temporal.num_heads, 1)
        message, attention = self.graph(self.graph_norm(state), self._neighbours(state, neighbours))
        return state + self.graph_output(message), attention

    def head(self, embedding: Tensor, snapshot: Tensor, today: Tensor) -> Tensor:
        """Predictions `[samples, horizons]`: the linear path plus the learned part.

        Args:
            embedding: of `graph_attend`.
            snapshot: the encoded current step.
            today: features of the current step `[samples, features]`.
        """
        # Full precision: bfloat16 rounding would create ties in a day's ranking.
        with torch.autocast(embedding.device.type, enabled=False):
            precision = self.direct.weight.dtype
            normed = self.heads_norm(embedding.to(precision))
            learned = torch.cat([head(normed) for head in self.heads.values()], dim=1)
            learned = learned + self.direct(snapshot.to(precision))
            predictions: Tensor = self.linear(today) + self.learned_share * learned
        return predictions

    @property
    def _recomputes(self) -> bool:
        return self.gradient_checkpointing and torch.is_grad_enabled()

    def _run(self, inputs: ModelInputs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predictions, temporal attention, graph attention and graph embedding."""
        encoded, snapshot = self.encode(inputs.x, inputs.step_mask)
        factors = self.temporal.regime_factors(
            encoded.current, inputs.day_index, inputs.n_days, inputs.market
        )
        state, attention = self.temporal.attend(encoded, inputs.step_mask, factors, self._recomputes)
        embedding, graph_attention = self.graph_attend(state, inputs.neighbours)
        predictions = self.head(embedding, snapshot, inputs.x[:, -1])
        return predictions, attention, graph_attention, embedding

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


def _contributions(predictions: Tensor, x: Tensor) -> Tensor:
    """Gradient x input, summed over steps: `[samples, horizons, features]`."""
    last = predictions.shape[1] - 1
    contributions = []
    for horizon in range(last + 1):
        (gradient,) = torch.autograd.grad(predictions[:, horizon].sum(), x, retain_graph=horizon < last)
        contributions.append((gradient * x.detach()).sum(dim=1))
    return torch.stack(contributions, dim=1)
