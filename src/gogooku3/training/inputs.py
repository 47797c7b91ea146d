"""What the columns of a data set already show, before any row is read."""

from gogooku3.config import RunConfig
from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.errors import ConfigError, DataError
from gogooku3.features.quality import QUALITY_FEATURES


def check_inputs(loader: ProductionDatasetV3, config: RunConfig) -> RunConfig:
    """Refuse what the data set's columns already show, before any row is read.

    Returns:
        the configuration; `model.input_dim` is the data set's where none was set.

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
