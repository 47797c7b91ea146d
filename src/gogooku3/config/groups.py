"""The groups of settings, with the unit of every field and the reason for its default."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from gogooku3.config.messages import explain
from gogooku3.errors import ConfigError
from gogooku3.schema import HORIZONS


def _as_day(value: object) -> object:
    """Parse text as an ISO date; leave anything else to the type check."""
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"expected a day as YYYY-MM-DD, came '{value}'; write it as in 2024-01-31") from None


def _as_path(value: object) -> object:
    return Path(value) if isinstance(value, str) and value else value


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def by_horizon(value: object) -> object:
    """Turn keys such as `"5"`, as overrides and JSON spell them, into horizons; the later of two wins."""
    if not isinstance(value, Mapping):
        return value
    return {int(key) if str(key).isdecimal() else key: entry for key, entry in value.items()}


def _ascending(horizons: tuple[int, ...]) -> tuple[int, ...]:
    if not horizons or list(horizons) != sorted(set(horizons)):
        raise ValueError(
            f"expected different horizons in ascending order, came {list(horizons)}; write them as in [1, 5]"
        )
    return horizons


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"expected at least one seed, each once, came {list(seeds)}")
    return seeds


Value = TypeVar("Value")
Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Above0 = Annotated[float, Field(gt=0)]
From0 = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Day = Annotated[date, BeforeValidator(_as_day)]


def _without_password(uri: str | None) -> str | None:
    """Refuse an address with a password or token, which would be stored in every file of a run."""
    parts = urlsplit(uri or "")
    is_server = parts.scheme in ("http", "https")
    if parts.password is not None or (is_server and parts.username) or "password=" in parts.query.lower():
        raise ValueError(
            "the address holds a password or token, which a run would store; leave it out, and set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment (PGPASSWORD for a "
            "PostgreSQL database)"
        )
    return uri


FilePath = Annotated[Path, BeforeValidator(_as_path)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Horizons = Annotated[tuple[Positive, ...], BeforeValidator(_as_tuple), AfterValidator(_ascending)]
Seeds = Annotated[tuple[NotNegative, ...], BeforeValidator(_as_tuple), AfterValidator(_different)]
ByHorizon = Annotated[dict[Positive, Value], BeforeValidator(by_horizon)]
Label = Literal["raw", "zscore", "rank", "blend"]


class Group(BaseModel):
    """Base of every group: refuses unknown keys and inexact types; immutable."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], source: str = "the configuration") -> Self:
        """Validate nested settings; absent ones take their defaults.

        Raises:
            ConfigError: lists every problem with its dotted path.
        """
        try:
            return cls.model_validate(dict(mapping))
        except ValidationError as error:
            problems = explain(error, cls)
        if len(problems) == 1:
            raise ConfigError(problems[0])
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise ConfigError(f"{source} has {len(problems)} problems:{listed}")


