"""From a prediction table to one JSON-able mapping of scores, every model on the same rows."""

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import polars as pl

from gogooku3.errors import ConfigError, choices
from gogooku3.evaluation.daily import daily_ic
from gogooku3.evaluation.ensemble import RANK_AVERAGE
from gogooku3.evaluation.metrics import PERIODS_PER_YEAR, annualised_sharpe, compute_max_drawdown
from gogooku3.evaluation.portfolio import one_day_returns, portfolio_returns
from gogooku3.evaluation.predictions import ORACLE, check_predictions, shared_rows
from gogooku3.evaluation.significance import (
    bootstrap_interval,
    newey_west,
    paired_difference,
    probabilistic_sharpe,
)
from gogooku3.schema import CODE, DATE

PREFERRED_HORIZON = 5
"""Horizon of the headline where a table has it, fixed beforehand: training stops on it too."""

SEED = 0


def score_predictions(
    table: pl.DataFrame,
    cost_bps: float = 10.0,
    quantile: float = 0.2,
    headline_horizon: int | None = None,
    daily_returns: pl.DataFrame | None = None,
) -> dict[str, Any]:
    """Score every model of a prediction table by horizon, pooled over folds and fold by fold.

    All models are scored on the rows that every one of them (the oracle aside) predicts. The order of
    the table's rows changes nothing. A score that can't be had (too few days, no spread) is None.

    Args:
        table: prediction table (`schema.PREDICTION_COLUMNS`).
        cost_bps: cost of a unit of capital traded one way, in basis points.
        quantile: each leg's share of the day's stocks, in (0, 0.5].
        headline_horizon: horizon of the headline and of the best fold; null: 5 days, or without
            that the shortest. It is never chosen by its result.
        daily_returns: see `portfolio_returns`; needed only where the table lacks horizon 1.

    Returns:
        `settings`; `rows` (`given`, `scored`, `shared` by the models, `lost_by_model`, and the span);
        `comparisons`, the mean daily differences of each two models (by name, `rank_average` last); and
        `models`, by name. A model has `pooled_sharpe_net` and `pooled_sharpe_gross` (all folds, headline
        horizon), `best_fold_sharpe` (the highest of its folds, net of costs), `best_fold`,
        `best_fold_sharpe_gross` (the highest before costs, maybe another fold's) and `horizons`: by horizon
        (as text) `pooled` and `folds` (by number, as text), each with

        - `mean_ic`, `mean_rank_ic`, `icir` (mean over standard deviation of the daily ICs, not annualised),
          `positive_days` (share), `n_days`, `n_rows` (with a known target)
        - `ic_tstat`, `rank_ic_tstat` (Newey-West), `ic_interval`, `rank_ic_interval` (95 %, block bootstrap)
        - `sharpe_gross`, `sharpe_net`, `sharpe_net_interval`, `probabilistic_sharpe` (that the true net
          Sharpe is above 0), `annual_return_gross`, `annual_return_net` (mean day x 252),
          `max_drawdown_gross`, `max_drawdown_net`, `turnover` (a day), `portfolio_days`, `unknown_returns`

    Raises:
        DataError: a malformed table, no shared rows, or no one-day returns.
        ConfigError: quantile, cost or headline horizon out of range.
    """
    checked = check_predictions(table)
    scored, lost = shared_rows(checked)
    headline = _headline_horizon(scored, headline_horizon)
    one_day = one_day_returns(checked) if daily_returns is None else daily_returns
    correlations = daily_ic(scored)
    returns = portfolio_returns(scored, quantile, cost_bps, one_day)
    models = {
        model: _model_scores(correlations, returns, model, headline)
        for model in sorted(scored["model"].unique())
    }
    return {
        "settings": {
            "cost_bps": float(cost_bps),
            "quantile": float(quantile),
            "periods_per_year": PERIODS_PER_YEAR,
            "interval_level": 0.95,
            "bootstrap_seed": SEED,
            "headline_horizon": headline,
        },
        "rows": _row_counts(checked, scored, lost),
        "models": models,
        "comparisons": list(_comparisons(correlations, returns)),
    }


def _headline_horizon(table: pl.DataFrame, wanted: int | None) -> int:
    horizons = sorted(table["horizon"].unique())
    if wanted is None:
        return PREFERRED_HORIZON if PREFERRED_HORIZON in horizons else int(horizons[0])
    if wanted not in horizons:
        raise ConfigError(f"headline_horizon is {wanted}, but the predictions have {choices(horizons)}")
    return wanted


def _row_counts(checked: pl.DataFrame, scored: pl.DataFrame, lost: dict[str, int]) -> dict[str, Any]:
    return {
        "given": len(checked),
        "scored": len(scored),
        "shared": scored.select("horizon", DATE, CODE).n_unique(),
        "lost_by_model": lost,
        "n_days": scored[DATE].n_unique(),
        "n_stocks": scored[CODE].n_unique(),
        "n_folds": scored["fold"].n_unique(),
        "first_date": str(scored[DATE].min()),
        "last_date": str(scored[DATE].max()),
    }


