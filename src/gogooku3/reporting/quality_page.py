"""Report of `data validate` as one self-contained HTML file, for light and dark, desktop and phone."""

import shlex
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from gogooku3.config.quality import QualityRules
from gogooku3.data.quality.check_list import CHECKS
from gogooku3.data.quality.report import ValidationReport
from gogooku3.reporting.charts import COLOURS, DATES, canvas
from gogooku3.reporting.page import flatten, write_page
from gogooku3.schema import DATE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MAX_COLUMNS = 25
"""Columns in the chart of unknown values."""


def write_quality_page(
    path: Path | str, report: ValidationReport, source: Path | str, rules: QualityRules
) -> None:
    """Write the report atomically as one HTML file, titled by the validated `source`; creates its folder."""
    failed = {problem.name for problem in report.problems}
    context = {
        "title": Path(source).name,
        "report": report,
        "kind": "a data set" if report.kind == "dataset" else "prices",
        "command": "train" if report.kind == "dataset" else "build",
        "verdict": list(_verdict(report)),
        "charts": list(_charts(report)),
        "passed": [name.replace("_", " ") for name in CHECKS if name not in failed],
        "rules": list(flatten(rules.model_dump())),
        "rerun": f"gogooku3 data validate {shlex.quote(str(source))}",
    }
    write_page(path, "quality.html.j2", context, {"share": _format_share})


def _verdict(report: ValidationReport) -> Iterator[str]:
    """The verdict and its reasons, in sentences."""
    yield report.verdict.capitalize() + "."
    counts = [f"{count} {name}{'' if count == 1 else 's'}" for name, count in report.counts.items() if count]
    yield f"Problems: {', '.join(counts) or 'none'}."
    if errors := report.errors:
        yield f"First error: {errors[0].column}, {errors[0].check}. Correct the errors and check again."
    elif report.counts["warning"]:
        yield "It can be used; each warning states how its rows are handled."


def _charts(report: ValidationReport) -> Iterator[dict[str, Any]]:
    """Charts, each with `title`, `reading`, `figure`, and `wide` if it takes the full width."""
    if report.days.height:
        reading = "A notch means missing data; a line that only rises means stocks chosen with hindsight."
        figure = _over_time(report.days, "stocks", colour=COLOURS[0], height=280)
        yield {"title": "Stocks per day", "reading": reading, "figure": figure, "wide": True}
    unknown = {name: share for name, share in report.missing.items() if share > 0}
    if unknown:
        reading = f"{len(unknown)} of {len(report.missing)} columns have unknown values; the largest shares."
        largest = sorted(unknown.items(), key=lambda item: item[1])[-MAX_COLUMNS:]
        yield {"title": "Unknown values", "reading": reading, "figure": _bars(largest), "wide": True}
    for title, closes in report.closes.items():
        figure = _over_time(closes, "close", colour=COLOURS[1], height=240)
        yield {"title": title, "reading": "", "figure": figure, "wide": False}


def _over_time(table: pl.DataFrame, column: str, colour: str, height: int) -> "Figure":
    """Line of a column over the days: steps for counts, markers for prices."""
    counts = column == "stocks"
    figure = canvas(column, height=height)
    figure.add_scatter(
        x=table[DATE].cast(pl.String).to_list(),
        y=table[column].to_list(),
        mode="lines" if counts else "lines+markers",
        line={"color": colour, "width": 1.5, "shape": "hv" if counts else "linear"},
        marker={"size": 4},
        hovertemplate=f"%{{x|%Y-%m-%d}}: %{{y:{',' if counts else '.6g'}}}<extra></extra>",
    )
    figure.update_layout(showlegend=False, xaxis=DATES, yaxis={"rangemode": "tozero"})
    return figure


def _bars(shares: Sequence[tuple[str, float]]) -> "Figure":
    figure = canvas("", "share of rows", height=110 + 20 * len(shares))
    figure.add_bar(
        x=[share for _, share in shares],
        y=[escape(name if len(name) <= 24 else name[:23] + "…") for name, _ in shares],
        orientation="h",
        marker={"color": COLOURS[0]},
        hovertemplate="%{y}: %{x:.2%}<extra></extra>",
    )
    figure.update_layout(showlegend=False, xaxis={"tickformat": "~%", "rangemode": "tozero", "nticks": 4})
    figure.update_yaxes(nticks=len(shares), showgrid=False, type="category")
    return figure


def _format_share(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2%}" if value >= 0.0001 else "< 0.01%"
