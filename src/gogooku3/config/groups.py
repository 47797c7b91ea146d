"""The groups of settings: each field says its unit and why that default. Nothing is read here."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from gogooku3.config.messages import explain
from gogooku3.errors import ConfigError


def _as_day(value: object) -> object:
    """Read text as an ISO date; anything else is left to the type check."""
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
    """Let `"5"` be the horizon 5: overrides and JSON spell keys as text. The later of two wins."""
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


Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Above0 = Annotated[float, Field(gt=0)]
From0 = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Day = Annotated[date, BeforeValidator(_as_day)]
FilePath = Annotated[Path, BeforeValidator(_as_path)]
Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Horizons = Annotated[tuple[Positive, ...], BeforeValidator(_as_tuple), AfterValidator(_ascending)]
Seeds = Annotated[tuple[NotNegative, ...], BeforeValidator(_as_tuple), AfterValidator(_different)]
Label = Literal["raw", "zscore", "rank", "blend"]


class Group(BaseModel):
    """Base of every group: unknown keys refused, types exact, values fixed once made."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], source: str = "the configuration") -> Self:
        """Check nested settings; what is absent takes its default.

        Raises:
            ConfigError: naming every problem found, each with its dotted path.
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
    """Which network; there is one."""
    input_dim: Positive | None = 145
    """Features a step: the 139 of the data set and six quality features; null: as many as there are."""
    hidden_dim: Annotated[Positive, Field(le=65536)] = 256
    """Width of every hidden layer; a multiple of `num_heads`. 256 makes the 5.6 million parameters."""
    num_heads: Positive = 8
    """Attention heads, temporal and graph alike; 8 leave 32 numbers a head."""
    num_layers: Positive = 4
    """Depth of the network's stack."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Share of activations dropped in training; high, because returns are nearly noise."""
    prediction_horizons: Horizons | None = None
    """Horizons predicted; null takes `time_series.prediction_horizons`, which any other value must equal."""
    num_frequencies: Positive = 5
    """Bands the window's spectrum is split into."""
    snapshot_dim: Positive | None = None
    """Width of the direct path from today's features; null is `hidden_dim`. It runs once a sample: cheap."""
    use_frequency_norm: bool = True
    """Frequency-adaptive normalisation of the window; off hands it on as it is."""
    use_temporal_attention: bool = True
    """Attention over the window's days; off leaves what the LSTM remembers."""
    use_graph_attention: bool = True
    """Attention to correlated stocks; off leaves every stock alone."""
    use_regime: bool = True
    """The market's state sets how sharp attention is and how much each part of the state counts."""

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
    """Passes over a fold's training days at most; early stopping usually ends sooner."""
    batch_size: Positive = 512
    """Rows a step at most, packed from whole trading days; a day is never cut, so a larger one goes alone."""
    learning_rate: Above0 = 1e-3
    """Peak step size of AdamW without one-cycle."""
    weight_decay: From0 = 1e-4
    """Decoupled L2 decay a step, times the learning rate."""
    gradient_clip_val: From0 = 1.0
    """Largest gradient norm; 0 clips nothing."""
    mixed_precision: bool = True
    """bfloat16 where the hardware has it, float32 elsewhere; needs no loss scaling."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    accumulate_grad_batches: Positive = 1
    """Batches a step of the optimiser."""
    seed: NotNegative = 42
    """Start of every random generator; the same seed gives the same run."""
    seeds: Seeds | None = None
    """Train one network a seed and average their daily ranks; null trains one, with `seed`."""
    linear_penalty: Above0 | None = 0.1
    """Ridge penalty of the linear path, solved before training, in feature variances; null: no path."""
    shrink_on_validation: bool = False
    """Choose by horizon, on validation days, how much of what was learned the linear path takes on."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share that the average of the weights keeps a step; the average is validated and saved. 0: none."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of a fold's training days, the latest, that chooses the epoch; test days choose nothing."""
    label: Label = "zscore"
    """How a day's targets are treated before the loss: not at all, standardised, ranked, or half of each."""
    checkpoint_minutes: Above0 = 10.0
    """Minutes between two checkpoints within an epoch, for `--resume`; every epoch ends with one besides."""
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Device; `auto` takes the best there is."""
    progress_bar: bool = True
    """Show each epoch as a bar, or as a line where the output is no terminal."""


class SchedulerConfig(Group):
    """How the learning rate moves."""

    type: Literal["cosine_annealing", "one_cycle"] = "cosine_annealing"
    """Cosine from the learning rate down to `eta_min`, or one cycle up to `max_lr` and down."""
    T_max: Positive | None = 50
    """Epochs from the top of the cosine to its bottom; null takes `training.epochs`."""
    eta_min: From0 = 1e-6
    """Learning rate at the cosine's bottom."""
    max_lr: Above0 = 1e-2
    """Learning rate at the top of one cycle."""
    warmup_steps: NotNegative = 0
    """Steps of linear warm-up from near 0; none unless asked for."""


