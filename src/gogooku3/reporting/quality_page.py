"""What `data validate` found as one HTML file: self-contained, offline, light and dark, on a phone too."""

import shlex
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gogooku3.config.quality import QualityRules
from gogooku3.data.quality.check_list import CHECKS
from gogooku3.data.quality.report import ValidationReport
from gogooku3.files.atomic import write_text_atomic
from gogooku3.reporting.charts import COLOURS, DATES, canvas
from gogooku3.reporting.report import drawn, flat, spell
from gogooku3.schema import DATE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_COLUMNS = 25
"""Columns whose share of unknown values is drawn."""


def write_quality_page(
    path: Path | str, report: ValidationReport, source: Path | str, rules: QualityRules
) -> None:
    """Write a report on prices or a data set as one HTML file, whole or not at all.

    Args:
        path: the file; its folder is created.
        source: what was validated; the page is named after it.
        rules: that it was validated with.
    """
    from jinja2 import Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("gogooku3.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"spell": _spell, "drawn": drawn, "share": _share}
    found = {problem.name for problem in report.problems}
    html = environment.get_template("quality.html.j2").render(
        title=Path(source).name,
        report=report,
        kind="a data set" if report.kind == "dataset" else "prices",
        command="train" if report.kind == "dataset" else "build",
        verdict=list(_verdict(report)),
        pictures=list(_pictures(report)),
        silent=[name.replace("_", " ") for name in CHECKS if name not in found],
        rules=list(flat(rules.model_dump())),
        again=f"gogooku3 data validate {shlex.quote(str(source))}",
        plotly=get_plotlyjs(),
    )
    write_text_atomic(path, html)


def _verdict(report: ValidationReport) -> Iterator[str]:
    """The verdict and what it rests on, in sentences."""
    yield report.verdict.capitalize() + "."
    counts = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in report.counts.items() if count]
    if not counts:
        yield "Nothing was found."
        return
    yield f"Found: {', '.join(counts)}."
    if errors := report.errors:
        yield f"The gravest: {errors[0].column}, {errors[0].check}. Mend the errors and check again."
    elif report.counts["warning"]:
        yield "It can be used; each warning says what becomes of its rows."


def _pictures(report: ValidationReport) -> Iterator[dict[str, Any]]:
    """The figures, each with `title`, `reading` and whether it takes the whole width."""
    if report.days.height:
        reading = "A notch is a hole in the data; a rise that never falls, stocks chosen with hindsight."
        yield {"title": "Stocks a day", "reading": reading, "figure": _stocks(report.days), "wide": True}
    unknown = {name: share for name, share in report.missing.items() if share > 0}
    if unknown:
        reading = f"{len(unknown)} of {len(report.missing)} columns have some; the largest shares."
        yield {"title": "Unknown values", "reading": reading, "figure": _unknown(unknown), "wide": True}
    for title, closes in report.closes.items():
        yield {"title": title, "reading": "", "figure": _closes(closes), "wide": False}


def _stocks(days: pl.DataFrame) -> "Figure":
    figure = canvas("stocks")
    figure.add_scatter(
        x=days[DATE].cast(pl.String).to_list(),
        y=days["stocks"].to_list(),
        mode="lines",
        line={"color": COLOURS[0], "width": 1.5, "shape": "hv"},
        hovertemplate="%{x|%Y-%m-%d}: %{y:,}<extra></extra>",
    )
    figure.update_layout(showlegend=False, xaxis=DATES, yaxis={"rangemode": "tozero"}, height=280)
    return figure


def _unknown(shares: dict[str, float]) -> "Figure":
    most = sorted(shares.items(), key=lambda item: item[1])[-MOST_COLUMNS:]
    figure = canvas("", "share of rows", height=110 + 20 * len(most))
    figure.add_bar(
        x=[share for _, share in most],
        y=[escape(name if len(name) <= 24 else name[:23] + "…") for name, _ in most],
        orientation="h",
        marker={"color": COLOURS[0]},
        hovertemplate="%{y}: %{x:.2%}<extra></extra>",
    )
    figure.update_layout(showlegend=False, xaxis={"tickformat": "~%", "rangemode": "tozero", "nticks": 4})
    figure.update_yaxes(nticks=len(most), showgrid=False, type="category")
    return figure


def _closes(closes: pl.DataFrame) -> "Figure":
    figure = canvas("close", height=240)
    figure.add_scatter(
        x=closes[DATE].cast(pl.String).to_list(),
        y=closes["close"].to_list(),
        mode="lines+markers",
        line={"color": COLOURS[1], "width": 1.5},
        marker={"size": 4},
        hovertemplate="%{x|%Y-%m-%d}: %{y:.6g}<extra></extra>",
    )
    figure.update_layout(showlegend=False, xaxis=DATES, yaxis={"rangemode": "tozero"})
    return figure


def _spell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else spell(value)


def _share(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2%}" if value >= 0.0001 else "< 0.01%"
