"""Scores of a prediction table as one JSON-able mapping; all models are scored on the same rows."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from gogooku3.errors import ConfigError, choices
from gogooku3.evaluation.daily_series import DailySeries, daily_series, ic_decay
from gogooku3.evaluation.metrics import annualised_return, annualised_sharpe, compute_max_drawdown
from gogooku3.evaluation.portfolio import Entry, Trading
from gogooku3.evaluation.prediction_table import FORECAST, ORACLE, model_order, same_as_before
from gogooku3.evaluation.significance import (
    deflated_sharpe,
    mean_test,
    paired_difference,
    probabilistic_sharpe,
    sharpe_interval,
)
from gogooku3.schema import CODE, DATE

PREFERRED_HORIZON = 5
"""Headline horizon if the table has it, fixed in advance; early stopping monitors it by default."""


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
    delisting_return: float = 0.0,
    earlier_sharpes: Sequence[float] = (),
) -> dict[str, Any]:
    """Score every model of a prediction table by horizon: pooled over folds, by fold and by year.

    All models are scored on the rows that every competing model predicts; the oracle does not compete. The
    order of the rows has no effect. A score that is undefined (too few days, no spread) is None.

    Args:
        table: prediction table (`schema.PREDICTION_COLUMNS`).
        cost_bps, quantile, entry, borrow_rate, volume_share, prices, delisting_return: see
            `portfolio_returns`.
        headline_horizon: horizon of the headline and of the best fold; null: 5 days if the table has it, else
            the shortest. It is never chosen by its result.
        daily_returns: see `portfolio_returns`.
        earlier_sharpes: net daily Sharpe ratios (not annualised) at the headline horizon of everything tried
            before on the same data, for the deflated Sharpe ratio.

    Returns:
        `settings`; `prices` (counts of `PriceCheck`, or None); `rows` (`given`, `scored`, `shared` by the
        models, `lost_by_model`, and the date range);
        `trials` (`n`: distinct Sharpe ratios, earlier ones included; `deviation` of the daily Sharpe ratios;
        `earlier_sharpes`); `comparisons`, the mean daily differences of each pair of competing models; and
        `models`, in `model_order`. A model has

        - `pooled_sharpe_net`, `pooled_sharpe_gross` (all folds, headline horizon), `deflated_sharpe`
          (probability that the true net Sharpe ratio exceeds the best of `trials` without skill; None for the
          oracle)
        - `best_fold_sharpe` (the highest net Sharpe ratio of a fold), `best_fold`,
          `best_fold_sharpe_gross` (the highest gross one, possibly of another fold)
        - `decay`, at the headline horizon, by `lag` in days: `mean_rank_ic` with the one-day return that ends
          at that lag, `interval`, `n_days`
        - `horizons`: by horizon (as text) `pooled`, and `folds` and `years` (by number, as text)

        Each of these parts has

        - `mean_ic`, `mean_rank_ic`, `icir` (mean over standard deviation of the daily ICs, not annualised),
          `positive_days` (share), `hit_rate` (see `daily_ic`), `n_days`, `n_rows` (with a known target),
          `constant_days` (all predictions of the day are equal)
        - `ic_tstat`, `rank_ic_tstat` and `ic_interval`, `rank_ic_interval` (95 %), see
          `significance.mean_test`
        - `sharpe_gross`, `sharpe_net`, `sharpe_net_interval`, `probabilistic_sharpe` (probability that the
          true net Sharpe ratio is above 0), `annual_return_gross`, `annual_return_net` (compounded),
          `max_drawdown_gross`, `max_drawdown_net`, `turnover` (daily), `portfolio_days`, `unknown_returns`
          (positions held on a day without a known return), `delisted_positions` (held at a delisting)

        and `pooled` also `exposure` (`market_beta`, `market_correlation`, and with prices the mean
        `size_tilt` and `sector_tilt` and the median daily `capacity`) and `long_only` (the long leg;
        `annual_excess_net` and `information_ratio` are relative to holding every stock equally).

        A table that is not daily and has no daily returns has periods of `spacing_days` instead of days.

    Raises:
        DataError: see `daily_series`.
        ConfigError: a setting of the portfolios or the headline horizon is out of range.
    """
    trading = Trading(cost_bps, quantile, entry, borrow_rate, volume_share, delisting_return)
    series = daily_series(table, trading, daily_returns, prices)
    return score_series(series, headline_horizon, earlier_sharpes)


def score_series(
    series: DailySeries, headline_horizon: int | None = None, earlier_sharpes: Sequence[float] = ()
) -> dict[str, Any]:
    """Score daily series; arguments and result are those of `score_predictions`."""
    headline = headline_of(series.scored, headline_horizon)
    decay = ic_decay(series, headline)
    scored = series.scored
    names = model_order(scored["model"])
    models = {name: _model_scores(series, decay, name, headline) for name in names}
    scores = {
        "settings": {
            **asdict(series.trading),
            "periods_per_year": series.periods_per_year,
            "spacing_days": series.spacing_days,
            "interval_level": 0.95,
            "headline_horizon": headline,
        },
        "rows": {
            "given": len(series.checked),
            "scored": len(scored),
            # The models' rows for one forecast are adjacent in the canonical order.
            "shared": int((~same_as_before(scored, FORECAST)).sum()),
            "lost_by_model": series.lost,
            "n_days": scored[DATE].n_unique(),
            "n_stocks": scored[CODE].n_unique(),
            "n_folds": scored["fold"].n_unique(),
            "first_date": str(scored[DATE].min()),
            "last_date": str(scored[DATE].max()),
        },
        "prices": None if series.prices is None else series.prices.to_dict(),
        "trials": _deflate(models, series, headline, earlier_sharpes),
        "models": models,
        "comparisons": list(_comparisons(series)),
    }
    return cast(dict[str, Any], _json_ready(scores))


def headline_of(table: pl.DataFrame, requested: int | None = None) -> int:
    """Headline horizon of a table: the requested one (ConfigError if absent), else 5, else the shortest."""
    horizons = sorted(table["horizon"].unique())
    if requested is None:
        return PREFERRED_HORIZON if PREFERRED_HORIZON in horizons else int(horizons[0])
    if requested not in horizons:
        raise ConfigError(f"headline_horizon is {requested}, but the predictions have {choices(horizons)}")
    return requested


def market_exposure(returns: npt.ArrayLike, market: npt.ArrayLike) -> tuple[float, float]:
    """Beta of daily returns to the market and their correlation; NaN if either has no spread.

    >>> beta, correlation = market_exposure([0.01, 0.02, 0.03], [0.0, 0.02, 0.04])
    >>> round(beta, 6), round(correlation, 6)
    (0.5, 1.0)
    """
    x, y = np.asarray(market, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    spread = float(y.std() * x.std()) if len(y) > 1 else 0.0
    if spread <= 0.0:
        return math.nan, math.nan
    covariance = float(((y - y.mean()) * (x - x.mean())).mean())
    return covariance / float(x.var()), covariance / spread


def _model_scores(series: DailySeries, decay: pl.DataFrame, model: str, headline: int) -> dict[str, Any]:
    ic, long_short, long_only = (
        frame.filter(pl.col("model") == model).sort("horizon", DATE)
        for frame in (series.correlations, series.long_short, series.long_only)
    )
    horizons = {}
    for horizon in long_short["horizon"].unique().sort().to_list():
        daily = ic.filter(horizon=horizon), long_short.filter(horizon=horizon)
        horizons[str(horizon)] = {
            "pooled": {
                **_score(*daily, series, horizon),
                "exposure": _exposure(daily[1]),
                "long_only": _long_only(long_only.filter(horizon=horizon), series, horizon),
            },
            "folds": _by_part(*daily, series, horizon, pl.col("fold")),
            "years": _by_part(*daily, series, horizon, pl.col(DATE).dt.year()),
        }
    blocks = horizons.get(str(headline), {"pooled": {}, "folds": {}})
    net, gross = (
        {fold: block[key] for fold, block in blocks["folds"].items() if math.isfinite(block[key])}
        for key in ("sharpe_net", "sharpe_gross")
    )
    best = max(net, key=net.__getitem__, default=None)
    return {
        "is_oracle": model == ORACLE,
        "pooled_sharpe_net": blocks["pooled"].get("sharpe_net", math.nan),
        "pooled_sharpe_gross": blocks["pooled"].get("sharpe_gross", math.nan),
        "deflated_sharpe": None,
        "best_fold": None if best is None else int(best),
        "best_fold_sharpe": None if best is None else net[best],
        "best_fold_sharpe_gross": max(gross.values(), default=None),
        "decay": list(_decay_scores(decay.filter(pl.col("model") == model))),
        "horizons": horizons,
    }


def _by_part(
    ic: pl.DataFrame, returns: pl.DataFrame, series: DailySeries, horizon: int, part: pl.Expr
) -> dict[str, Any]:
    """Scores by the value of `part`, such as the fold or the year."""
    return {
        str(value): _score(ic.filter(part == value), returns.filter(part == value), series, horizon)
        for value in returns.select(part.unique().sort()).to_series()
    }


def _score(
    correlations: pl.DataFrame, returns: pl.DataFrame, series: DailySeries, horizon: int
) -> dict[str, Any]:
    ic, rank_ic = (correlations[name].drop_nulls().to_numpy() for name in ("ic", "rank_ic"))
    gross, net = returns["gross"].to_numpy(), returns["net"].to_numpy()
    ic_test, rank_test = (mean_test(values, series.target_overlap(horizon)) for values in (ic, rank_ic))
    per_year = series.periods_per_year
    spread = float(ic.std(ddof=1)) if len(ic) > 1 else 0.0
    return {
        "mean_ic": ic_test.mean,
        "mean_rank_ic": rank_test.mean,
        "icir": ic_test.mean / spread if spread > 0.0 else None,
        "ic_tstat": ic_test.t,
        "rank_ic_tstat": rank_test.t,
        "ic_interval": ic_test.interval,
        "rank_ic_interval": rank_test.interval,
        "positive_days": _mean(ic > 0.0),
        "hit_rate": correlations["hit_rate"].mean(),
        "constant_days": int(correlations["is_constant"].sum()),
        "n_days": len(ic),
        "n_rows": int(correlations["n"].sum()),
        "sharpe_gross": annualised_sharpe(gross, per_year),
        "sharpe_net": annualised_sharpe(net, per_year),
        "sharpe_net_interval": sharpe_interval(net, series.return_overlap(horizon), per_year),
        "probabilistic_sharpe": probabilistic_sharpe(net),
        "annual_return_gross": annualised_return(gross, per_year),
        "annual_return_net": annualised_return(net, per_year),
        "max_drawdown_gross": compute_max_drawdown(gross),
        "max_drawdown_net": compute_max_drawdown(net),
        "turnover": _mean(returns["turnover"].to_numpy()),
        "portfolio_days": len(net),
        "unknown_returns": int(returns["n_unknown"].sum()),
        "delisted_positions": int(returns["n_delisted"].sum()),
    }


def _exposure(returns: pl.DataFrame) -> dict[str, Any]:
    known = returns.drop_nulls("market")
    beta, correlation = market_exposure(known["net"].to_numpy(), known["market"].to_numpy())
    has_prices = "capacity" in returns.columns
    return {
        "market_beta": beta,
        "market_correlation": correlation,
        "size_tilt": returns["size_tilt"].mean() if has_prices else None,
        "sector_tilt": returns["sector_tilt"].mean() if has_prices else None,
        "capacity": returns["capacity"].median() if has_prices else None,
    }


def _long_only(returns: pl.DataFrame, series: DailySeries, horizon: int) -> dict[str, Any]:
    net, market = (returns[name].to_numpy() for name in ("net", "market"))
    excess, per_year = net - market, series.periods_per_year
    annual = annualised_return(net, per_year)
    return {
        "sharpe_gross": annualised_sharpe(returns["gross"].to_numpy(), per_year),
        "sharpe_net": annualised_sharpe(net, per_year),
        "annual_return_net": annual,
        "annual_excess_net": annual - annualised_return(market, per_year),
        "information_ratio": annualised_sharpe(excess, per_year),
        "information_ratio_interval": sharpe_interval(excess, series.return_overlap(horizon), per_year),
        "max_drawdown_net": compute_max_drawdown(net),
        "turnover": _mean(returns["turnover"].to_numpy()),
    }


def _decay_scores(decay: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for (lag,), rows in decay.sort("lag", DATE).group_by("lag", maintain_order=True):
        rank_ic = rows["rank_ic"].drop_nulls().to_numpy()
        test = mean_test(rank_ic)
        yield {
            "lag": lag,
            "mean_rank_ic": test.mean,
            "interval": test.interval,
            "n_days": len(rank_ic),
        }


def _deflate(
    models: Mapping[str, dict[str, Any]], series: DailySeries, headline: int, earlier: Sequence[float]
) -> dict[str, Any]:
    """Count the trials, and set `deflated_sharpe` of every competing model."""
    competing = [name for name in models if name != ORACLE]
    sharpes = [models[name]["pooled_sharpe_net"] for name in competing]
    own = [sharpe / math.sqrt(series.periods_per_year) for sharpe in sharpes if math.isfinite(sharpe)]
    trials = sorted({*map(float, earlier), *own})
    for name in competing:
        returns = series.long_short.filter(pl.col("model") == name, horizon=headline)
        models[name]["deflated_sharpe"] = deflated_sharpe(returns["net"].to_numpy(), trials)
    deviation = statistics.stdev(trials) if len(trials) > 1 else None
    return {"n": len(trials), "deviation": deviation, "earlier_sharpes": [float(each) for each in earlier]}


def _comparisons(series: DailySeries) -> Iterator[dict[str, Any]]:
    """Mean daily differences of each pair of competing models, first minus second."""
    frames = {"ic": series.correlations, "rank_ic": series.correlations, "net": series.long_short}
    horizons = {name: set(rows["horizon"]) for (name,), rows in series.long_short.group_by("model")}
    names = [name for name in model_order(series.long_short["model"]) if name != ORACLE]
    for first, second in combinations(names, 2):
        for horizon in sorted(horizons[first] & horizons[second]):
            pair: dict[str, Any] = {"first": first, "second": second, "horizon": horizon}
            for score, frame in frames.items():
                left, right = (
                    frame.filter(pl.col("model") == name, horizon=horizon).select(DATE, score)
                    for name in (first, second)
                )
                days = left.join(right, on=DATE, suffix="_second").drop_nulls().sort(DATE)
                values = days[score].to_numpy(), days[f"{score}_second"].to_numpy()
                overlap = series.return_overlap if score == "net" else series.target_overlap
                test = paired_difference(*values, overlap(horizon))
                pair[score] = {
                    "difference": test.mean,
                    "tstat": test.t,
                    "interval": test.interval,
                    "n_days": test.n,
                }
            yield pair


def _mean(values: npt.NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _json_ready(value: Any) -> Any:
    """Nested scores with NaN, which JSON lacks, as None, and intervals as lists."""
    if isinstance(value, dict):
        return {name: _json_ready(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_json_ready(each) for each in value]
    if isinstance(value, tuple):
        return list(value) if all(map(math.isfinite, value)) else None
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
