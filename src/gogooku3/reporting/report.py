"""One HTML file that says what a run found: self-contained, offline, light and dark, on a phone too.

The file draws everything from what it carries; opening it asks nothing of the network.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gogooku3.evaluation.daily_series import DailySeries
from gogooku3.evaluation.prediction_table import ORACLE
from gogooku3.evaluation.quantiles import quantile_returns
from gogooku3.files.atomic import write_text_atomic
from gogooku3.reporting import charts, score_charts
from gogooku3.reporting.explanation_charts import explanation_figures
from gogooku3.reporting.fold_timeline import timeline, years
from gogooku3.reporting.tables import days, headline_rows, money, part_rows, portfolio_rows, verdict

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_ACCOUNT = ("files", "rows_read", "rows_kept", "dropped", "nulled", "reverting_jumps", "lasting_jumps")


@dataclass(frozen=True)
class ReportInputs:
    """What a report is made from."""

    manifest: Mapping[str, Any]
    """The run's manifest. Read where present: `experiment`, `created`, `command`, `seeds`, `versions`, `data`
    (with `prices`, see `PricesReport`), `folds` (`fold`, `embargo_days`, `prediction_spread` by horizon, and
    `_start` and `_end` of `train`, `validation` and `test`), `steps` (`name, seconds, peak_memory_gb`),
    `dropped` (`step, reason, rows`), `warnings`, `config`."""
    scores: Mapping[str, Any]
    """Scores of `series`, as returned by `score_series` or `score_predictions`."""
    series: DailySeries
    explanations: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Tables for `explanation_figures`."""
    audit: Mapping[str, Any] = field(default_factory=dict)
    """`verdict`, and the lists `findings` (`severity`, `says`), `probes` and `controls` (`name`, `meaning`,
    `outcome`, `detail`), each optional."""


