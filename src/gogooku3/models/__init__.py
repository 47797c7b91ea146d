"""The network and its layers, LightGBM, and saving. Never reads files of data; names load at first use."""

from typing import TYPE_CHECKING

from gogooku3.lazy import lazy_names

if TYPE_CHECKING:
    from gogooku3.models.atft_gat_fan import ATFTGATFANModel
    from gogooku3.models.frequency_norm import FrequencyAdaptiveNorm
    from gogooku3.models.graph_attention import FinancialGraphAttention
    from gogooku3.models.lightgbm_baseline import LightGBMFinancialBaseline
    from gogooku3.models.temporal import ATFTCore

__all__ = [
    "ATFTCore",
    "ATFTGATFANModel",
    "FinancialGraphAttention",
    "FrequencyAdaptiveNorm",
    "LightGBMFinancialBaseline",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ATFTCore": "gogooku3.models.temporal",
        "ATFTGATFANModel": "gogooku3.models.atft_gat_fan",
        "FinancialGraphAttention": "gogooku3.models.graph_attention",
        "FrequencyAdaptiveNorm": "gogooku3.models.frequency_norm",
        "LightGBMFinancialBaseline": "gogooku3.models.lightgbm_baseline",
    },
)
