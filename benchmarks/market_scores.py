"""Scores of the walk-forward protocol: daily IC by market and year, differences from LightGBM, bars, tables.

Reads prediction tables only; `real_market.py` trains the models.

A market's figures are means over its days; the pooled figures are means over market-years, each with the same
weight. A market's difference from LightGBM has the calibrated interval of `paired_difference` on the daily
differences of all its years. The pooled difference has a t interval whose blocks are the means of the
market-years; with a single market, which has too few years for that, it is the market's own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from scipy.special import stdtrit

from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.evaluation.significance import paired_difference
from gogooku3.schema import DATE, HORIZONS, KEYS, target_column

BASELINE, LINEAR, NETWORK = "LightGBM", "linear", "network"
TODAY, BLEND = "network without windows and graph", "network + LightGBM"
AVERAGE = "rank average of networks"
"""Models as the tables name them."""
POOLED = "all markets"
SCORES = {"rank_ic": "rank IC", "ic": "IC"}
MEAN = 0
"""In place of a horizon: each day's mean over the horizons."""
WORST_MARKET, WORST_ONE_DAY = -0.002, -0.001
"""Lowest accepted difference of the network from LightGBM: on a market, and pooled at 1 day."""
_COLUMNS = (*HORIZONS, MEAN)


@dataclass(frozen=True)
class FitFacts:
    """Facts about one fit, for the tables.

    Attributes:
        market, year, seed, model: which fit.
        seconds: of the fit; None if unknown.
        stages: of a network: rank IC on the validation days by stage and horizon.
    """

    market: str
    year: int
    seed: int
    model: str
    seconds: float | None
    stages: Mapping[str, Mapping[str, float | None]] | None = None


@dataclass(frozen=True)
class Bar:
    """A requirement, the figure that decides it, and whether it was reached."""

    name: str
    figure: str
    reached: bool


def daily_scores(members: Mapping[str, Sequence[pl.DataFrame]], targets: pl.DataFrame) -> pl.DataFrame:
    """Daily scores of every model and horizon.

    Args:
        members: by model, one frame per seed: `date, code, prediction_{h}d`.
        targets: `date, code, target_{h}d`.

    Returns:
        `model, horizon, date, rank_ic, ic`: means over the model's seeds. The horizon `MEAN` is the mean over
        all horizons, on days on which all have a score.
    """
    scores = []
    for model, frames in members.items():
        for number, frame in enumerate(frames):
            joined = frame.join(targets, on=KEYS, how="inner")
            long = pl.concat(
                joined.select(
                    DATE,
                    pl.lit(number, pl.Int32).alias("fold"),
                    pl.lit(model).alias("model"),
                    pl.lit(horizon, pl.Int32).alias("horizon"),
                    pl.col(f"prediction_{horizon}d").cast(pl.Float64).alias("prediction"),
                    pl.col(target_column(horizon)).cast(pl.Float64).alias("target"),
                )
                for horizon in HORIZONS
            )
            scores.append(daily_ic(long).select("model", "horizon", DATE, *SCORES))
    daily = pl.concat(scores).group_by("model", "horizon", DATE).agg(pl.col(*SCORES).mean())
    known = [pl.when(pl.col(score).count() == len(HORIZONS)).then(pl.col(score).mean()) for score in SCORES]
    mean = daily.group_by("model", DATE).agg(known)
    mean = mean.select("model", pl.lit(MEAN, pl.Int32).alias("horizon"), DATE, *SCORES)
    return pl.concat([daily, mean]).sort("model", "horizon", DATE)


