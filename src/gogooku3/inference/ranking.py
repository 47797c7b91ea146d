"""A day's ranking as a table for people: what each model says of each stock, how far they agree, and why."""

import numpy as np
import polars as pl

from gogooku3.errors import ConfigError, choices
from gogooku3.evaluation.scores import PREFERRED_HORIZON
from gogooku3.inference.predict import DayInputs, FoldPredictions
from gogooku3.inference.reasons import explain_samples, spell
from gogooku3.inference.saved_fold import SavedFold
from gogooku3.schema import CODE, DATE


def day_ranking(
    predictions: FoldPredictions, horizons: tuple[int, ...], sort_by: int | None = None
) -> pl.DataFrame:
    """One row a stock, the best first.

    Args:
        predictions: of one day.
        horizons: trading days ahead.
        sort_by: the horizon whose rank orders the rows; None: 5, or the shortest.

    Returns:
        `date, code`, and for each horizon h
        - `rank_{h}d` (1 is the best, equal scores share the better one) and `score_{h}d`: network and
          LightGBM averaged by rank
        - `network_{h}d`, `network_rank_{h}d`; `lightgbm_{h}d`, `lightgbm_rank_{h}d` (null without LightGBM)
        - `disagreement_{h}d`: largest difference between the ranks that any two of the networks and LightGBM
          give the stock, as a share of the largest there could be; 0 where all agree. `seed_spread_{h}d`: the
          same among the networks alone (null with one)

    Raises:
        ConfigError: `sort_by` is no horizon of the model.
    """
    leading = chosen_horizon(horizons, sort_by)
    members = list(predictions.members.values())
    table = predictions.network.select(DATE, CODE)
    n = table.height
    for horizon in horizons:
        column = f"prediction_{horizon}d"
        ranks = [_ranks(member[column]) for member in members]
        trees = predictions.lightgbm
        average, network = predictions.rank_average[column], predictions.network[column]
        unknown = pl.Series([None] * n, dtype=pl.Float32)
        table = table.with_columns(
            _ranks(average).alias(f"rank_{horizon}d"),
            average.alias(f"score_{horizon}d"),
            network.alias(f"network_{horizon}d"),
            _ranks(network).alias(f"network_rank_{horizon}d"),
            (unknown if trees is None else trees[column]).alias(f"lightgbm_{horizon}d"),
            (unknown.cast(pl.Int32) if trees is None else _ranks(trees[column])).alias(
                f"lightgbm_rank_{horizon}d"
            ),
            _spread(ranks + ([] if trees is None else [_ranks(trees[column])]), n).alias(
                f"disagreement_{horizon}d"
            ),
            _spread(ranks, n).alias(f"seed_spread_{horizon}d"),
        )
    return table.sort(f"rank_{leading}d", CODE)


def with_reasons(
    table: pl.DataFrame, fold: SavedFold, inputs: DayInputs, horizon: int, rows: np.ndarray
) -> pl.DataFrame:
    """The ranking with a column `reasons_{h}d`: for some rows, the features that set a stock apart.

    Args:
        table: as `day_ranking` made it.
        fold, inputs: what it was predicted with.
        horizon: the horizon explained.
        rows: positions in the table.
    """
    day = inputs.days[-1]
    batch = inputs.batches.gather([day])
    codes = np.array(inputs.panel.codes)[batch.stock.cpu().numpy()]
    asked = table[CODE].gather(rows).to_numpy()
    found: list[str | None] = [None] * table.height
    wanted, back = np.unique(np.searchsorted(codes, asked), return_inverse=True)
    contributions = explain_samples(fold, batch, wanted, horizon)
    for row, place in zip(rows.tolist(), back.tolist(), strict=True):
        found[row] = spell(contributions[place], inputs.panel.features)
    return table.with_columns(pl.Series(f"reasons_{horizon}d", found, dtype=pl.String))


def chosen_horizon(horizons: tuple[int, ...], wanted: int | None = None) -> int:
    """The horizon asked for, or the one that ranks where none is.

    >>> chosen_horizon((1, 5, 20)), chosen_horizon((2, 10)), chosen_horizon((1, 5), 1)
    (5, 2, 1)
    """
    if wanted is None:
        return PREFERRED_HORIZON if PREFERRED_HORIZON in horizons else horizons[0]
    if wanted not in horizons:
        raise ConfigError(
            f"the horizon asked for is {wanted}, but the model predicts {choices(horizons)} days ahead; "
            "choose one of these"
        )
    return wanted


def _ranks(scores: pl.Series) -> pl.Series:
    return scores.rank("min", descending=True).cast(pl.Int32)


def _spread(ranks: list[pl.Series], n: int) -> pl.Series:
    """Largest difference of ranks by row, from 0 to 1; null of a single ranking, or a single stock."""
    if len(ranks) < 2 or n < 2:
        return pl.Series([None] * n, dtype=pl.Float32)
    found = np.stack([each.to_numpy() for each in ranks])
    return pl.Series(((found.max(axis=0) - found.min(axis=0)) / (n - 1)).astype(np.float32))