class ModelConfig(Group):
    """The network. The defaults give 5.6 million parameters."""

    name: Literal["atft_gat_fan"] = "atft_gat_fan"
    """Always `atft_gat_fan`."""
    input_dim: Positive | None = 145
    """Features per step: the data set's 139 and six quality features; null takes as many as there are."""
    hidden_dim: Annotated[Positive, Field(le=65536)] = 256
    """Width of every hidden layer; a multiple of `num_heads`. 256 makes the 5.6 million parameters."""
    num_heads: Positive = 8
    """Attention heads, temporal and graph; 8 give 32 numbers per head."""
    num_layers: Positive = 4
    """Layers of temporal attention."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of activations dropped in training; high, because returns are nearly noise."""
    prediction_horizons: Horizons | None = None
    """Follows `time_series.prediction_horizons`; any other value must equal it."""
    num_frequencies: Positive = 5
    """Bands of the window's spectrum."""
    snapshot_dim: Positive | None = None
    """Width of the snapshot, the part that reads only today's features; null takes half of `hidden_dim`."""
    use_linear_path: bool = True
    """Linear path from today's features under the snapshot, which then learns what it leaves."""
    use_frequency_norm: bool = True
    """Frequency-adaptive normalisation of the window; off passes the window through unchanged."""
    use_temporal_attention: bool = True
    """Attention over the window's days; off uses only the LSTM's last state."""
    use_graph_attention: bool = True
    """Attention to correlated stocks; off treats every stock alone."""
    use_regime: bool = True
    """Let the market's state set the sharpness of attention and the weight of each part of the state."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.hidden_dim % self.num_heads:
            below = max(self.hidden_dim // self.num_heads, 1) * self.num_heads
            raise ValueError(
                f"model.hidden_dim is {self.hidden_dim} but must be a multiple of model.num_heads "
                f"({self.num_heads}); try {below} or {below + self.num_heads}"
            )
        return self


class TrainingConfig(Group):
    """The training loop."""

    epochs: Positive = 50
    """Maximum passes over a fold's training days; early stopping usually ends sooner."""
    batch_size: Positive = 512
    """Maximum rows per step of windows and graph: months of a few linked stocks each."""
    learning_rate: Above0 = 1e-3
    """Peak step size of AdamW; one-cycle uses `scheduler.max_lr` instead."""
    weight_decay: From0 = 1e-4
    """Decoupled L2 decay per step, times the learning rate."""
    gradient_clip_val: From0 = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    mixed_precision: bool = True
    """bfloat16 where the hardware supports it, float32 elsewhere; needs no loss scaling."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    accumulate_grad_batches: Positive = 1
    """Batches per optimiser step."""
    seed: NotNegative = 42
    """Seed of every random generator; the same seed gives the same run."""
    seeds: Seeds | None = None
    """Train one network per seed and average their daily ranks; null trains one, with `seed`."""
    linear_penalty: Above0 | None = 0.1
    """Ridge penalty of the linear path, solved before training, in feature variances; null: no path."""
    shrink_on_validation: bool = True
    """Choose on validation days the share of windows and graph in each horizon; 0 is possible."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay per step of the moving average of the weights, which is validated and saved; 0: no average."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of a fold's training days, the latest, that chooses the epoch; test days choose nothing."""
    label: Label = "zscore"
    """A day's targets in the loss: as they are, standardised, ranked, or half of each."""
    checkpoint_minutes: Above0 = 10.0
    """Minutes between checkpoints within an epoch, for `--resume`; every epoch ends with one as well."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Device; `auto` takes the best available."""
    progress_bar: bool = True
    """Show each epoch as a bar, or as a line where the output is not a terminal."""


class SnapshotConfig(Group):
    """Training of the snapshot, the part of the network that reads only today's features."""

    passes: Above0 = 3.0
    """Passes over the training days for a horizon of 1 day; divided by the root of longer horizons."""
    batch_size: Positive = 2048
    """Rows per step, shuffled over all training days."""
    learning_rate: Above0 = 1e-3
    """Step size of AdamW, constant after the warm-up."""
    weight_decay: From0 = 1e-2
    """Decoupled L2 decay per step, times the learning rate."""
    warmup_steps: NotNegative = 50
    """Steps of linear warm-up from near 0."""
    teacher_weight: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Weight of trees' forecasts, next to the labels, as targets of the shortest horizon; 0: no trees."""
    refit: bool = True
    """After all choices, fit it again on training and validation days: the newest days count most."""


class SchedulerConfig(Group):
    """The learning rate's schedule."""

    type: Literal["cosine_annealing", "one_cycle"] = "cosine_annealing"
    """Cosine from the learning rate down to `eta_min`, or one cycle up to `max_lr` and down."""
    T_max: Positive | None = 50
    """Epochs from the top of the cosine to its bottom; null takes `training.epochs`."""
    eta_min: From0 = 1e-6
    """Learning rate at the cosine's bottom."""
    max_lr: Above0 = 1e-2
    """Learning rate at the top of one cycle."""
    warmup_steps: NotNegative = 0
    """Steps of linear warm-up from near 0; 0: no warm-up."""


class LossConfig(Group):
    """The training loss."""

    type: Literal["multi_horizon_mse"] = "multi_horizon_mse"
    """Always the weighted mean squared error, summed over horizons and divided by their number."""
    horizon_weights: ByHorizon[From0] = {1: 1.0, 5: 0.7, 10: 0.5, 20: 0.5}
    """Weight of each horizon; longer ones weigh less because their labels overlap. 1, 5, 10 and 20 may have a
    weight without being predicted."""
    correlation_weight: From0 = 0.0
    """Weight of 1 - correlation of predictions and labels within the day; for ranked labels of ranks."""


