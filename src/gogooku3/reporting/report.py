"""Report of a run as one self-contained HTML file, for light and dark, desktop and phone, offline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.evaluation.daily_series import DailySeries
from gogooku3.evaluation.prediction_table import ORACLE
from gogooku3.evaluation.quantiles import quantile_returns
from gogooku3.reporting import charts, score_charts
from gogooku3.reporting.explanation_charts import explanation_figures
from gogooku3.reporting.fold_timeline import fold_timeline, years
from gogooku3.reporting.page import flatten, write_page
from gogooku3.reporting.tables import (
    days,
    headline_rows,
    part_rows,
    portfolio_rows,
    scoring_notes,
    text,
    verdict,
)

_PRICE_FACTS = ("files", "rows_read", "rows_kept", "dropped", "nulled", "reverting_jumps", "lasting_jumps")


@dataclass(frozen=True)
class ReportInputs:
    """Contents of a report."""

    manifest: Mapping[str, Any]
    """The run's manifest. All keys are optional: `experiment`, `created`, `command`, `seeds`, `versions`,
    `data` (with `prices`, see `PricesReport`), `folds` (`fold`, `embargo_days`, `prediction_spread` by
    horizon, and `_start` and `_end` of `train`, `validation` and `test`), `steps` (`name, seconds,
    peak_memory_gb`), `dropped` (`step, reason, rows`), `warnings`, `config`."""
    scores: Mapping[str, Any]
    """Scores of `series`, by `score_series` or `score_predictions`."""
    series: DailySeries
    explanations: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Tables for `explanation_figures`."""
    audit: Mapping[str, Any] = field(default_factory=dict)
    """`verdict`, and the lists `findings` (`severity`, `says`), `probes` and `controls` (`name`, `meaning`,
    `outcome`, `detail`), each optional."""


def write_report(path: Path | str, inputs: ReportInputs) -> None:
    """Write a run's report as one HTML file, atomically; its folder is created."""
    manifest, scores, series = inputs.manifest, inputs.scores, inputs.series
    headline = scores["settings"]["headline_horizon"]
    colours = charts.model_colours(list(scores["models"]))
    competing = [name for name in scores["models"] if name != ORACLE] or list(scores["models"])
    folds: Sequence[Mapping[str, Any]] = manifest.get("folds") or ()
    timeline = list(fold_timeline(folds))
    steps: Sequence[Mapping[str, Any]] = manifest.get("steps") or ()
    context = {
        "title": str(manifest.get("experiment", "gogooku3 run")),
        "manifest": manifest,
        "scores": scores,
        "verdict": verdict(scores),
        "cards": [_card(scores, name, colours[name]) for name in competing],
        "headline_horizon": days(headline),
        "has_oracle": ORACLE in scores["models"],
        "competing": {name: scores["models"][name] for name in competing},
        "score_rows": headline_rows(scores),
        "fold_rows": part_rows(scores, "folds"),
        "year_rows": part_rows(scores, "years"),
        "portfolio_rows": portfolio_rows(scores),
        "scoring_notes": scoring_notes(scores),
        "horizons": list(_horizon_charts(scores, series, colours)),
        "ic_decay": score_charts.ic_decay(scores, colours),
        "months": [(name, score_charts.months(series.long_short, name, headline)) for name in competing],
        "coverage": score_charts.coverage(series.scored),
        "explanations": list(explanation_figures(inputs.explanations, colours)),
        "fold_timeline": timeline,
        "years": years(folds),
        "fold_dates": [
            {
                "Fold": fold["fold"],
                "Phase": phase["name"],
                "First day": phase["first"],
                "Last day": phase["last"],
            }
            for fold in timeline
            for phase in fold["phases"]
        ],
        "spreads": list(_prediction_spreads(folds)),
        "audit": inputs.audit,
        "data_facts": list(_data_facts(manifest.get("data") or {})),
        "dropped": list(_dropped(manifest, scores)),
        "slowest": max((step.get("seconds") or 0.0 for step in steps), default=0.0),
        "config": list(flatten(manifest.get("config") or {})),
    }
    write_page(path, "report.html.j2", context)


def _card(scores: Mapping[str, Any], model: str, colour: str) -> dict[str, Any]:
    """Headline scores of one model, with positions for its two interval bars."""
    entry = scores["models"][model]
    horizon = str(scores["settings"]["headline_horizon"])
    block = entry["horizons"].get(horizon, {"pooled": {}})["pooled"]
    return {
        "model": model,
        "colour": colour,
        "block": block,
        "deflated": entry["deflated_sharpe"],
        "ic": _whisker(block.get("mean_ic"), block.get("ic_interval")),
        "sharpe": _whisker(block.get("sharpe_net"), block.get("sharpe_net_interval")),
    }


def _whisker(value: float | None, interval: Sequence[float] | None) -> dict[str, float] | None:
    """Positions of zero, the value and its interval on a bar, in percent of its width.

    >>> _whisker(1.0, [0.5, 1.5])
    {'zero': 6.0, 'low': 35.3, 'width': 58.7, 'value': 64.7}
    """
    if value is None or interval is None:
        return None
    low, high = min(0.0, interval[0]), max(0.0, interval[1])
    length = (high - low) or 1.0
    zero, left, right, middle = (6.0 + 88.0 * (at - low) / length for at in (0.0, *interval, value))
    positions = {"zero": zero, "low": left, "width": right - left, "value": middle}
    return {name: round(position, 1) for name, position in positions.items()}


def _horizon_charts(
    scores: Mapping[str, Any], series: DailySeries, colours: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    fifths = quantile_returns(series.scored, score_charts.FIFTHS)
    deciles = quantile_returns(series.scored, score_charts.DECILES)
    for horizon in sorted(series.scored["horizon"].unique()):
        rolling = charts.rolling_ic(series.correlations, horizon, colours)
        cumulative = charts.cumulative_ic(series.correlations, horizon, colours)
        # Both charts are side by side.
        cumulative.update_layout(height=rolling.layout.height)
        yield {
            "horizon": horizon,
            "name": days(horizon),
            "is_headline": horizon == scores["settings"]["headline_horizon"],
            "rolling": rolling,
            "cumulative": cumulative,
            "equity": charts.equity(series.long_short, horizon, colours),
            "quantiles": score_charts.quantile_bars(fifths, horizon, colours),
            "calibration": score_charts.calibration(deciles, horizon, colours),
            "parts": score_charts.parts(scores, horizon, colours),
        }


def _prediction_spreads(folds: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for index, fold in enumerate(folds):
        if spread := fold.get("prediction_spread"):
            by_horizon = {days(int(h)): text(value, "{:.3f}".format) for h, value in spread.items()}
            yield {"Fold": fold.get("fold", index), **by_horizon}


def _dropped(manifest: Mapping[str, Any], scores: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for drop in manifest.get("dropped") or ():
        yield {"Step": drop["step"], "Reason": drop["reason"], "Rows": drop["rows"]}
    for model, rows in scores["rows"]["lost_by_model"].items():
        if rows:
            yield {"Step": "scoring", "Reason": f"{model}: not predicted by every model", "Rows": rows}


def _data_facts(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Facts about the data set, and counts of problems in its prices that are not zero."""
    prices = data.get("prices") or {}
    counts = {name: prices[name] for name in _PRICE_FACTS if prices.get(name)}
    facts = {name: value for name, value in data.items() if name != "prices"}
    for name, value in flatten(facts | ({"prices": counts} if counts else {})):
        yield name.replace("n_", "").replace("_", " ").replace(".", ": "), value
