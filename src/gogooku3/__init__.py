"""Leak-safe training and honest scoring of stock return forecasts.

Importing the package loads no torch, LightGBM or Polars: public names load at first use.
"""

from typing import TYPE_CHECKING

from gogooku3._version import __version__
from gogooku3.lazy import lazy_names
from gogooku3.settings import settings

if TYPE_CHECKING:
    from gogooku3.data.dataset import ProductionDatasetV3
    from gogooku3.evaluation.metrics import (
        compute_max_drawdown,
        compute_sharpe_ratio,
        information_coefficient,
        rank_information_coefficient,
    )
    from gogooku3.features.quality import QualityFinancialFeaturesGenerator
    from gogooku3.graph.builder import FinancialGraphBuilder
    from gogooku3.models import (
        ATFTCore,
        ATFTGATFANModel,
        FinancialGraphAttention,
        FrequencyAdaptiveNorm,
        LightGBMFinancialBaseline,
    )
    from gogooku3.preprocessing.cross_section import CrossSectionalNormalizerV2
    from gogooku3.safety.walk_forward import WalkForwardSplitterV2
    from gogooku3.training import (
        ATFTTrainer,
        DynamicGraphCallback,
        FinancialMetricsCallback,
        MultiHorizonFinancialLoss,
        SafeTrainingPipeline,
    )

__all__ = [
    "ATFTCore",
    "ATFTGATFANModel",
    "ATFTTrainer",
    "CrossSectionalNormalizerV2",
    "DynamicGraphCallback",
    "FinancialGraphAttention",
    "FinancialGraphBuilder",
    "FinancialMetricsCallback",
    "FrequencyAdaptiveNorm",
    "LightGBMFinancialBaseline",
    "MultiHorizonFinancialLoss",
    "ProductionDatasetV3",
    "QualityFinancialFeaturesGenerator",
    "SafeTrainingPipeline",
    "WalkForwardSplitterV2",
    "__version__",
    "compute_max_drawdown",
    "compute_sharpe_ratio",
    "information_coefficient",
    "rank_information_coefficient",
    "settings",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ProductionDatasetV3": "gogooku3.data.dataset",
        "QualityFinancialFeaturesGenerator": "gogooku3.features.quality",
        "CrossSectionalNormalizerV2": "gogooku3.preprocessing.cross_section",
        "WalkForwardSplitterV2": "gogooku3.safety.walk_forward",
        "FinancialGraphBuilder": "gogooku3.graph.builder",
        "information_coefficient": "gogooku3.evaluation.metrics",
        "rank_information_coefficient": "gogooku3.evaluation.metrics",
        "compute_sharpe_ratio": "gogooku3.evaluation.metrics",
        "compute_max_drawdown": "gogooku3.evaluation.metrics",
        "ATFTCore": "gogooku3.models",
        "ATFTGATFANModel": "gogooku3.models",
        "FinancialGraphAttention": "gogooku3.models",
        "FrequencyAdaptiveNorm": "gogooku3.models",
        "LightGBMFinancialBaseline": "gogooku3.models",
        "ATFTTrainer": "gogooku3.training",
        "DynamicGraphCallback": "gogooku3.training",
        "FinancialMetricsCallback": "gogooku3.training",
        "MultiHorizonFinancialLoss": "gogooku3.training",
        "SafeTrainingPipeline": "gogooku3.training",
    },
)
