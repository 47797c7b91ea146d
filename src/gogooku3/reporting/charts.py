"""Plotly figures over time, and the parts that all figures share; text colours come from the page's theme."""

import colorsys
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from gogooku3.evaluation.metrics import equity_curve
from gogooku3.evaluation.prediction_table import ORACLE, model_order
from gogooku3.evaluation.significance import mean_test
from gogooku3.schema import DATE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Distinct for colour-blind readers and legible on white and on near-black (after Okabe and Ito, 2008).
COLOURS = ("#2b8ac6", "#d9730d", "#17a37a", "#c2569b", "#b59300", "#6f74dd")
REFERENCE = "#8a8f98"
WINDOW = 60
"""Days of a rolling mean: three months."""
_PANEL, _TITLE = 104, 24
"""Height of a panel and of its title, pixels."""
GRID = "rgba(128,128,128,0.22)"
DATES = {
    "type": "date",
    "hoverformat": "%-d %b %Y",
    "tickformatstops": [
        {"dtickrange": [None, "M1"], "value": "%-d %b %Y"},
        {"dtickrange": ["M1", "M12"], "value": "%b %Y"},
        {"dtickrange": ["M12", None], "value": "%Y"},
    ],
}
"""Date axis with labels of one line; a second line would overlap the legend."""


def model_colours(models: Sequence[str]) -> dict[str, str]:
    """A distinct colour per model, in `model_order`; the oracle is grey.

    After the palette, hues are spaced by the golden ratio.

    >>> model_colours(["oracle", "lightgbm"])
    {'lightgbm': '#2b8ac6', 'oracle': '#8a8f98'}
    """
    names = [name for name in model_order(models) if name != ORACLE]
    further = (colorsys.hls_to_rgb(0.618034 * index % 1.0, 0.5, 0.5) for index in range(len(names)))
    colours = [*COLOURS, *("#" + bytes(round(255 * part) for part in rgb).hex() for rgb in further)]
    return dict(zip(names, colours, strict=False)) | {ORACLE: REFERENCE}


