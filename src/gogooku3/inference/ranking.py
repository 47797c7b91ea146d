"""A day's ranking for people: each model's rank of each stock, their disagreement, and reasons."""

from collections.abc import Iterable

import numpy as np
import polars as pl
import torch
from torch import Tensor

from gogooku3.errors import ConfigError, choices
from gogooku3.evaluation.scores import PREFERRED_HORIZON
from gogooku3.inference.predict import FoldPredictions
from gogooku3.inference.prepare_days import DayInputs
from gogooku3.inference.saved_fold import SavedFold
from gogooku3.models.atft_gat_fan import ModelInputs
from gogooku3.models.chunked_inference import contributions_in_chunks
from gogooku3.models.graph_attention import Neighbours
from gogooku3.schema import CODE, DATE

REFERENCE_SAMPLES = 256
"""Least number of samples in an explanation, if the day has them: the requested stocks, their neighbours, and
evenly spaced others that represent the day."""


def day_ranking(
    predictions: FoldPredictions, horizons: tuple[int, ...], sort_by: int | None = None
) -> pl.DataFrame:
    """One row per stock, the best first.

    Args:
        predictions: of one day.
        horizons: trading days ahead.
        sort_by: the horizon whose rank orders the rows; None: 5, or the shortest.

    Returns:
        `date, code`, and for each horizon h
        - `rank_{h}d` (1 is the best, ties share the better rank) and `score_{h}d`: network and
          LightGBM averaged by rank
        - `network_{h}d`, `network_rank_{h}d`; `lightgbm_{h}d`, `lightgbm_rank_{h}d` (null without LightGBM)
        - `disagreement_{h}d`: largest difference between the ranks from any two of the networks and
          LightGBM, as a share of the largest possible; 0 where all agree. `seed_spread_{h}d`: the same
          among the networks only (null with one)

    Raises:
        ConfigError: `sort_by` is not one of the horizons.
    """
    first_horizon = ranking_horizon(horizons, sort_by)
    table = predictions.network.select(DATE, CODE)
    missing = pl.Series([None] * table.height, dtype=pl.Float32)
    for horizon in horizons:
        column = f"prediction_{horizon}d"
        average, network = predictions.rank_average[column], predictions.network[column]
        seed_ranks = [_ranks(member[column]) for member in predictions.members.values()]
        lightgbm, all_ranks = missing, seed_ranks
        if predictions.lightgbm is not None:
            lightgbm = predictions.lightgbm[column]
            all_ranks = [*seed_ranks, _ranks(lightgbm)]
        columns = {
            "rank": _ranks(average),
            "score": average,
            "network": network,
            "network_rank": _ranks(network),
            "lightgbm": lightgbm,
            "lightgbm_rank": _ranks(lightgbm),
            "disagreement": _rank_spread(all_ranks),
            "seed_spread": _rank_spread(seed_ranks),
        }
        table = table.with_columns(values.alias(f"{name}_{horizon}d") for name, values in columns.items())
    return table.sort(f"rank_{first_horizon}d", CODE)


def with_reasons(
    table: pl.DataFrame, fold: SavedFold, inputs: DayInputs, horizon: int, rows: np.ndarray
) -> pl.DataFrame:
    """Add `reasons_{h}d`, the features that distinguish a stock, to some rows (positions) of `day_ranking`.

    `fold` and `inputs` are the arguments of `predict_days`.
    """
    batch = inputs.batch(inputs.days[-1])
    codes = np.array(inputs.panel.codes)[batch.stock.cpu().numpy()]
    samples = np.searchsorted(codes, table[CODE].gather(rows).to_numpy())
    explained, index = np.unique(samples, return_inverse=True)
    contributions = explain_samples(fold, batch.inputs, explained, horizon)[index]
    reasons: list[str | None] = [None] * table.height
    for row, values in zip(rows, contributions, strict=True):
        reasons[row] = format_reasons(values, inputs.panel.features)
    return table.with_columns(pl.Series(f"reasons_{horizon}d", reasons, dtype=pl.String))


def ranking_horizon(horizons: tuple[int, ...], requested: int | None = None) -> int:
    """The requested horizon, or the default one.

    >>> ranking_horizon((1, 5, 20)), ranking_horizon((2, 10)), ranking_horizon((1, 5), 1)
    (5, 2, 1)
    """
    if requested is None:
        return PREFERRED_HORIZON if PREFERRED_HORIZON in horizons else horizons[0]
    if requested not in horizons:
        raise ConfigError(
            f"the horizon is {requested}, but the model predicts {choices(horizons)} days ahead; "
            "choose one of these"
        )
    return requested