def compare(daily: pl.DataFrame) -> pl.DataFrame:
    """Mean scores of every model, and their differences from LightGBM.

    Args:
        daily: `market, year` and the columns of `daily_scores`.

    Returns:
        `market` (with `POOLED`), `model, horizon, score, mean, difference, low, high` (95 % interval).
    """
    keys = ["market", "year", "horizon", DATE]
    baseline = daily.filter(pl.col("model") == BASELINE).drop("model")
    pairs = daily.join(baseline, on=keys, how="inner", suffix="_baseline").sort("model", *keys)
    rows = []
    for (model, horizon), own in pairs.group_by("model", "horizon", maintain_order=True):
        for score in SCORES:
            pair = own.select("market", "year", score, f"{score}_baseline").drop_nulls()
            found = {
                market: _market_row(part, score, int(horizon) or max(HORIZONS))
                for (market,), part in pair.group_by("market", maintain_order=True)
            }
            found[POOLED] = _pooled_row(pair, score) if len(found) > 1 else next(iter(found.values()))
            rows += [
                {"market": market, "model": model, "horizon": horizon, "score": score, **row}
                for market, row in found.items()
            ]
    return pl.DataFrame(rows)


def _market_row(pair: pl.DataFrame, score: str, overlap: int) -> dict[str, float]:
    test = paired_difference(pair[score], pair[f"{score}_baseline"], overlap)
    return {
        "mean": pair[score].mean(),
        "difference": test.mean,
        "low": test.interval[0],
        "high": test.interval[1],
    }


def _pooled_row(pair: pl.DataFrame, score: str) -> dict[str, float]:
    blocks = pair.group_by("market", "year").agg(pl.col(score, f"{score}_baseline").mean())
    mean, low, high = block_interval((blocks[score] - blocks[f"{score}_baseline"]).to_list())
    return {"mean": blocks[score].mean(), "difference": mean, "low": low, "high": high}


def block_interval(blocks: Sequence[float]) -> tuple[float, float, float]:
    """Mean of independent blocks with its 95 % t interval, which is NaN for fewer than two blocks.

    >>> mean, low, high = block_interval([1.0, 2.0, 3.0])
    >>> round(mean, 3), round(low, 3), round(high, 3)
    (2.0, -0.484, 4.484)
    """
    mean, n = float(np.mean(blocks)), len(blocks)
    if n < 2:
        return mean, math.nan, math.nan
    half = float(stdtrit(n - 1, 0.975) * np.std(blocks, ddof=1) / math.sqrt(n))
    return mean, mean - half, mean + half


def bars(result: pl.DataFrame) -> list[Bar]:
    """The requirements, each in rank IC and in IC.

    Args:
        result: from `compare`.
    """
    found = []
    for score, name in SCORES.items():
        rows = {
            (row["market"], row["model"], row["horizon"]): row
            for row in result.filter(pl.col("score") == score).iter_rows(named=True)
        }
        markets = [market for market in dict.fromkeys(result["market"]) if market != POOLED]
        pooled = rows[POOLED, NETWORK, MEAN]
        found.append(
            Bar(f"{name}: network above LightGBM, interval above 0", _difference(pooled), pooled["low"] > 0)
        )
        worst, where = min((rows[market, NETWORK, MEAN]["difference"], market) for market in markets)
        limit = _number(-WORST_MARKET)
        found.append(
            Bar(
                f"{name}: network on no market below LightGBM by more than {limit}",
                f"{_number(worst, sign=True)} ({where})",
                worst >= WORST_MARKET,
            )
        )
        one_day = rows[POOLED, NETWORK, 1]
        limit = _number(-WORST_ONE_DAY)
        found.append(
            Bar(
                f"{name}: network at 1 day not below LightGBM by more than {limit}",
                _difference(one_day),
                one_day["difference"] >= WORST_ONE_DAY,
            )
        )
        gain, where = min(
            (
                rows[m, BLEND, MEAN]["mean"]
                - max(rows[m, each, MEAN]["mean"] for each in (NETWORK, BASELINE)),
                m,
            )
            for m in markets
        )
        found.append(
            Bar(
                f"{name}: network + LightGBM above both on every market",
                f"{_number(gain, sign=True)} ({where})",
                gain > 0,
            )
        )
    return found