class EarlyStoppingConfig(Group):
    """End of training, and choice of the epoch that a fold keeps."""

    enabled: bool = True
    """Off: train every epoch and keep the last; validation days are scored but choose nothing."""
    monitor: str = "val/rank_ic_5d"
    """`val/rank_ic_5d`, `val/ic_5d` or `val/sharpe_5d`, any horizon or, without one, the mean; `val/loss`."""
    patience: NotNegative = 10
    """Epochs without improvement before training stops."""
    min_delta: From0 = 0.001
    """Smallest improvement that counts, in units of the monitor."""


class GraphConfig(Group):
    """Neighbours of each stock, from correlations of daily returns known at the time."""

    enabled: bool = True
    """Off: no stock has neighbours."""
    correlation_window: Annotated[int, Field(ge=3)] = 60
    """Trading days of returns behind a correlation: three months."""
    include_negative_correlation: bool = True
    """Count negatively correlated stocks as neighbours too; their weight keeps its sign."""
    max_edges_per_node: Positive = 10
    """Maximum neighbours of a stock, the strongest by |correlation|."""
    correlation_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Smallest |correlation| of a neighbour."""
    min_edges_per_node: NotNegative = 5
    """Neighbours of a stock even below the threshold, so that few are isolated."""
    return_column: str | None = None
    """Feature that holds the one-day return; null takes `ret_1d`."""
    rebuild_every_epochs: Positive = 10
    """Epochs between two rebuilds of the graphs."""

    @model_validator(mode="after")
    def _few_are_not_more_than_many(self) -> Self:
        if self.min_edges_per_node > self.max_edges_per_node:
            raise ValueError(
                f"graph.min_edges_per_node is {self.min_edges_per_node}, above graph.max_edges_per_node "
                f"({self.max_edges_per_node}); lower the first or raise the second"
            )
        return self


class LoggingConfig(Group):
    """Destinations of the training curves."""

    tensorboard: bool = True
    """Write TensorBoard events into the run's folder."""
    wandb: bool = False
    """Log to Weights & Biases too; needs `pip install 'gogooku3[wandb]'`."""
    wandb_project: str = "gogooku3"
    """Weights & Biases project."""
    mlflow: bool = False
    """Log to MLflow too; needs `pip install 'gogooku3[mlflow]'`."""
    mlflow_uri: Annotated[str | None, AfterValidator(_without_password)] = None
    """MLflow server without a password, or a folder as `file:/path`; null: `mlruns` with the network."""


class LightGBMConfig(Group):
    """The baseline: one gradient-boosted model per horizon."""

    num_boost_round: Positive = 400
    """Maximum trees; early stopping on the tail of the training days usually keeps fewer."""
    learning_rate: Above0 = 0.05
    """Shrinkage per tree."""
    num_leaves: Annotated[int, Field(ge=2)] = 31
    """Leaves per tree; LightGBM's own default."""
    min_data_in_leaf: Positive = 200
    """Minimum rows per leaf: many, because one row carries nearly no information."""
    feature_fraction: Fraction = 0.5
    """Share of features per tree; features repeat one another."""
    bagging_fraction: Fraction = 0.8
    """Share of rows per tree."""
    bagging_freq: NotNegative = 1
    """Trees between two draws of rows; 0 never draws."""
    lambda_l2: From0 = 5.0
    """L2 penalty on leaf values."""
    early_stopping_rounds: NotNegative = 40
    """Trees without improvement before boosting stops; 0 grows all."""
    label: Label = "rank"
    """A day's targets: ranks, so that a single stock's jump doesn't dominate the trees."""


class EvaluationConfig(Group):
    """Trading rules that turn predictions into portfolio returns."""

    cost_bps: From0 = 10.0
    """One-way cost of trading in basis points of turnover."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of the day's stocks held long, and as many short: fifths."""
    entry: Literal["close", "open"] = "close"
    """Trade at the close that the prediction uses, or at the next open, which needs `prices`."""
    borrow_rate: From0 = 0.0
    """Lending fee for short positions, a fraction per year: 0.01 is 1 %."""
    prices: FilePath | None = None
    """Prices, as `data build` reads them: for entry at the open, capacity, size and sectors."""
    volume_share: Fraction = 0.01
    """Share of a stock's mean traded value that a trade may take, for the capacity."""
    delisting_return: Annotated[float, Field(ge=-1)] = 0.0
    """Return of a stock that never trades again, from its last close, in targets and portfolios: -1 is a
    total loss."""

    @model_validator(mode="after")
    def _the_open_has_a_price(self) -> Self:
        if self.entry == "open" and self.prices is None:
            raise ValueError(
                "evaluation.entry is open, but there are no prices to trade at; set evaluation.prices "
                "(`evaluate` --prices) to the file the data set was built from, or evaluation.entry=close"
            )
        return self


