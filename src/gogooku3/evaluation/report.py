"""One HTML file that says what a run found: self-contained, offline, light and dark, on a phone too.

The file draws everything from what it carries; opening it asks nothing of the network.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.atomic import write_text_atomic
from gogooku3.evaluation import charts
from gogooku3.evaluation.daily import daily_ic
from gogooku3.evaluation.explanation_charts import explanation_figures
from gogooku3.evaluation.portfolio import one_day_returns, portfolio_returns
from gogooku3.evaluation.predictions import ORACLE, check_predictions, shared_rows
from gogooku3.evaluation.table import days, fold_rows, headline_rows, verdict

_PHASES = ("train", "validation", "test")


def write_report(
    path: Path | str,
    run: Mapping[str, Any],
    scores: Mapping[str, Any],
    table: pl.DataFrame,
    daily_returns: pl.DataFrame | None = None,
    explanations: Mapping[str, pl.DataFrame] | None = None,
) -> None:
    """Write a run's report as one HTML file, whole or not at all.

    Args:
        path: the file; its folder is created.
        run: the run's manifest. Read where present, left out otherwise: `experiment`, `created`,
            `command`, `seeds`, `versions`, `data`, `folds` (`fold`, `prediction_spread` by horizon, and
            `_start` and `_end` of `train`, `validation` and `test`), `steps` (`name, seconds,
            peak_memory_gb`), `dropped` (`step, reason, rows`), `config`.
        scores: as `score_predictions` returned them for `table`.
        table: the prediction table that was scored.
        daily_returns: as given to `score_predictions`.
        explanations: what the network looks at: tables as `explanation_figures` draws them.

    Raises:
        DataError: a malformed table.
    """
    write_text_atomic(path, render_report(run, scores, table, daily_returns, explanations))


def render_report(
    run: Mapping[str, Any],
    scores: Mapping[str, Any],
    table: pl.DataFrame,
    daily_returns: pl.DataFrame | None = None,
    explanations: Mapping[str, pl.DataFrame] | None = None,
) -> str:
    """The report's HTML; arguments and errors are those of `write_report`."""
    from jinja2 import Environment
    from plotly.offline import get_plotlyjs

    source = resources.files("gogooku3.evaluation").joinpath("templates/report.html.j2")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["spell"] = spell
    colours = charts.model_colours(list(scores["models"]))
    return environment.from_string(source.read_text(encoding="utf-8")).render(
        title=str(run.get("experiment", "gogooku3 run")),
        run=run,
        settings=scores["settings"],
        rows=scores["rows"],
        verdict=verdict(scores),
        headline=headline_rows(scores),
        headline_horizon=days(scores["settings"]["headline_horizon"]),
        has_oracle=ORACLE in scores["models"],
        best_folds={name: entry for name, entry in scores["models"].items() if not entry["is_oracle"]},
        folds=fold_rows(scores),
        charts=list(_charts(scores, table, daily_returns, colours)),
        explained=[
            {**each._asdict(), "html": _html(each.figure, f"explain-{each.name}")}
            for each in explanation_figures(explanations or {}, colours)
        ],
        timeline=list(_timeline(run.get("folds") or ())),
        spreads=_spreads(run.get("folds") or ()),
        dropped=[*(run.get("dropped") or ()), *_lost(scores)],
        slowest=max((step.get("seconds") or 0.0 for step in run.get("steps") or ()), default=0.0),
        config=list(_flat(run.get("config") or {})),
        plotly=get_plotlyjs(),
    )


def _charts(
    scores: Mapping[str, Any],
    table: pl.DataFrame,
    daily_returns: pl.DataFrame | None,
    colours: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    """Both charts of every horizon, the headline's first: `horizon` in words, `ic` and `equity` as HTML."""
    settings = scores["settings"]
    checked = check_predictions(table)
    scored = shared_rows(checked).table
    one_day = one_day_returns(checked) if daily_returns is None else daily_returns
    correlations = daily_ic(scored)
    returns = portfolio_returns(scored, settings["quantile"], settings["cost_bps"], one_day)
    headline = settings["headline_horizon"]
    for horizon in sorted(scored["horizon"].unique(), key=lambda each: (each != headline, each)):
        yield {
            "horizon": days(horizon),
            "ic": _html(charts.cumulative_ic(correlations, horizon, colours), f"ic-{horizon}"),
            "equity": _html(charts.equity(returns, horizon, colours), f"equity-{horizon}"),
        }


def _html(figure: Any, name: str) -> str:
    from plotly.io import to_html

    # The mode bar is left out: it links to the library's site, and a phone has no room for it.
    config = {"displayModeBar": False, "responsive": True}
    html: str = to_html(figure, config=config, include_plotlyjs=False, full_html=False, div_id=name)
    return html


def _timeline(folds: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each fold's phases with their place on a common time axis, in percent."""
    spans = [(fold, list(_phases(fold))) for fold in folds]
    ends = [day for _, phases in spans for _, first, last in phases for day in (first, last)]
    if not ends:
        return
    start, length = min(ends), max((max(ends) - min(ends)).days, 1)
    for place, (fold, phases) in enumerate(spans):
        yield {
            "fold": fold.get("fold", place),
            "phases": [
                {
                    "name": name,
                    "first": first,
                    "last": last,
                    "left": 100.0 * (first - start).days / length,
                    "width": max(100.0 * (last - first).days / length, 0.4),
                }
                for name, first, last in phases
            ],
        }


def _phases(fold: Mapping[str, Any]) -> Iterator[tuple[str, date, date]]:
    for name in _PHASES:
        first, last = fold.get(f"{name}_start"), fold.get(f"{name}_end")
        if first and last:
            yield name, date.fromisoformat(str(first)[:10]), date.fromisoformat(str(last)[:10])


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


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names with their values."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
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
