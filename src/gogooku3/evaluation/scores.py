"""From a prediction table to one JSON-able mapping of scores, every model on the same rows."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gogooku3.errors import ConfigError, choices
from gogooku3.evaluation.daily_series import DailySeries, Trading, daily_series, decay
from gogooku3.evaluation.metrics import PERIODS_PER_YEAR, annualised_sharpe, compute_max_drawdown
from gogooku3.evaluation.portfolio import Entry
from gogooku3.evaluation.prediction_table import FORECAST, ORACLE, same_as_before
from gogooku3.evaluation.rank_average import RANK_AVERAGE
from gogooku3.evaluation.significance import (
    bootstrap_interval,
    deflated_sharpe,
    newey_west,
    paired_difference,
    probabilistic_sharpe,
)
from gogooku3.schema import CODE, DATE

PREFERRED_HORIZON = 5
"""Horizon of the headline where a table has it, fixed beforehand: training stops on it too."""

SEED = 0
_TILTS = ("size_tilt", "sector_tilt")


def score_predictions(
    table: pl.DataFrame,
    cost_bps: float = 10.0,
    quantile: float = 0.2,
    headline_horizon: int | None = None,
    daily_returns: pl.DataFrame | None = None,
    *,
    entry: Entry = "close",
    borrow_rate: float = 0.0,
    volume_share: float = 0.01,
    prices: pl.DataFrame | None = None,
    earlier_sharpes: Sequence[float] = (),
) -> dict[str, Any]:
    """Score every model of a prediction table by horizon, pooled over folds, fold by fold and by year.

    All models are scored on the rows that every one of them (the oracle aside) predicts. The order of
    the table's rows changes nothing. A score that can't be had (too few days, no spread) is None.

    Args:
        table: prediction table (`schema.PREDICTION_COLUMNS`).
        cost_bps: cost of a unit of capital traded one way, in basis points.
        quantile: each leg's share of the day's stocks, in (0, 0.5].
        headline_horizon: horizon of the headline and of the best fold; null: 5 days, or without
            that the shortest. It is never chosen by its result.
        daily_returns: see `portfolio_returns`; needed only without horizon 1 and `return_1d`.
        entry, borrow_rate, volume_share, prices: see `portfolio_returns`.
        earlier_sharpes: net Sharpe ratios a day (not annualised) at the headline horizon of everything
            that was tried on the same data before, for the deflated Sharpe.

    Returns:
        `settings`; `rows` (`given`, `scored`, `shared` by the models, `lost_by_model`, and the span);
        `trials` (`n`: earlier ones and this table's models, equal ones once; `deviation` of their Sharpe
        ratios a day; `earlier_sharpes`); `comparisons`, the mean daily differences of each two models (by
        name, `rank_average` last); and `models`, by name. A model has

        - `pooled_sharpe_net`, `pooled_sharpe_gross` (all folds, headline horizon), `deflated_sharpe` (that
          the true net Sharpe there beats the best of `trials` without skill; None for the oracle)
        - `best_fold_sharpe` (the highest of its folds, net of costs), `best_fold`,
          `best_fold_sharpe_gross` (the highest before costs, maybe another fold's)
        - `decay`, at the headline horizon, by `lag` in days: `mean_rank_ic` with the return of the single
          day that ends then, `interval`, `n_days`
        - `horizons`: by horizon (as text) `pooled`, and `folds` and `years` (by number, as text)

        Each part of a horizon has

        - `mean_ic`, `mean_rank_ic`, `icir` (mean over standard deviation of the daily ICs, not annualised),
          `positive_days` (share), `hit_rate` (see `daily_ic`), `n_days`, `n_rows` (with a known target)
        - `ic_tstat`, `rank_ic_tstat` (Newey-West), `ic_interval`, `rank_ic_interval` (95 %, block bootstrap)
        - `sharpe_gross`, `sharpe_net`, `sharpe_net_interval`, `probabilistic_sharpe` (that the true net
          Sharpe is above 0), `annual_return_gross`, `annual_return_net` (mean day x 252),
          `max_drawdown_gross`, `max_drawdown_net`, `turnover` (a day), `portfolio_days`, `unknown_returns`

        and `pooled` also `exposure` (`market_beta`, `market_correlation`, and from prices the mean
        `size_tilt`, `sector_tilt` and the `capacity` of the median day) and `long_only` (see `_long_only`).

    Raises:
        DataError: a malformed table, no shared rows, no one-day returns, or malformed prices.
        ConfigError: quantile, cost, fee, entry or headline horizon out of range.
    """
    trading = Trading(cost_bps, quantile, entry, borrow_rate, volume_share)
    series = daily_series(table, trading, daily_returns, prices)
    return score_series(series, headline_horizon, earlier_sharpes)


def score_series(
    series: DailySeries,
    headline_horizon: int | None = None,
    earlier_sharpes: Sequence[float] = (),
) -> dict[str, Any]:
    """The scores of daily series; `score_predictions` says what they are."""
    scored = series.scored
    headline = headline_of(scored, headline_horizon)
    fading = decay(series, headline)
    models = {
        model: _model_scores(series, fading, model, headline) for model in sorted(scored["model"].unique())
    }
    trials = _count_trials(models, series, headline, earlier_sharpes)
    return {
        "settings": {
            **asdict(series.trading),
            "periods_per_year": PERIODS_PER_YEAR,
            "interval_level": 0.95,
            "bootstrap_seed": SEED,
            "headline_horizon": headline,
        },
        "rows": _row_counts(series.checked, scored, series.lost),
        "trials": trials,
        "models": models,
        "comparisons": list(_comparisons(series.correlations, series.long_short)),
    }


def headline_of(table: pl.DataFrame, wanted: int | None = None) -> int:
    """The horizon of the headline: the one wanted, else 5 days, else the shortest.

    Raises:
        ConfigError: the table doesn't have the one wanted.
    """
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
        # Models that predict the same are neighbours in the canonical order.
        "shared": int((~same_as_before(scored, FORECAST)).sum()),
        "lost_by_model": lost,
        "n_days": scored[DATE].n_unique(),
        "n_stocks": scored[CODE].n_unique(),
        "n_folds": scored["fold"].n_unique(),
        "first_date": str(scored[DATE].min()),
        "last_date": str(scored[DATE].max()),
    }


def _model_scores(series: DailySeries, fading: pl.DataFrame, model: str, headline: int) -> dict[str, Any]:
    mine, earned, long = (
        frame.filter(pl.col("model") == model).join(series.market, on=DATE, how="left", maintain_order="left")
        for frame in (series.correlations, series.long_short, series.long_only)
    )
    horizons = {}
    for horizon in _values(earned, "horizon"):
        pooled = [_at(frame, horizon) for frame in (mine, earned, long)]
        horizons[str(horizon)] = {
            "pooled": {
                **_score(pooled[0], pooled[1], horizon),
                "exposure": _exposure(pooled[1]),
                "long_only": _long_only(pooled[2], horizon),
            },
            "folds": _parts(pooled[0], pooled[1], pl.col("fold"), horizon),
            "years": _parts(pooled[0], pooled[1], pl.col(DATE).dt.year(), horizon),
        }
    chosen = horizons.get(str(headline), {"pooled": {}, "folds": {}})
    by_fold = {k: v["sharpe_net"] for k, v in chosen["folds"].items() if v["sharpe_net"] is not None}
    best = max(by_fold, key=by_fold.__getitem__, default=None)
    gross = [v["sharpe_gross"] for v in chosen["folds"].values() if v["sharpe_gross"] is not None]
    return {
        "is_oracle": model == ORACLE,
        "pooled_sharpe_net": chosen["pooled"].get("sharpe_net"),
        "pooled_sharpe_gross": chosen["pooled"].get("sharpe_gross"),
        "deflated_sharpe": None,
        "best_fold": None if best is None else int(best),
        "best_fold_sharpe": None if best is None else by_fold[best],
        "best_fold_sharpe_gross": max(gross, default=None),
        "decay": list(_fading(fading.filter(pl.col("model") == model))),
        "horizons": horizons,
    }


def _parts(correlations: pl.DataFrame, returns: pl.DataFrame, key: pl.Expr, horizon: int) -> dict[str, Any]:
    """The scores of each fold, or each year."""
    keys = returns.select(key.unique().sort()).to_series().to_list()
    return {
        str(value): _score(correlations.filter(key == value), returns.filter(key == value), horizon)
        for value in keys
    }


def _fading(rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for lag in rows["lag"].unique().sort():
        daily = rows.filter(pl.col("lag") == lag).sort(DATE)["rank_ic"].drop_nulls().to_numpy()
        test, interval = newey_west(daily), bootstrap_interval(daily, seed=SEED)
        yield {
            "lag": int(lag),
            "mean_rank_ic": _number(test.mean),
            "interval": _interval(interval),
            "n_days": len(daily),
        }


def _count_trials(
    models: dict[str, dict[str, Any]], series: DailySeries, headline: int, earlier: Sequence[float]
) -> dict[str, Any]:
    """How many Sharpe ratios there were to choose from; tells each model how its own looks beside that."""
    year = math.sqrt(PERIODS_PER_YEAR)
    rivals = {name: entry for name, entry in models.items() if not entry["is_oracle"]}
    own = [e["pooled_sharpe_net"] / year for e in rivals.values() if e["pooled_sharpe_net"] is not None]
    trials = sorted({*map(float, earlier), *own})
    for name, entry in rivals.items():
        mine = (pl.col("model") == name) & (pl.col("horizon") == headline)
        net = series.long_short.filter(mine)["net"].to_numpy()
        entry["deflated_sharpe"] = _number(deflated_sharpe(net, trials))
    deviation = statistics.stdev(trials) if len(trials) > 1 else None
    return {"n": len(trials), "deviation": deviation, "earlier_sharpes": [float(each) for each in earlier]}


def _values(frame: pl.DataFrame, column: str) -> list[int]:
    return [int(value) for value in frame[column].unique().sort()]


def _at(frame: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """A daily series of one horizon in order of time, all folds after another."""
    return frame.filter(pl.col("horizon") == horizon).sort(DATE)


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
        "hit_rate": correlations["hit_rate"].mean(),
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


def _exposure(returns: pl.DataFrame) -> dict[str, Any]:
    """What the books lean on: the market by regression of net returns, and what prices tell."""
    known = returns.drop_nulls("market")
    beta, correlation = market_exposure(known["net"].to_numpy(), known["market"].to_numpy())
    means = {name: returns[name].mean() if name in returns.columns else None for name in _TILTS}
    capacity = returns["capacity"].median() if "capacity" in returns.columns else None
    return {
        "market_beta": _number(beta),
        "market_correlation": _number(correlation),
        **means,
        "capacity": capacity,
    }


def market_exposure(returns: npt.ArrayLike, market: npt.ArrayLike) -> tuple[float, float]:
    """Slope of daily returns on the market's, and their correlation; NaN where either doesn't move.

    >>> beta, correlation = market_exposure([0.01, 0.02, 0.03], [0.0, 0.02, 0.04])
    >>> round(beta, 6), round(correlation, 6)
    (0.5, 1.0)
    """
    mine, theirs = np.asarray(returns, dtype=np.float64), np.asarray(market, dtype=np.float64)
    spread = float(mine.std() * theirs.std()) if len(mine) > 1 else 0.0
    if spread <= 0.0:
        return math.nan, math.nan
    shared = float(((mine - mine.mean()) * (theirs - theirs.mean())).mean())
    return shared / float(theirs.var()), shared / spread


def _long_only(returns: pl.DataFrame, horizon: int) -> dict[str, Any]:
    """The long leg alone, and against holding every stock alike (`excess`, `information_ratio`)."""
    gross, net = returns["gross"].to_numpy(), returns["net"].to_numpy()
    excess = (returns["net"] - returns["market"]).drop_nulls().to_numpy()
    return {
        "sharpe_gross": _number(annualised_sharpe(gross)),
        "sharpe_net": _number(annualised_sharpe(net)),
        "annual_return_net": _number(float(net.mean()) * PERIODS_PER_YEAR) if len(net) else None,
        "annual_excess_net": _number(float(excess.mean()) * PERIODS_PER_YEAR) if len(excess) else None,
        "information_ratio": _number(annualised_sharpe(excess)),
        "information_ratio_interval": _interval(bootstrap_interval(excess, horizon, "sharpe", seed=SEED)),
        "max_drawdown_net": _number(compute_max_drawdown(net)),
        "turnover": _number(float(returns["turnover"].to_numpy().mean())) if len(net) else None,
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