def _model_scores(
    correlations: pl.DataFrame, returns: pl.DataFrame, model: str, headline: int
) -> dict[str, Any]:
    mine, earned = (frame.filter(pl.col("model") == model) for frame in (correlations, returns))
    horizons = {
        str(horizon): {
            "pooled": _score(*_at(mine, earned, horizon), horizon),
            "folds": {
                str(fold): _score(*_at(mine, earned, horizon, fold), horizon)
                for fold in _values(earned.filter(pl.col("horizon") == horizon), "fold")
            },
        }
        for horizon in _values(earned, "horizon")
    }
    chosen = horizons.get(str(headline), {"pooled": {}, "folds": {}})
    by_fold = {k: v["sharpe_net"] for k, v in chosen["folds"].items() if v["sharpe_net"] is not None}
    best = max(by_fold, key=by_fold.__getitem__, default=None)
    gross = [v["sharpe_gross"] for v in chosen["folds"].values() if v["sharpe_gross"] is not None]
    return {
        "is_oracle": model == ORACLE,
        "pooled_sharpe_net": chosen["pooled"].get("sharpe_net"),
        "pooled_sharpe_gross": chosen["pooled"].get("sharpe_gross"),
        "best_fold": None if best is None else int(best),
        "best_fold_sharpe": None if best is None else by_fold[best],
        "best_fold_sharpe_gross": max(gross, default=None),
        "horizons": horizons,
    }


def _values(frame: pl.DataFrame, column: str) -> list[int]:
    return [int(value) for value in frame[column].unique().sort()]


def _at(
    correlations: pl.DataFrame, returns: pl.DataFrame, horizon: int, fold: int | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both daily series of a horizon, in order of time; those of one fold, or all folds after another."""
    wanted = pl.col("horizon") == horizon
    if fold is not None:
        wanted = wanted & (pl.col("fold") == fold)
    return correlations.filter(wanted).sort(DATE), returns.filter(wanted).sort(DATE)


def _score(correlations: pl.DataFrame, returns: pl.DataFrame, horizon: int) -> dict[str, Any]:
    """Every score of two daily series; `score_predictions` says what each one is."""
    ic, rank_ic = (correlations[name].drop_nulls().to_numpy() for name in ("ic", "rank_ic"))
    gross, net = returns["gross"].to_numpy(), returns["net"].to_numpy()
    ic_test, rank_test = newey_west(ic, horizon), newey_west(rank_ic, horizon)
    spread = float(ic.std(ddof=1)) if len(ic) > 1 else 0.0
    return {
        "mean_ic": _number(ic_test.mean),
        "mean_rank_ic": _number(rank_test.mean),
        "icir": _number(ic_test.mean / spread) if spread > 0.0 else None,
        "ic_tstat": _number(ic_test.t),
        "rank_ic_tstat": _number(rank_test.t),
        "ic_interval": _interval(bootstrap_interval(ic, horizon, seed=SEED)),
        "rank_ic_interval": _interval(bootstrap_interval(rank_ic, horizon, seed=SEED)),
        "positive_days": _number(float((ic > 0.0).mean())) if len(ic) else None,
        "n_days": len(ic),
        "n_rows": int(correlations["n"].sum()),
        "sharpe_gross": _number(annualised_sharpe(gross)),
        "sharpe_net": _number(annualised_sharpe(net)),
        "sharpe_net_interval": _interval(bootstrap_interval(net, horizon, "sharpe", seed=SEED)),
        "probabilistic_sharpe": _number(probabilistic_sharpe(net)),
        "annual_return_gross": _number(float(gross.mean()) * PERIODS_PER_YEAR) if len(gross) else None,
        "annual_return_net": _number(float(net.mean()) * PERIODS_PER_YEAR) if len(net) else None,
        "max_drawdown_gross": _number(compute_max_drawdown(gross)),
        "max_drawdown_net": _number(compute_max_drawdown(net)),
        "turnover": _number(float(returns["turnover"].to_numpy().mean())) if len(net) else None,
        "portfolio_days": len(net),
        "unknown_returns": int(returns["n_unknown"].sum()),
    }


def _comparisons(correlations: pl.DataFrame, returns: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Daily differences of each two competing models, first minus second; an average of others comes last."""
    names = sorted(set(returns["model"]) - {ORACLE}, key=lambda name: (name == RANK_AVERAGE, name))
    for first, second in combinations(names, 2):
        both = [set(_values(returns.filter(pl.col("model") == name), "horizon")) for name in (first, second)]
        for horizon in sorted(both[0] & both[1]):
            entry: dict[str, Any] = {"first": first, "second": second, "horizon": horizon}
            for name, frame in (("ic", correlations), ("rank_ic", correlations), ("net", returns)):
                entry[name] = _difference(frame, name, first, second, horizon)
            yield entry


def _difference(frame: pl.DataFrame, column: str, first: str, second: str, horizon: int) -> dict[str, Any]:
    rows = frame.filter(pl.col("horizon") == horizon)
    left, right = (
        rows.filter(pl.col("model") == name).select(DATE, pl.col(column).alias(side))
        for name, side in ((first, "a"), (second, "b"))
    )
    days = left.join(right, on=DATE).drop_nulls().sort(DATE)
    test, interval = paired_difference(days["a"].to_numpy(), days["b"].to_numpy(), horizon, SEED)
    return {
        "difference": _number(test.mean),
        "tstat": _number(test.t),
        "interval": _interval(interval),
        "n_days": test.n,
    }


def _number(value: float) -> float | None:
    """A plain float; None where there is none, because JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def _interval(bounds: tuple[float, float]) -> list[float] | None:
    return [float(bound) for bound in bounds] if all(map(math.isfinite, bounds)) else None
