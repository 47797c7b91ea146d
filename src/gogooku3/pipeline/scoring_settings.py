"""The settings of a run, as arguments for scoring."""

from typing import Any

import polars as pl

from gogooku3.config import EvaluationConfig
from gogooku3.data.prices import read_prices
from gogooku3.evaluation.daily_series import DailySeries, Trading, daily_series
from gogooku3.evaluation.market import require_days


def scoring_arguments(evaluation: EvaluationConfig) -> dict[str, Any]:
    """Keyword arguments for `portfolio_returns` and `score_predictions`, with the prices read if configured.

    Raises:
        DataError: `evaluation.prices` is not a file or folder of prices.

    >>> scoring_arguments(EvaluationConfig(cost_bps=5.0))["cost_bps"]
    5.0
    """
    arguments = evaluation.model_dump()
    if evaluation.prices is not None:
        arguments["prices"] = read_prices(evaluation.prices).frame
    return arguments


def configured_series(table: pl.DataFrame, evaluation: EvaluationConfig) -> DailySeries:
    """`daily_series` of a prediction table under a run's settings; raises the same errors."""
    arguments = scoring_arguments(evaluation)
    prices = arguments.pop("prices")
    return daily_series(table, Trading(**arguments), prices=prices)


def check_prices(evaluation: EvaluationConfig, days: pl.Series) -> None:
    """Check before training that the configured prices cover the trading days that will be scored.

    Raises:
        DataError: as `scoring_arguments`, or the prices lack days.
    """
    prices = scoring_arguments(evaluation)["prices"]
    if prices is not None:
        require_days(prices, days)
