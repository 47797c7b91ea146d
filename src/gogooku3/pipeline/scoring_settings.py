"""The settings of a run, as arguments for scoring."""

from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.config import EvaluationConfig
from gogooku3.data.prices import read_prices
from gogooku3.evaluation.daily_series import DailySeries, daily_series
from gogooku3.evaluation.market import require_days
from gogooku3.evaluation.portfolio import Trading
from gogooku3.evaluation.price_check import check_prices_match
from gogooku3.files.tables import read_table
from gogooku3.runs.folder import RETURNS
from gogooku3.schema import CODE, DATE, target_column


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


def configured_series(
    table: pl.DataFrame, evaluation: EvaluationConfig, daily_returns: pl.DataFrame | None
) -> DailySeries:
    """`daily_series` of a prediction table under a run's settings; raises the same errors."""
    arguments = scoring_arguments(evaluation)
    prices = arguments.pop("prices")
    return daily_series(table, Trading(**arguments), daily_returns, prices)


def read_returns(run: Path) -> pl.DataFrame | None:
    """The run's `returns.parquet`, see `data.book_returns.daily_returns`; None for runs that have none."""
    return read_table(run / RETURNS) if (run / RETURNS).is_file() else None


def check_prices(evaluation: EvaluationConfig, index: pl.DataFrame, days: pl.Series, horizon: int) -> None:
    """Check before training that the configured prices are those of the data set.

    Args:
        evaluation: the settings.
        index: `date, code` and the targets of the data set.
        days: trading days that will be scored.
        horizon: the shortest one.

    Raises:
        DataError: as `scoring_arguments`; the prices lack days or stocks, or have other returns.
    """
    prices = scoring_arguments(evaluation)["prices"]
    if prices is not None:
        require_days(prices, days)
        target = pl.col(target_column(horizon)).alias("target")
        scored = index.filter(pl.col(DATE).is_in(days.implode()))
        check_prices_match(scored.select(DATE, CODE, target, pl.lit(horizon).alias("horizon")), prices)
