"""Refuses unusable data sets and settings before any feature is read and before torch is imported."""

from dataclasses import dataclass

import polars as pl

from gogooku3.config import RunConfig
from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.quality.trainable import stock_problems, target_problems
from gogooku3.data.synthetic.oracle_files import oracle_paths
from gogooku3.errors import ConfigError, DataError
from gogooku3.features.quality import QUALITY_FEATURES
from gogooku3.models.lightgbm_baseline import boosted_at_a_time
from gogooku3.pipeline.memory_plan import plan_memory
from gogooku3.safety.walk_forward import WalkForwardSplitterV2
from gogooku3.schema import ONE_DAY, target_column

_KEY_BYTES = 24
"""Per row: a day, a code and the row's number in the file."""


@dataclass(frozen=True)
class CheckedInputs:
    """A data set and the settings that fit it, opened and checked once per run.

    Attributes:
        loader: of the data set.
        config: as resolved; `model.input_dim` is the data set's width.
        splitter: the walk-forward folds that the settings ask for.
    """

    loader: ProductionDatasetV3
    config: RunConfig
    splitter: WalkForwardSplitterV2


def _check_columns(loader: ProductionDatasetV3, config: RunConfig) -> RunConfig:
    """Check the data set's columns against the settings, before any row is read.

    Returns:
        the configuration, with `model.input_dim` filled in.

    Raises:
        DataError: a horizon has no target, or the returns for the graph are missing.
        ConfigError: the model expects another number of features.
    """
    missing = [h for h in config.time_series.prediction_horizons if h not in loader.horizons]
    if missing:
        raise DataError(
            f"{loader.data_path} has targets for the horizons {list(loader.horizons)}, not for {missing}; "
            "add them, name them in dataset.target_columns, or train on the horizons it has"
        )
    if ONE_DAY not in loader.horizons:
        raise DataError(
            f"{loader.data_path} has targets for the horizons {list(loader.horizons)}, not for {ONE_DAY}, "
            f"the daily return that portfolios earn; add {target_column(ONE_DAY)}, or name it in "
            "dataset.target_columns"
        )
    taken = [name for name in QUALITY_FEATURES if name in loader.feature_names]
    if taken:
        raise DataError(
            f"{loader.data_path} already has {taken}; the pipeline adds the quality features itself, so "
            "leave them out of dataset.feature_columns"
        )
    width = len(loader.feature_names) + len(QUALITY_FEATURES)
    if config.model.input_dim is None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"input_dim": width})})
    if width != config.model.input_dim:
        raise ConfigError(
            f"model.input_dim is {config.model.input_dim}, but {loader.data_path} has "
            f"{len(loader.feature_names)} features and {len(QUALITY_FEATURES)} quality features are added; "
            f"set model.input_dim={width}, or null to follow the data set"
        )
    column = config.graph.return_column or "ret_1d"
    if config.graph.enabled and column not in loader.feature_names:
        raise DataError(
            f"the graph needs the past one-day return '{column}', which is not among the features; name "
            "yours in graph.return_column, or train without a graph: graph.enabled=false"
        )
    return config


def check_inputs(config: RunConfig) -> CheckedInputs:
    """Open the data set and check its columns and days. Imports no training library.

    Raises:
        DataError: no such file, unusable columns, or too few days.
        ConfigError: the run needs more memory than allowed, or the settings don't match the columns.
    """
    loader = ProductionDatasetV3(
        config.dataset.data_path,
        config.performance.use_polars_lazy,
        config.performance.column_projection,
        feature_columns=config.dataset.feature_columns,
        target_columns=config.dataset.target_columns,
        start_date=config.dataset.start_date,
        end_date=config.dataset.end_date,
        labels=config.dataset.labels,
        delisting_return=config.evaluation.delisting_return,
        allow_features=config.dataset.allow_features or (),
    )
    config = _check_columns(loader, config)
    if extent := loader.extent():
        plan_panel(loader, config, *extent)
    return CheckedInputs(loader, config, _new_splitter(config))


def _new_splitter(config: RunConfig) -> WalkForwardSplitterV2:
    return WalkForwardSplitterV2(
        config.split.n_splits,
        config.split.embargo_days,
        config.split.min_train_days,
        config.time_series.prediction_horizons,
    )


def plan_panel(loader: ProductionDatasetV3, config: RunConfig, rows: int, days: int, stocks: int) -> bool:
    """Return True if a panel of this size must be stored in a memory-mapped file.

    Raises:
        DataError: too few days for the folds.
        ConfigError: the run does not fit even then.
    """
    if not rows:
        return False
    tested = sum(len(fold.test) for fold in _new_splitter(config).folds(days))
    models = 5 if oracle_paths(loader.data_path)[0].is_file() else 4
    predictions = tested * rows // days * models * len(config.time_series.prediction_horizons)
    return plan_memory(
        (days, stocks, len(loader.feature_names) + len(QUALITY_FEATURES)),
        rows * (_KEY_BYTES + 4 * len(loader.horizons)),
        config.performance.memory_limit_gb,
        predictions,
        boosted_at_a_time(len(config.time_series.prediction_horizons)),
    )


def check_rows(index: pl.DataFrame, loader: ProductionDatasetV3, config: RunConfig) -> None:
    """Refuse data that models can't learn from: too few stocks to rank, or an unusable target.

    Args:
        index: the loader's `load_index()`.
        loader: the data set.
        config: names the targets.

    Raises:
        DataError: naming every problem found.
    """
    targets = [target_column(horizon) for horizon in config.time_series.prediction_horizons]
    standardised = config.normalization.cross_sectional.enabled
    if problems := [*stock_problems(index, standardised), *target_problems(index, targets)]:
        reasons = (f"{problem.column}: {problem.check}; {problem.advice}" for problem in problems)
        raise DataError(f"{loader.data_path} can't be trained on: {'; '.join(reasons)}")
