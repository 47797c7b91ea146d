"""What a run's settings say about scoring, as the arguments that scoring takes."""

from typing import Any

import polars as pl

from gogooku3.config import EvaluationConfig
from gogooku3.data.prices import read_prices
from gogooku3.evaluation.market import refuse_missing_days


def scoring_arguments(evaluation: EvaluationConfig) -> dict[str, Any]:
    """Keyword arguments for `score_predictions`, with the prices read where the settings name them.

    Raises:
        DataError: `evaluation.prices` names no file or folder, or one that holds no prices.

    >>> scoring_arguments(EvaluationConfig(cost_bps=5.0))["cost_bps"]
    5.0
    """
    arguments = evaluation.model_dump()
    if evaluation.prices is not None:
        arguments["prices"] = read_prices(evaluation.prices).frame
    return arguments


def check_prices(evaluation: EvaluationConfig, days: pl.Series) -> None:
    """Refuse before a training the prices that scoring would refuse after it.

    Args:
        evaluation: the settings.
        days: trading days that will be scored.

    Raises:
        DataError: as `scoring_arguments`, or the prices lack days.
    """
    prices = scoring_arguments(evaluation)["prices"]
    if prices is not None:
        refuse_missing_days(prices, days)