def cumulative_ic(correlations: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Cumulative sum of the daily IC of each model, from `daily_ic`'s result."""
    figure = _over_time("sum of daily IC", correlations)
    for model, rows in by_model(correlations.drop_nulls("ic"), horizon):
        total = rows["ic"].cum_sum().round(4).to_list()
        add_line(figure, _days(rows), total, model, colours[model], hovertemplate="%{y:.2f}")
    return figure


def rolling_ic(correlations: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Mean IC of the last 60 days in a 95 % band, one panel per model.

    Takes the result of `daily_ic`. The oracle is a dashed line in every panel; if it is the only model, it
    has its own panel.
    """
    figure = _over_time("mean IC", correlations)
    models = by_model(correlations.drop_nulls("ic"), horizon)
    lines = {model: _rolling(rows, horizon) for model, rows in models}
    lines = {model: line for model, line in lines.items() if line[0]}
    reference = {ORACLE: lines.pop(ORACLE)} if len(lines) > 1 and ORACLE in lines else {}
    for panel, (model, (days, means, lows, highs)) in enumerate(lines.items()):
        axis = "y" if panel == 0 else f"y{panel + 1}"
        figure.add_scatter(
            x=days + days[::-1],
            y=highs + lows[::-1],
            fill="toself",
            mode="lines",
            fillcolor=faint(colours[model]),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            yaxis=axis,
        )
        for name, line in {**reference, model: (days, means)}.items():
            # The reference is in every panel; one legend entry and one hover label are enough.
            is_repeated = name == ORACLE and panel > 0
            add_line(
                figure,
                line[0],
                line[1],
                name,
                colours[name],
                showlegend=name == ORACLE and not is_repeated,
                legendgroup=name,
                hovertemplate=None if is_repeated else "%{y:+.3f}",
                hoverinfo="skip" if is_repeated else None,
                yaxis=axis,
            )
    _stack(figure, list(lines))
    return figure


def _stack(figure: "Figure", titles: Sequence[str]) -> None:
    """Arrange a figure's y axes as panels from top to bottom, with one scale and a title each."""
    n = max(len(titles), 1)
    height = max(_PANEL, 240 // n)
    plain = figure.layout.yaxis.to_plotly_json()
    for panel, title in enumerate(titles):
        top = 1.0 - panel / n - _TITLE / (height * n)
        axis = {
            **plain,
            "matches": None if panel == 0 else "y",
            "domain": [1.0 - (panel + 1) / n, top],
            "nticks": 4,
            "rangemode": "tozero",
        }
        figure.update_layout({"yaxis" if panel == 0 else f"yaxis{panel + 1}": axis})
        figure.add_annotation(
            text=f"<b>{escape(title)}</b>",
            x=0,
            xref="paper",
            xanchor="left",
            y=top,
            yref="paper",
            yanchor="bottom",
            showarrow=False,
        )
    figure.update_layout(
        height=90 + height * n, hoversubplots="axis", xaxis={"anchor": "y" if n == 1 else f"y{n}"}
    )


def _rolling(rows: pl.DataFrame, horizon: int) -> tuple[list[str], list[float], list[float], list[float]]:
    """Days, means, and bounds of rolling windows, every fifth day to keep the page small."""
    ic, days = rows["ic"].to_numpy(), _days(rows)
    ends = range(WINDOW, len(ic) + 1, 5) if len(ic) >= WINDOW else ()
    tests = [mean_test(ic[end - WINDOW : end], horizon) for end in ends]
    means = [round(test.mean, 4) for test in tests]
    low, high = (
        [round(test.interval[side] if math.isfinite(test.t) else test.mean, 4) for test in tests]
        for side in (0, 1)
    )
    return [days[end - 1] for end in ends], means, low, high


def equity(returns: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Equity and drawdown of each competing model's portfolio, from `portfolio_returns`; gross is dotted."""
    figure = _over_time("equity, starting at 1", returns)
    for model, rows in by_model(competing(returns).drop_nulls("net"), horizon):
        for kind, dash, width in (("net", "solid", 2.0), ("gross", "dot", 1.5)):
            curve = equity_curve(rows[kind].to_numpy())
            peak = np.maximum.accumulate(np.concatenate(([1.0], curve)))[1:]
            for values, axis, form in ((curve, "y", "%{y:.2f}"), (curve / peak - 1.0, "y2", "%{y:.1%}")):
                add_line(
                    figure,
                    _days(rows),
                    values.round(4).tolist(),
                    f"{model} {kind}",
                    colours[model],
                    dash=dash,
                    width=width,
                    legendgroup=model,
                    # One entry per model switches its four lines: a phone has no room for more.
                    showlegend=axis == "y" and kind == "net",
                    yaxis=axis,
                    hovertemplate=form,
                )
    second = figure.layout.yaxis.to_plotly_json()
    figure.update_layout(
        height=440,
        xaxis={"anchor": "y2"},
        yaxis={"domain": [0.36, 1.0]},
        yaxis2={
            **second,
            "title": {"text": "drawdown", "standoff": 8},
            "domain": [0.0, 0.28],
            "tickformat": ".0%",
            "nticks": 4,
            "rangemode": "tozero",
        },
    )
    return figure


def competing(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of competing models; those of the oracle if it is the only model."""
    rivals = rows.filter(pl.col("model") != ORACLE)
    return rivals if len(rivals) else rows


def add_line(
    figure: "Figure",
    x: Sequence[Any],
    y: Sequence[Any],
    name: str,
    colour: str,
    dash: str | None = None,
    width: float = 2.0,
    **options: Any,
) -> None:
    """Add a line with `options` of Plotly's scatter trace to a figure; the oracle's is dashed by default."""
    line = {"color": colour, "width": width, "dash": dash or ("dash" if name == ORACLE else "solid")}
    figure.add_scatter(**{"x": x, "y": y, "name": escape(name), "mode": "lines", "line": line} | options)


def by_model(rows: pl.DataFrame, horizon: int, order: str = DATE) -> Iterator[tuple[str, pl.DataFrame]]:
    """Sorted rows of each model at a horizon; the oracle first, so that it is drawn underneath."""
    rows = rows.filter(horizon=horizon)
    for model in sorted(model_order(rows["model"]), key=lambda model: model != ORACLE):
        yield model, rows.filter(pl.col("model") == model).sort(order)


def faint(colour: str, opacity: float = 0.16) -> str:
    """A transparent version of a colour.

    >>> faint("#ff8000")
    'rgba(255,128,0,0.16)'
    """
    red, green, blue = bytes.fromhex(colour[1:])
    return f"rgba({red},{green},{blue},{opacity})"


def _days(rows: pl.DataFrame) -> list[str]:
    return rows[DATE].cast(pl.String).to_list()


def _over_time(title: str, rows: pl.DataFrame) -> "Figure":
    """Empty figure with a date axis and a vertical line at the start of each fold but the first."""
    figure = canvas(title)
    figure.update_layout(hovermode="x unified", xaxis=DATES)
    for start in _days(rows.group_by("fold").agg(pl.col(DATE).min()).sort(DATE))[1:]:
        line = {"color": "rgba(128,128,128,0.45)", "width": 1, "dash": "dot"}
        figure.add_shape(type="line", x0=start, x1=start, y0=0, y1=1, yref="paper", line=line)
    return figure


def canvas(y_title: str = "", x_title: str = "", height: int = 330) -> "Figure":
    """Empty figure with axes, narrow margins for phones, and transparent background."""
    from plotly.graph_objects import Figure

    axis = {
        "gridcolor": GRID,
        "zerolinecolor": "rgba(128,128,128,0.5)",
        "automargin": True,
        "nticks": 6,
        # Invisible ticks keep the labels of both axes apart at the origin.
        "ticks": "outside",
        "ticklen": 7,
        "tickcolor": "rgba(0,0,0,0)",
    }
    # A layout at construction avoids building and validating Plotly's default template.
    return Figure(
        layout={
            "template": "none",
            "height": height,
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 12},
            "hovermode": "closest",
            "xaxis": {**axis, "title": {"text": x_title, "standoff": 8}, "showgrid": False},
            "yaxis": {**axis, "title": {"text": y_title, "standoff": 8}},
            "legend": {"orientation": "h", "y": -0.25 if x_title else -0.12, "yanchor": "top", "x": 0},
            "dragmode": False,
            "showlegend": True,
        }
    )