def write_report(path: Path | str, inputs: ReportInputs) -> None:
    """Write a run's report as one HTML file, atomically; its folder is created."""
    from jinja2 import Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    run, scores, series = inputs.manifest, inputs.scores, inputs.series
    environment = Environment(
        loader=PackageLoader("gogooku3.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"spell": spell, "drawn": drawn, "money": money}
    colours = charts.model_colours(list(scores["models"]))
    rivals = [name for name in scores["models"] if name != ORACLE] or list(scores["models"])
    folds: Sequence[Mapping[str, Any]] = run.get("folds") or ()
    html = environment.get_template("report.html.j2").render(
        title=str(run.get("experiment", "gogooku3 run")),
        run=run,
        settings=scores["settings"],
        rows=scores["rows"],
        trials=scores["trials"],
        verdict=verdict(scores),
        cards=[_card(scores, name, colours[name]) for name in rivals],
        headline=headline_rows(scores),
        headline_horizon=days(scores["settings"]["headline_horizon"]),
        has_oracle=ORACLE in scores["models"],
        best_folds={name: entry for name, entry in scores["models"].items() if not entry["is_oracle"]},
        folds=part_rows(scores, "folds"),
        years=part_rows(scores, "years"),
        portfolio=portfolio_rows(scores),
        horizons=list(_by_horizon(scores, series, colours)),
        fading=score_charts.fading(scores, colours),
        months=[_months(scores, series, name) for name in rivals],
        facts=list(flat(_known(run.get("data") or {}))),
        coverage=score_charts.coverage(series.scored),
        explained=list(explanation_figures(inputs.explanations, colours)),
        audit=inputs.audit,
        timeline=list(timeline(folds)),
        axis=years(folds),
        spreads=_spreads(folds),
        dropped=[*(run.get("dropped") or ()), *_lost(scores)],
        slowest=max((step.get("seconds") or 0.0 for step in run.get("steps") or ()), default=0.0),
        config=list(flat(run.get("config") or {})),
        plotly=get_plotlyjs(),
    )
    write_text_atomic(path, html)


def drawn(figure: "Figure") -> str:
    """A figure as JSON that can stand inside a page: no tag in it ends or begins anything."""
    text: str = figure.to_json()
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _card(scores: Mapping[str, Any], model: str, colour: str) -> dict[str, Any]:
    """The headline of one model: its two figures with their intervals as places on a bar, and how sure."""
    entry = scores["models"][model]
    block = entry["horizons"].get(str(scores["settings"]["headline_horizon"]), {"pooled": {}})["pooled"]
    return {
        "model": model,
        "colour": colour,
        "block": block,
        "deflated": entry["deflated_sharpe"],
        "ic": _whisker(block.get("mean_ic"), block.get("ic_interval")),
        "sharpe": _whisker(block.get("sharpe_net"), block.get("sharpe_net_interval")),
    }


def _whisker(value: float | None, interval: Sequence[float] | None) -> dict[str, float] | None:
    """Where zero, the value and its interval lie on a bar, in percent of its width.

    >>> _whisker(1.0, [0.5, 1.5])
    {'zero': 6.0, 'low': 35.3, 'width': 58.7, 'value': 64.7}
    """
    if value is None or interval is None:
        return None
    low, high = min(0.0, interval[0]), max(0.0, interval[1])
    length = (high - low) or 1.0
    zero, left, right, middle = (6.0 + 88.0 * (at - low) / length for at in (0.0, *interval, value))
    spans = {"zero": zero, "low": left, "width": right - left, "value": middle}
    return {name: round(place, 1) for name, place in spans.items()}


def _by_horizon(
    scores: Mapping[str, Any], series: DailySeries, colours: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The figures of every horizon, the headline's marked: `horizon`, `name`, and the figures by name."""
    fifths = quantile_returns(series.scored, score_charts.FIFTHS)
    deciles = quantile_returns(series.scored, score_charts.DECILES)
    for horizon in sorted(series.scored["horizon"].unique()):
        rolling = charts.rolling_ic(series.correlations, horizon, colours)
        # They stand side by side.
        summed = charts.cumulative_ic(series.correlations, horizon, colours)
        summed.update_layout(height=rolling.layout.height)
        yield {
            "horizon": horizon,
            "name": days(horizon),
            "is_headline": horizon == scores["settings"]["headline_horizon"],
            "rolling": rolling,
            "ic": summed,
            "equity": charts.equity(series.long_short, horizon, colours),
            "quantiles": score_charts.quantile_bars(fifths, horizon, colours),
            "calibration": score_charts.calibration(deciles, horizon, colours),
            "parts": score_charts.parts(scores, horizon, colours),
        }


def _months(scores: Mapping[str, Any], series: DailySeries, model: str) -> tuple[str, "Figure"]:
    return model, score_charts.months(series.long_short, model, scores["settings"]["headline_horizon"])


def _spreads(folds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a fold: its number, and the spread of its predictions by horizon in words."""
    return [
        {
            "fold": fold.get("fold", place),
            "spread": {days(int(horizon)): value for horizon, value in fold["prediction_spread"].items()},
        }
        for place, fold in enumerate(folds)
        if fold.get("prediction_spread")
    ]


def _lost(scores: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What scoring on shared rows cost each model."""
    for model, rows in scores["rows"]["lost_by_model"].items():
        if rows:
            yield {"step": "scoring", "reason": f"{model}: not predicted by every model", "rows": rows}


def _known(data: Mapping[str, Any]) -> dict[str, Any]:
    """The facts about the data; of the account of its prices, what was found wrong and left out."""
    prices = data.get("prices") or {}
    told = {name: prices[name] for name in _ACCOUNT if prices.get(name)}
    return {name: value for name, value in data.items() if name != "prices"} | (
        {"prices": told} if told else {}
    )


def flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names with their values."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", spell(value)


def spell(value: object) -> str:
    """A manifest's value for people: short floats, grouped thousands, lists without brackets.

    >>> spell(606127), spell(0.0001), spell([1, 5]), spell(None), spell({"a": 1})
    ('606,127', '0.0001', '1, 5', 'null', 'a: 1')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {spell(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(spell, value))
    return str(value)
