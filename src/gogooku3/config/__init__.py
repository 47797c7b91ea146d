"""Run configurations: YAML composed by Hydra and validated as a whole before any data is read.

Folders of a machine are set in `gogooku3.settings`.
"""

from gogooku3.config.compose import load_config
from gogooku3.config.groups import (
    BatchNormConfig,
    CrossSectionalConfig,
    DatasetConfig,
    EarlyStoppingConfig,
    EvaluationConfig,
    GraphConfig,
    LightGBMConfig,
    LoggingConfig,
    LossConfig,
    ModelConfig,
    NormalizationConfig,
    PerformanceConfig,
    SchedulerConfig,
    SnapshotConfig,
    SplitConfig,
    TimeSeriesConfig,
    TrainingConfig,
)
from gogooku3.config.run_config import RunConfig

__all__ = [
    "BatchNormConfig",
    "CrossSectionalConfig",
    "DatasetConfig",
    "EarlyStoppingConfig",
    "EvaluationConfig",
    "GraphConfig",
    "LightGBMConfig",
    "LoggingConfig",
    "LossConfig",
    "ModelConfig",
    "NormalizationConfig",
    "PerformanceConfig",
    "RunConfig",
    "SchedulerConfig",
    "SnapshotConfig",
    "SplitConfig",
    "TimeSeriesConfig",
    "TrainingConfig",
    "load_config",
]
