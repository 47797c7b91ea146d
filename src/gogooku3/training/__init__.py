"""Fit one network: batches, loss, trainer, checkpoints. Public names load at first use.

`SafeTrainingPipeline` is re-exported from `pipeline`.
"""

from typing import TYPE_CHECKING

from gogooku3.lazy import lazy_names

if TYPE_CHECKING:
    from gogooku3.pipeline.pipeline import SafeTrainingPipeline
    from gogooku3.training.callbacks import FinancialMetricsCallback
    from gogooku3.training.graph_callback import DynamicGraphCallback
    from gogooku3.training.losses import MultiHorizonFinancialLoss
    from gogooku3.training.trainer import ATFTTrainer

__all__ = [
    "ATFTTrainer",
    "DynamicGraphCallback",
    "FinancialMetricsCallback",
    "MultiHorizonFinancialLoss",
    "SafeTrainingPipeline",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ATFTTrainer": "gogooku3.training.trainer",
        "DynamicGraphCallback": "gogooku3.training.graph_callback",
        "FinancialMetricsCallback": "gogooku3.training.callbacks",
        "MultiHorizonFinancialLoss": "gogooku3.training.losses",
        "SafeTrainingPipeline": "gogooku3.pipeline.pipeline",
    },
)