def explain_samples(fold: SavedFold, day: ModelInputs, requested: np.ndarray, horizon: int) -> np.ndarray:
    """Contribution of each feature to the predictions of requested positions, minus its mean over the day.

    Gradient x input (see `ATFTGATFANModel.explain`), mean over the fold's networks, in the precision in which
    the run predicted. A larger day is thinned out to `REFERENCE_SAMPLES`: the requested samples and all their
    neighbours stay, and the others represent the day's mean. Ranks remain those among all stocks of the day.

    Args:
        fold: its networks explain.
        day: inputs of all samples of one day.
        requested: positions of samples, ascending.
        horizon: one of the fold's.

    Returns:
        float64 `[requested, features]`, in units of the network's prediction.
    """
    kept = _thinned_out(day, requested)
    part = _subset(day, kept)
    own_rows = np.searchsorted(kept, requested)
    total: np.ndarray = np.zeros((len(requested), part.x.shape[2]))
    for model in fold.networks.values():
        with fold.precision(part.x.device):
            if part.x.is_cuda:
                output = model.to(part.x.device).explain(*part[:-1], horizons=[horizon])
                explained = output.contributions[:, 0]
            else:
                explained = contributions_in_chunks(model, part, horizon)
        contributions = explained.double().cpu().numpy()
        total += contributions[own_rows] - contributions.mean(axis=0)
    return total / len(fold.networks)


def format_reasons(contributions: np.ndarray, features: Iterable[str], most: int = 3) -> str:
    """The largest contributions with their signs, the largest first.

    >>> format_reasons(np.array([0.1, -0.25, 0.0]), ["ret_1d", "vol_20d", "rsi_14"], most=2)
    'vol_20d -0.250, ret_1d +0.100'
    """
    names = list(features)
    largest = np.argsort(-np.abs(contributions), kind="stable")[:most]
    return ", ".join(f"{names[i]} {contributions[i]:+.3f}" for i in largest if contributions[i])


def _ranks(scores: pl.Series) -> pl.Series:
    return scores.rank("min", descending=True).cast(pl.Int32)


def _rank_spread(ranks: list[pl.Series]) -> pl.Series:
    """Largest difference of ranks by row, from 0 to 1; null for a single ranking, or a single stock."""
    stocks = len(ranks[0])
    if len(ranks) < 2 or stocks < 2:
        return pl.Series([None] * stocks, dtype=pl.Float32)
    spread = np.ptp(np.stack([each.to_numpy() for each in ranks]), axis=0)
    return pl.Series((spread / (stocks - 1)).astype(np.float32))


def _thinned_out(day: ModelInputs, requested: np.ndarray) -> np.ndarray:
    """Positions of the samples in an explanation, ascending."""
    kept = requested
    if day.neighbours is not None:
        rows = torch.from_numpy(requested).to(day.x.device)
        neighbours = day.neighbours.index[rows][day.neighbours.valid[rows]]
        kept = np.union1d(requested, neighbours.cpu().numpy())
    others = np.setdiff1d(np.arange(len(day.x)), kept, assume_unique=True)
    n_others = min(max(REFERENCE_SAMPLES - len(kept), 0), len(others))
    evenly = np.linspace(0, len(others) - 1, n_others).round().astype(int) if n_others else np.empty(0, int)
    return np.union1d(kept, others[evenly])


def _subset(day: ModelInputs, kept: np.ndarray) -> ModelInputs:
    """Some samples of a day, and the links between them."""
    device = day.x.device
    rows = torch.from_numpy(kept).to(device)
    neighbours = None
    if day.neighbours is not None:
        position: Tensor = torch.full((len(day.x),), -1, dtype=torch.long, device=device)
        position[rows] = torch.arange(len(kept), device=device)
        index = position[day.neighbours.index[rows]]
        valid = day.neighbours.valid[rows] & (index >= 0)
        neighbours = Neighbours(index.clamp(min=0), day.neighbours.weight[rows] * valid, valid)
    step_mask, day_index, ranks = (
        None if part is None else part[rows] for part in (day.step_mask, day.day_index, day.ranks)
    )
    return ModelInputs(day.x[rows], step_mask, day_index, neighbours, day.market, ranks)