def report(daily: pl.DataFrame, facts: Sequence[FitFacts]) -> str:
    """All tables and bars as Markdown.

    Args:
        daily: as of `compare`.
        facts: of every fit.
    """
    result = compare(daily)
    models = _in_order(daily["model"].unique().to_list())
    sections, markets = [], list(dict.fromkeys(daily["market"]))
    for market in [*markets, POOLED] if len(markets) > 1 else markets:
        years = daily.filter(pl.col("market") == market)["year"].unique().sort().to_list()
        sections += [
            f"### {market}",
            "Rank IC / IC" + ("; years: the mean over horizons" if years else ""),
            _means_table(daily, result, market, models, years),
            "Difference from LightGBM [95 % interval]",
            _differences_table(result, market, models),
        ]
    sections += ["### Stages of the networks", "Rank IC on the validation days", _stages_table(facts)]
    sections += ["### Seconds per fit", _seconds_table(facts)]
    lines = [f"- {bar.name}: {bar.figure}: {'reached' if bar.reached else 'missed'}" for bar in bars(result)]
    return "\n\n".join([*sections, "### Bars", "\n".join(lines)])


def _in_order(models: Sequence[str]) -> list[str]:
    """The main models first, the variants last."""
    main = [BASELINE, LINEAR, NETWORK, AVERAGE, TODAY, BLEND]
    return [model for model in main if model in models] + sorted(set(models) - set(main))


def _means_table(
    daily: pl.DataFrame, result: pl.DataFrame, market: str, models: Sequence[str], years: Sequence[int]
) -> str:
    own = result.filter(pl.col("market") == market)
    by_year = daily.filter((pl.col("market") == market) & (pl.col("horizon") == MEAN))
    means = {(m, h, s): mean for m, h, s, mean in own.select("model", "horizon", "score", "mean").iter_rows()}
    for model, year, *values in by_year.group_by("model", "year").agg(pl.col(*SCORES).mean()).iter_rows():
        means |= {(model, year, score): value for score, value in zip(SCORES, values, strict=True)}
    columns = (*_COLUMNS, *years)
    rows = [
        [model, *(" / ".join(_number(means[model, column, score]) for score in SCORES) for column in columns)]
        for model in models
    ]
    return _markdown(["model", *map(_horizon, _COLUMNS), *map(str, years)], rows)


def _differences_table(result: pl.DataFrame, market: str, models: Sequence[str]) -> str:
    own = {
        (row["model"], row["score"], row["horizon"]): _difference(row)
        for row in result.filter(pl.col("market") == market).iter_rows(named=True)
    }
    rows = [
        [model, SCORES[score], *(own[model, score, column] for column in _COLUMNS)]
        for model, score in product(models, SCORES)
        if model != BASELINE
    ]
    return _markdown(["model", "score", *map(_horizon, _COLUMNS)], rows)


def _stages_table(facts: Sequence[FitFacts]) -> str:
    rows = [
        [fit.market, fit.year, fit.seed, fit.model, stage, *(_number(by[str(h)]) for h in HORIZONS)]
        for fit in facts
        for stage, by in (fit.stages or {}).items()
    ]
    return _markdown(["market", "year", "seed", "model", "stage", *map(_horizon, HORIZONS)], rows)


def _seconds_table(facts: Sequence[FitFacts]) -> str:
    models = _in_order(list({fit.model for fit in facts}))
    rows: dict[tuple[str, int, int], dict[str, str]] = {}
    for fit in facts:
        seconds = "?" if fit.seconds is None else f"{fit.seconds:.0f}"
        rows.setdefault((fit.market, fit.year, fit.seed), {})[fit.model] = seconds
    cells = [[*key, *(own.get(model, "") for model in models)] for key, own in rows.items()]
    return _markdown(["market", "year", "seed", *models], cells)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _horizon(horizon: int) -> str:
    return "mean" if horizon == MEAN else f"{horizon} day{'s' if horizon > 1 else ''}"


def _difference(row: Mapping[str, Any]) -> str:
    low, high = (_number(row[end], sign=True) for end in ("low", "high"))
    return f"{_number(row['difference'], sign=True)} [{low}, {high}]"


def _number(value: float | None, sign: bool = False) -> str:
    """Four decimals without the leading zero.

    >>> _number(0.0456), _number(-0.001, sign=True), _number(float("nan"))
    ('.0456', '-.0010', '?')
    """
    if value is None or math.isnan(value):
        return "?"
    return (f"{value:+.4f}" if sign else f"{value:.4f}").replace("0.", ".", 1)
