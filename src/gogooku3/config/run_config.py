"""The whole configuration of a run, and the checks across its groups."""

from collections.abc import Iterator
from typing import Self

from omegaconf import OmegaConf
from pydantic import model_validator

from gogooku3.config import groups
from gogooku3.errors import choices, did_you_mean
from gogooku3.schema import HORIZONS, ONE_DAY


class RunConfig(groups.Group):
    """All settings of a run, validated. The defaults are those of `model/atft/train`.

    >>> RunConfig.from_mapping({"split": {"n_splits": 2}}).split.n_splits
    2
    >>> RunConfig.from_mapping({"model": {"hiden_dim": 64}})
    Traceback (most recent call last):
    gogooku3.errors.ConfigError: unknown setting 'model.hiden_dim'; did you mean 'hidden_dim'? ...
    """

    model: groups.ModelConfig = groups.ModelConfig()
    snapshot: groups.SnapshotConfig = groups.SnapshotConfig()
    training: groups.TrainingConfig = groups.TrainingConfig()
    scheduler: groups.SchedulerConfig = groups.SchedulerConfig()
    loss: groups.LossConfig = groups.LossConfig()
    early_stopping: groups.EarlyStoppingConfig = groups.EarlyStoppingConfig()
    graph: groups.GraphConfig = groups.GraphConfig()
    logging: groups.LoggingConfig = groups.LoggingConfig()
    lightgbm: groups.LightGBMConfig = groups.LightGBMConfig()
    evaluation: groups.EvaluationConfig = groups.EvaluationConfig()
    dataset: groups.DatasetConfig = groups.DatasetConfig()
    time_series: groups.TimeSeriesConfig = groups.TimeSeriesConfig()
    normalization: groups.NormalizationConfig = groups.NormalizationConfig()
    split: groups.SplitConfig = groups.SplitConfig()
    performance: groups.PerformanceConfig = groups.PerformanceConfig()

    @model_validator(mode="after")
    def _groups_agree(self) -> Self:
        problems = list(_contradictions(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def to_yaml(self) -> str:
        """Every setting as YAML, which `load_config` and `from_mapping` read back equal."""
        plain = self.model_dump(mode="json")
        for group, name in (("loss", "horizon_weights"), ("dataset", "target_columns")):
            plain[group][name] = groups.by_horizon(plain[group][name])
        return OmegaConf.to_yaml(OmegaConf.create(plain))


def _contradictions(config: RunConfig) -> Iterator[str]:
    """One message for each contradiction between two groups."""
    horizons = config.time_series.prediction_horizons
    model_horizons = config.model.prediction_horizons
    if model_horizons is not None and model_horizons != horizons:
        yield (
            f"model.prediction_horizons {list(model_horizons)} and "
            f"time_series.prediction_horizons {list(horizons)} differ; remove model.prediction_horizons"
        )
    weighted = set(config.loss.horizon_weights)
    if unweighted := set(horizons) - weighted:
        yield (
            f"loss.horizon_weights has no weight for the horizons {choices(sorted(unweighted))}, which are "
            f"predicted; add one"
        )
    if unknown := weighted - {*horizons, *HORIZONS}:
        yield (
            f"loss.horizon_weights has weights for the horizons {choices(sorted(unknown))}, which are not "
            f"predicted; the horizons are {choices(horizons)}"
        )
    named = config.dataset.target_columns
    if named is not None and not set(horizons) <= set(named) <= {ONE_DAY, *horizons}:
        yield (
            f"dataset.target_columns names the horizons {choices(sorted(named))} but "
            f"the horizons are {choices(horizons)}; name one column for each"
        )
    if config.split.embargo_days < max(horizons):
        yield (
            f"split.embargo_days is {config.split.embargo_days} trading days but the longest horizon is "
            f"{max(horizons)}; raise it to {max(horizons)} or more"
        )
    scores = ("ic", "rank_ic", "sharpe")
    monitors = ["val/loss", *(f"val/{s}{h}" for s in scores for h in ("", *(f"_{h}d" for h in horizons)))]
    if config.early_stopping.monitor not in monitors:
        yield (
            f"early_stopping.monitor is '{config.early_stopping.monitor}'"
            f"{did_you_mean(config.early_stopping.monitor, monitors)} there are {choices(monitors, 20)}"
        )
