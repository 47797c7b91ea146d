"""ATFT-GAT-FAN: FAN -> LSTM and temporal attention -> graph attention -> one head a horizon."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gogooku3.errors import ConfigError
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.models.dropout import Dropout
from gogooku3.models.frequency_norm import FrequencyAdaptiveNorm
from gogooku3.models.graph_attention import FinancialGraphAttention, Neighbours
from gogooku3.models.linear_path import LinearPath
from gogooku3.models.saving import load_model, network_folders, save_model
from gogooku3.models.snapshot import SnapshotEncoder
from gogooku3.models.temporal import ATFTCore, run_piece, zero_linear
from gogooku3.schema import HORIZONS


class ModelOutput(NamedTuple):
    """Predictions and what explains them.

    Shapes:
        predictions `[samples, horizons]`; temporal_attention `[samples, layers, heads, steps]`;
        feature_importance `[samples, features]` (shares of one); graph_attention
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
    """Four horizons of relative return for the stocks of a day, from their windows.

    A prediction is `linear(today) + learned_share * (direct(snapshot) + heads(state))`: a linear path, 0
    until it is solved (`models.linear_path`), and what gradients learn beyond it, 0 at the start: from
    today's features straight (`models.snapshot`), and from all parts together.

    Args:
        input_dim: features of a step.
        hidden_dim: width of the network; a multiple of `num_heads`.
        num_heads: heads of temporal and graph attention.
        num_layers: temporal attention layers.
        prediction_horizons: trading days ahead, one output each.
        graph_info: a stock graph, used when `forward` is given the windows of exactly its stocks
            in its order; `update_graph` replaces it.
        sequence_length: steps of a window.
        dropout: share dropped in training.
        num_frequencies: bands of the FAN.
        market_dim: raw statistics of a day that the market regime reads besides the day's states.
        snapshot_dim: width of the direct path from the current step; None is `hidden_dim`.
        use_frequency_norm, use_temporal_attention, use_graph_attention, use_regime: parts of the
            network; one that is off is left out, so that its worth can be measured.
        gradient_checkpointing: keep the borders between pieces of the temporal part alone, and compute
            what lies inside a piece again in the backward pass: less memory, more time.

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
        least = {"input_dim": 1, "num_heads": 1, "num_layers": 1, "sequence_length": 2, "num_frequencies": 1}
        given = (input_dim, num_heads, num_layers, sequence_length, num_frequencies)
        for (name, smallest), value in zip(least.items(), given, strict=True):
            if value < smallest:
                raise ConfigError(f"{name} is {value}; set it to {smallest} or more")
        if hidden_dim < 1 or hidden_dim % num_heads:
            raise ConfigError(
                f"hidden_dim is {hidden_dim} and num_heads {num_heads}; set hidden_dim to a multiple"
            )
        if not prediction_horizons or len(set(prediction_horizons)) < len(prediction_horizons):
            raise ConfigError(
                f"prediction_horizons is {list(prediction_horizons)}; give at least one, and each once"
            )
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
                    Dropout(dropout),
                    zero_linear(hidden_dim // 2, 1),
                )
                for horizon in prediction_horizons
            }
        )
        self.linear = LinearPath(input_dim, len(prediction_horizons))
        self.register_buffer("learned_share", torch.ones(len(prediction_horizons)))
        self.graph_info: StockGraph | None = None
        self._standing: Neighbours | None = None
        if graph_info is not None:
            self.update_graph(graph_info)

    def update_graph(self, graph: StockGraph) -> None:
        """Replace the standing graph that `forward` uses when it is given no neighbours."""
        self.graph_info = graph
        self._standing = Neighbours(
            torch.from_numpy(graph.neighbours),
            torch.from_numpy(graph.weights),
            torch.from_numpy(graph.valid),
        )

    @classmethod
    def from_pretrained(cls, path: Path | str, fold: int | None = None) -> "ATFTGATFANModel":
        """The trained network of a run, of one of its folds, or of a folder that `save_pretrained` wrote.

        Of a fold with several networks it is the last seed's. It comes in evaluation mode, on the CPU.

        Args:
            path: the folder.
            fold: number of the run's fold; None takes the newest.

        Raises:
            DataError: no such folder or fold, or a file that is not what it should be.
        """
        return load_model(list(network_folders(path, fold).values())[-1], cls)[0]

    def save_pretrained(self, folder: Path | str) -> Path:
        """Write weights and settings (`model.safetensors`, `model.json`) into a folder, which is made.

        The standing graph is not part of it. Returns the path of the weights.
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
        """Predict.

        Args:
            x: normalised features, float `[samples, steps, features]`, missing as 0.
            step_mask: bool `[samples, steps]`, true where the stock traded; None: everywhere.
            day_index: int `[samples]`, 0 .. n_days - 1: the day of each sample; None: one day.
            neighbours: positions of each sample's neighbours among the samples of its day; None
                takes the standing graph, or none when there is no standing graph.
            n_days: days in the batch.
            market: the days' raw statistics, float `[n_days, market_dim]`; None: unknown, all 0.

        Returns:
            `[samples, horizons]`.

        Raises:
            ValueError: the standing graph has another number of stocks than there are samples.
        """
        state, snapshot, _ = self._read(x, step_mask, day_index, n_days, market)
        return self.conclude(state, snapshot, x[:, -1], neighbours)

    def conclude(
        self, state: Tensor, snapshot: Tensor, today: Tensor, neighbours: Neighbours | None
    ) -> Tensor:
        """From all samples' states to predictions: the graph and the heads, which take little time.

        Args:
            state: of the temporal part, `[samples, hidden]`.
            snapshot: the encoded current step, `[samples, snapshot_dim]`.
            today: the current step's features, `[samples, features]`.
            neighbours: as for `forward`.
        """
        embedding, _ = self._listen(state, neighbours)
        return self._predict(embedding, snapshot, today)

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
        """`forward` in evaluation mode, with everything that explains it; same arguments.

        `horizons` are those to be explained, which cost a backward pass each; None: all. Contributions and
        importance are of these alone.

        A contribution is gradient x input (Shrikumar, Greenside and Kundaje, 2017, "Learning Important
        Features Through Propagating Activation Differences", sec. 2.2; the gradient alone: Simonyan, Vedaldi
        and Zisserman, 2014), summed over the steps of the window: to first order, what a sample's feature
        adds to the predictions of its day, its own and, through the graph, its neighbours', whichever way it
        takes through the network. Importance is the size of the contributions, over all horizons, as a share;
        0 where nothing contributes.

        Parameters keep their gradients, the network its mode.
        """
        training = self.training
        self.eval()
        try:
            # cuDNN's LSTM has a backward pass in training mode only.
            with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
                inputs = x.detach().requires_grad_()
                state, snapshot, attention = self._read(inputs, step_mask, day_index, n_days, market)
                embedding, graph_attention = self._listen(state, neighbours)
                predictions = self._predict(embedding, snapshot, inputs[:, -1])
                wanted = self.prediction_horizons if horizons is None else horizons
                columns = [self.prediction_horizons.index(horizon) for horizon in wanted]
                contributions = _contributions(predictions[:, columns], inputs)
        finally:
            self.train(training)
        size = contributions.abs().sum(dim=1)
        importance = size / size.sum(dim=1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)
        output = (predictions, attention, importance, graph_attention, embedding, contributions)
        return ModelOutput(*(part.detach() for part in output))

    def _read(
        self,
        x: Tensor,
        step_mask: Tensor | None,
        day_index: Tensor | None,
        n_days: int,
        market: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Windows to one state a sample; the encoded current step, and temporal attention."""
        recompute = self.gradient_checkpointing and torch.is_grad_enabled()
        scaled = x if self.frequency is None else run_piece(self.frequency, x, recompute=recompute)
        snapshot: Tensor = self.snapshot(x[:, -1])
        state, attention = self.temporal(
            scaled, step_mask, day_index, n_days, market, today=snapshot, recompute=recompute
        )
        return state, snapshot, attention

    def _listen(self, state: Tensor, neighbours: Neighbours | None) -> tuple[Tensor, Tensor]:
        """States to states that have heard their neighbours."""
        if self.graph is None:
            return state, state.new_ones(len(state), self.temporal.num_heads, 1)
        heard, attention = self.graph(self.graph_norm(state), self._neighbours(state, neighbours))
        return state + self.graph_output(heard), attention

    def _neighbours(self, state: Tensor, neighbours: Neighbours | None) -> Neighbours:
        if neighbours is not None:
            return neighbours
        if self._standing is None:
            return Neighbours.none(state.shape[0], state.device)
        if self._standing.index.shape[0] != state.shape[0]:
            raise ValueError(
                f"the standing graph has {self._standing.index.shape[0]} stocks but {state.shape[0]} "
                "samples came; give the windows of its stocks in its order, or pass neighbours"
            )
        return Neighbours(*(part.to(state.device) for part in self._standing))

    def _predict(self, embedding: Tensor, snapshot: Tensor, today: Tensor) -> Tensor:
        """The linear path, and what was learned beyond it."""
        # In bfloat16 a day's predictions would fall into few steps, and ranks into ties.
        with torch.autocast(embedding.device.type, enabled=False):
            precision = self.direct.weight.dtype
            ready = self.heads_norm(embedding.to(precision))
            learned = torch.cat([head(ready) for head in self.heads.values()], dim=1)
            learned = learned + self.direct(snapshot.to(precision))
            predictions: Tensor = self.linear(today) + self.learned_share * learned
        return predictions


def _contributions(predictions: Tensor, inputs: Tensor) -> Tensor:
    """Gradient x input, summed over steps: `[samples, horizons, features]`."""
    last = predictions.shape[1] - 1
    found = []
    for horizon in range(last + 1):
        (gradient,) = torch.autograd.grad(predictions[:, horizon].sum(), inputs, retain_graph=horizon < last)
        found.append((gradient * inputs.detach()).sum(dim=1))
    return torch.stack(found, dim=1)