class LossConfig(Group):
    """What training minimises."""

    type: Literal["multi_horizon_mse"] = "multi_horizon_mse"
    """Weighted mean squared error, summed over horizons and divided by their number."""
    horizon_weights: Annotated[dict[Positive, From0], BeforeValidator(by_horizon)] = {
        1: 1.0,
        5: 0.7,
        10: 0.5,
        20: 0.5,
    }
    """Weight of each horizon; longer ones weigh less because their labels overlap. 1, 5, 10 and 20 may have a
    weight without being predicted."""
    correlation_weight: From0 = 0.0
    """Weight of 1 - correlation of predictions and labels, by day; with ranked labels a rank correlation."""


class EarlyStoppingConfig(Group):
    """When a fold stops, and which epoch it keeps."""

    enabled: bool = True
    """Off: every epoch is trained and the last is kept; validation days are scored, and choose no epoch."""
    monitor: str = "val/rank_ic_5d"
    """`val/rank_ic_5d`, `val/ic_5d` or `val/sharpe_5d`, any horizon or, without one, the mean; `val/loss`."""
    patience: NotNegative = 10
    """Epochs without improvement that are waited for."""
    min_delta: From0 = 0.001
    """Smallest improvement that counts, in units of the monitor."""


class GraphConfig(Group):
    """Which stocks attend to which: correlations of daily returns, as of."""

    enabled: bool = True
    """Without it every stock sees itself alone."""
    correlation_window: Annotated[int, Field(ge=3)] = 60
    """Trading days of returns a correlation rests on: three months."""
    include_negative_correlation: bool = True
    """Whether opposites are neighbours too; they keep their sign."""
    max_edges_per_node: Positive = 10
    """Neighbours a stock at most, the strongest by |correlation|."""
    correlation_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """|correlation| from which a neighbour counts."""
    min_edges_per_node: NotNegative = 5
    """Neighbours a stock takes even below the threshold, so that few stay alone."""
    return_column: str | None = None
    """Feature that holds the one-day return; null takes `ret_1d`."""
    rebuild_every_epochs: Positive = 10
    """Epochs after which the callback asks for the schedule anew."""

    @model_validator(mode="after")
    def _few_are_not_more_than_many(self) -> Self:
        if self.min_edges_per_node > self.max_edges_per_node:
            raise ValueError(
                f"graph.min_edges_per_node is {self.min_edges_per_node}, above graph.max_edges_per_node "
                f"({self.max_edges_per_node}); lower the first or raise the second"
            )
        return self


class LoggingConfig(Group):
    """Where the curves go."""

    tensorboard: bool = True
    """Write TensorBoard events into the run's folder."""
    wandb: bool = False
    """Send them to Weights & Biases too; needs `pip install 'gogooku3[wandb]'`."""
    wandb_project: str = "gogooku3"
    """Project there."""
    mlflow: bool = False
    """Send them to MLflow too; needs `pip install 'gogooku3[mlflow]'`."""
    mlflow_uri: str | None = None
    """Where to: a server's address, or a folder as `file:/path`; null takes `mlruns` beside the network."""


class LightGBMConfig(Group):
    """The baseline: one gradient-boosted model a horizon."""

    num_boost_round: Positive = 400
    """Trees at most; early stopping on the tail of the training days usually keeps fewer."""
    learning_rate: Above0 = 0.05
    """Shrinkage a tree."""
    num_leaves: Annotated[int, Field(ge=2)] = 31
    """Leaves a tree; LightGBM's own default."""
    min_data_in_leaf: Positive = 200
    """Rows a leaf at least: many, because one row says nearly nothing."""
    feature_fraction: Fraction = 0.5
    """Share of features a tree may use; features repeat one another."""
    bagging_fraction: Fraction = 0.8
    """Share of rows a tree is grown on."""
    bagging_freq: NotNegative = 1
    """Trees between two draws of rows; 0 draws never."""
    lambda_l2: From0 = 5.0
    """L2 penalty on leaf values."""
    early_stopping_rounds: NotNegative = 40
    """Trees without improvement that are waited for; 0 grows all."""
    label: Label = "rank"
    """How a day's targets are treated: ranks, so that no jump of one stock steers the trees."""