class DatasetConfig(Group):
    """Rows and columns of the data set."""

    name: str = "jpx_production"
    """Name in reports."""
    data_path: FilePath = Path("data/raw/large_scale/ml_dataset_full.parquet")
    """The data set's file, relative to the working directory; made by `gogooku3 data build`."""
    target_columns: ByHorizon[str] | None = None
    """`{horizon: column}` where targets are not named `target_{h}d`; never guessed. 1 may be named
    without being predicted."""
    feature_columns: Names | None = None
    """Features by name; null takes every numeric column that is neither key nor target."""
    allow_features: Names | None = None
    """Features to keep although they follow a target so closely that they would be refused."""
    start_date: Day | None = None
    """First day used, as YYYY-MM-DD; null starts with the file."""
    end_date: Day | None = None
    """Last day used; null ends with the file."""
    labels: Literal["last_close", "surviving"] = "last_close"
    """Targets of stocks without a close on their last day: up to the last close before, or none, which hides
    the stocks that die."""

    @model_validator(mode="after")
    def _the_start_is_not_after_the_end(self) -> Self:
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise ValueError(
                f"dataset.start_date ({self.start_date}) is after dataset.end_date ({self.end_date}); "
                "swap them or drop one"
            )
        return self


class TimeSeriesConfig(Group):
    """Windows and horizons."""

    sequence_length: Annotated[int, Field(ge=2)] = 60
    """Trading days per window, the sample's own day included: three months."""
    prediction_horizons: Horizons = HORIZONS
    """Horizons to predict, in trading days: next day to next month."""
    drop_historical_columns: Literal[True] = True
    """Always true: windows are cut from the panel; lagged columns would take 60 times the memory."""
    use_tensor_sequences: Literal[True] = True
    """Always true: windows are cut from the panel when needed; stored ones would take 60 times the memory."""


class CrossSectionalConfig(Group):
    """Standardisation of a day's features across that day's stocks."""

    enabled: bool = True
    """Off leaves the features as they are in the file."""
    method: Literal["polars_v2"] = "polars_v2"
    """Always the mean and standard deviation of the day, the only statistics without look-ahead."""
    robust_clip: Annotated[float, Field(gt=1)] = 5.0
    """Largest absolute value, in the day's standard deviations."""


class BatchNormConfig(Group):
    """Batch normalisation, which is refused: a batch's statistics would carry one day into another."""

    enabled: Literal[False] = False
    """Always false: batch norm mixes the statistics of different days, so a prediction would depend on the
    rest of its batch; use normalization.cross_sectional."""


class NormalizationConfig(Group):
    """Scaling of the features."""

    cross_sectional: CrossSectionalConfig = CrossSectionalConfig()
    """By day, across stocks."""
    batch_norm: BatchNormConfig = BatchNormConfig()
    """By batch: refused."""


class SplitConfig(Group):
    """Folds, forward in time."""

    method: Literal["walk_forward"] = "walk_forward"
    """Always train on the past and test on the days that follow."""
    n_splits: Positive = 5
    """Folds."""
    embargo_days: NotNegative = 20
    """Trading days between training and test: the longest horizon or more, so that labels close in time."""
    min_train_days: Positive = 252
    """Minimum trading days that the first fold trains on: a year."""


class PerformanceConfig(Group):
    """Use of the machine."""

    use_polars_lazy: bool = True
    """Scan the file instead of reading it whole; the rows are the same."""
    memory_limit_gb: Above0 = 8.0
    """Memory the run may use, in GB (10^9 bytes)."""
    threads: Positive | None = None
    """CPU threads of torch; null takes the available cores. A network's last bits depend on their number."""
    column_projection: bool = True
    """Read only the columns that are used; the rows are the same."""