class EvaluationConfig(Group):
    """How predictions become portfolio figures."""

    cost_bps: From0 = 10.0
    """Cost of trading in basis points of turnover, one way."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of the day's stocks held long, and as many short: fifths."""
    entry: Literal["close", "open"] = "close"
    """Trade at the close that the prediction uses, or at the next open, which needs `prices`."""
    borrow_rate: From0 = 0.0
    """Lending fee for what is held short, a fraction a year: 0.01 is 1 %."""
    prices: FilePath | None = None
    """Prices, as `data build` reads them: for entry at the open, capacity, size and sectors."""
    volume_share: Fraction = 0.01
    """Share of a stock's mean traded value that a trade may take, for the capacity."""

    @model_validator(mode="after")
    def _the_open_has_a_price(self) -> Self:
        if self.entry == "open" and self.prices is None:
            raise ValueError(
                "evaluation.entry is open, but no prices say what that is; set evaluation.prices (`evaluate` "
                "--prices) to the file that the data set was built from, or evaluation.entry=close"
            )
        return self


class DatasetConfig(Group):
    """Which rows and columns."""

    name: str = "jpx_production"
    """Name in reports."""
    data_path: FilePath = Path("data/raw/large_scale/ml_dataset_full.parquet")
    """The data set's file; relative to the working directory. `gogooku3 data build` makes one."""
    target_columns: Annotated[dict[Positive, str], BeforeValidator(by_horizon)] | None = None
    """`{horizon: column}` where targets are not named `target_{h}d`; never guessed. 1 may be named
    without being predicted."""
    feature_columns: Names | None = None
    """Features by name; null takes every numeric column that is neither key nor target."""
    start_date: Day | None = None
    """First day used, as YYYY-MM-DD; null starts with the file."""
    end_date: Day | None = None
    """Last day used; null ends with the file."""

    @model_validator(mode="after")
    def _the_start_is_not_after_the_end(self) -> Self:
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise ValueError(
                f"dataset.start_date ({self.start_date}) lies after dataset.end_date ({self.end_date}); "
                "swap them or drop one"
            )
        return self


class TimeSeriesConfig(Group):
    """The window behind every sample."""

    sequence_length: Annotated[int, Field(ge=2)] = 60
    """Trading days a window, the sample's own day included: three months."""
    prediction_horizons: Horizons = (1, 5, 10, 20)
    """Horizons to predict, in trading days: next day to next month."""
    drop_historical_columns: bool = True
    """Must stay true: the window lies in one cube, never as a lagged column a step."""
    use_tensor_sequences: bool = True
    """Must stay true: windows are cut from the cube when asked for, never stored one by one."""

    @field_validator("drop_historical_columns", "use_tensor_sequences")
    @classmethod
    def _windows_are_cut_from_the_cube(cls, kept: bool) -> bool:
        if not kept:
            raise ValueError(
                "expected true, came false: windows are always cut from the panel; stored or flattened ones "
                "would take 60 times the memory for the same numbers"
            )
        return kept


class CrossSectionalConfig(Group):
    """Standardise a day by that day's stocks alone."""

    enabled: bool = True
    """Off hands features on as they are in the file."""
    method: Literal["polars_v2"] = "polars_v2"
    """Mean and standard deviation of the day; the only way that knows nothing later."""
    robust_clip: Annotated[float, Field(gt=1)] = 5.0
    """Largest size kept, in the day's standard deviations."""


class BatchNormConfig(Group):
    """Stands here to be refused: a batch's statistics would carry one day into another."""

    enabled: bool = False
    """Must stay false."""

    @field_validator("enabled")
    @classmethod
    def _no_statistic_crosses_days(cls, enabled: bool) -> bool:
        if enabled:
            raise ValueError(
                "expected false, came true: batch norm mixes the statistics of different days, so a "
                "prediction would depend on what else is in the batch; use normalization.cross_sectional"
            )
        return enabled


class NormalizationConfig(Group):
    """How features are brought to one scale."""

    cross_sectional: CrossSectionalConfig = CrossSectionalConfig()
    """By day, across stocks."""
    batch_norm: BatchNormConfig = BatchNormConfig()
    """By batch: refused."""


class SplitConfig(Group):
    """Folds forward in time."""

    method: Literal["walk_forward"] = "walk_forward"
    """Train on the past, test on what follows."""
    n_splits: Positive = 5
    """Folds."""
    embargo_days: NotNegative = 20
    """Trading days strictly between training and test: the longest horizon or more, so that labels close."""
    min_train_days: Positive = 252
    """Trading days the first fold trains on at least: a year."""


class PerformanceConfig(Group):
    """How much of the machine may be used."""

    use_polars_lazy: bool = True
    """Scan the file instead of reading it whole."""
    memory_limit_gb: Above0 = 8.0
    """Memory the run may take, in GB (10^9 bytes)."""
    threads: Positive | None = None
    """CPU threads of torch; null takes the cores there are. The bits of a network depend on it."""
    column_projection: bool = True
    """Read only the columns that are used."""
