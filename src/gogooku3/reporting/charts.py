"""The report's figures over time, as Plotly figures that take their ink from the page's theme."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gogooku3.evaluation.metrics import equity_curve
from gogooku3.evaluation.prediction_table import ORACLE
from gogooku3.evaluation.significance import newey_west
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
"""An axis of days, whose labels take one line: on two, they would lie on the legend."""
# Invisible ticks keep the labels of both axes apart at the origin.
_CLEAR_TICKS = {"ticks": "outside", "ticklen": 7, "tickcolor": "rgba(0,0,0,0)"}


def model_colours(models: Sequence[str]) -> dict[str, str]:
    """One colour a model, in alphabetical order; the oracle is grey.

    >>> model_colours(["oracle", "lightgbm"])["oracle"]
    '#8a8f98'
    """
    rivals = sorted(set(models) - {ORACLE})
    colours = {model: COLOURS[place % len(COLOURS)] for place, model in enumerate(rivals)}
    return colours | {ORACLE: REFERENCE}


def cumulative_ic(correlations: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Running sum of the daily IC of each model: a steady slope is steady skill.

    Args:
        correlations: as `daily_ic` returns them.
    """
    figure = _over_time("sum of daily IC", _fold_starts(correlations))
    for model, mine in _by_model(correlations, horizon, "ic"):
        figure.add_scatter(
            x=_days(mine),
            y=mine["ic"].cum_sum().round(4).to_list(),
            name=escape(model),
            mode="lines",
            line=_line(colours[model], model),
            hovertemplate="%{y:.2f}",
        )
    return figure


def rolling_ic(correlations: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Mean IC of the last 60 days in a band of two Newey-West errors, a panel a model.

    The oracle is a dashed line in every panel; alone, it has a panel itself.

    Args:
        correlations: as `daily_ic` returns them.
    """
    figure = _over_time("mean IC", _fold_starts(correlations))
    lines = {model: _rolling(rows, horizon) for model, rows in _by_model(correlations, horizon, "ic")}
    lines = {model: line for model, line in lines.items() if line[0]}
    reference = lines.pop(ORACLE) if len(lines) > 1 and ORACLE in lines else None
    for place, (model, (days, means, errors)) in enumerate(lines.items()):
        axis = "y" if place == 0 else f"y{place + 1}"
        upper, lower = (
            [round(m + sign * 1.96 * e, 4) for m, e in zip(means, errors, strict=True)] for sign in (1, -1)
        )
        figure.add_scatter(
            x=days + days[::-1],
            y=upper + lower[::-1],
            fill="toself",
            mode="lines",
            fillcolor=faint(colours[model]),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            yaxis=axis,
        )
        if reference is not None:
            _mean_line(figure, reference, ORACLE, colours, axis)
        _mean_line(figure, (days, means, errors), model, colours, axis)
    _stack(figure, list(lines))
    return figure


_Rolling = tuple[list[str], list[float], list[float]]


def _mean_line(
    figure: "Figure", rolling: _Rolling, model: str, colours: Mapping[str, str], axis: str
) -> None:
    """A line of rolling means; a reference that others are drawn with is told of once."""
    is_told = axis == "y" or model != ORACLE
    figure.add_scatter(
        x=rolling[0],
        y=[round(mean, 4) for mean in rolling[1]],
        name=escape(model),
        showlegend=is_told and model == ORACLE,
        legendgroup=model,
        mode="lines",
        line=_line(colours[model], model),
        hovertemplate="%{y:+.3f}" if is_told else None,
        hoverinfo=None if is_told else "skip",
        yaxis=axis,
    )


def _stack(figure: "Figure", titles: Sequence[str]) -> None:
    """Lay a figure's y axes out as panels of one scale below one another, each under its title."""
    n = max(len(titles), 1)
    panel = max(_PANEL, 240 // n)
    plain = figure.layout.yaxis.to_plotly_json()
    for place, title in enumerate(titles):
        top = 1.0 - place / n - _TITLE / (panel * n)
        axis = {
            **plain,
            "matches": None if place == 0 else "y",
            "domain": [1.0 - (place + 1) / n, top],
            "nticks": 4,
            "rangemode": "tozero",
        }
        figure.update_layout({"yaxis" if place == 0 else f"yaxis{place + 1}": axis})
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
        height=90 + panel * n,
        hoversubplots="axis",
        xaxis={"anchor": "y" if n == 1 else f"y{n}"},
    )


def _rolling(rows: pl.DataFrame, horizon: int) -> _Rolling:
    """Every fifth day, so that the page stays light, with the mean and error of the days up to it."""
    ic, days = rows["ic"].to_numpy(), _days(rows)
    ends = range(WINDOW, len(ic) + 1, 5) if len(ic) >= WINDOW else ()
    tests = [newey_west(ic[end - WINDOW : end], horizon) for end in ends]
    errors = [test.standard_error if math.isfinite(test.standard_error) else 0.0 for test in tests]
    return [days[end - 1] for end in ends], [test.mean for test in tests], errors


def equity(returns: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Compounded capital of each competing model's books and, below, its fall from its peak.

    Net of costs is solid, gross dotted.

    Args:
        returns: as `portfolio_returns` returns them.
    """
    figure = _over_time("capital, from 1", _fold_starts(returns))
    for model, mine in _by_model(competing(returns), horizon, "net"):
        for kind, dash, width in (("net", "solid", 2), ("gross", "dot", 1.5)):
            capital = equity_curve(mine[kind].to_numpy())
            peak = np.maximum.accumulate(np.concatenate(([1.0], capital)))[1:]
            line = {"color": colours[model], "width": width, "dash": dash}
            for values, axis, shown in ((capital, "y", True), (capital / peak - 1.0, "y2", False)):
                figure.add_scatter(
                    x=_days(mine),
                    y=values.round(4).tolist(),
                    name=f"{escape(model)} {kind}",
                    legendgroup=model,
                    # One entry a model, which switches all four lines: a phone has no room for more.
                    showlegend=shown and kind == "net",
                    mode="lines",
                    line=line,
                    yaxis=axis,
                    hovertemplate="%{y:.2f}" if shown else "%{y:.1%}",
                )
    below = figure.layout.yaxis.to_plotly_json()
    figure.update_layout(
        height=440,
        xaxis={"anchor": "y2"},
        yaxis={"domain": [0.36, 1.0]},
        yaxis2={
            **below,
            "title": {"text": "below peak", "standoff": 8},
            "domain": [0.0, 0.28],
            "tickformat": ".0%",
            "nticks": 4,
            "rangemode": "tozero",
        },
    )
    return figure


def competing(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of competing models; an oracle alone stands for itself."""
    rivals = rows.filter(pl.col("model") != ORACLE)
    return rivals if len(rivals) else rows


def _by_model(rows: pl.DataFrame, horizon: int, column: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """The days of each model at a horizon; the reference comes first, so that it lies beneath."""
    mine = rows.filter(pl.col("horizon") == horizon).drop_nulls(column)
    for model in sorted(mine["model"].unique(), key=lambda model: (model != ORACLE, model)):
        yield model, mine.filter(pl.col("model") == model).sort(DATE)


def _line(colour: str, model: str) -> dict[str, object]:
    return {"color": colour, "width": 2, "dash": "dash" if model == ORACLE else "solid"}


def faint(colour: str, opacity: float = 0.16) -> str:
    """A colour that lets others through.

    >>> faint("#ff8000")
    'rgba(255,128,0,0.16)'
    """
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _days(rows: pl.DataFrame) -> list[str]:
    return rows[DATE].cast(pl.String).to_list()


def _fold_starts(rows: pl.DataFrame) -> list[str]:
    """First days of every fold but the first."""
    return _days(rows.group_by("fold").agg(pl.col(DATE).min()).sort(DATE))[1:]


def _over_time(title: str, fold_starts: Sequence[str]) -> "Figure":
    """A figure over time, with a line where each later fold starts."""
    figure = canvas(title)
    figure.update_layout(hovermode="x unified", xaxis=DATES)
    for start in fold_starts:
        line = {"color": "rgba(128,128,128,0.45)", "width": 1, "dash": "dot"}
        figure.add_shape(type="line", x0=start, x1=start, y0=0, y1=1, yref="paper", line=line)
    return figure


def canvas(y_title: str = "", x_title: str = "", height: int = 330) -> "Figure":
    """A figure with axes, room for a phone, and no ink of its own."""
    from plotly.graph_objects import Figure

    axis = {
        "gridcolor": GRID,
        "zerolinecolor": "rgba(128,128,128,0.5)",
        "automargin": True,
        "nticks": 6,
        **_CLEAR_TICKS,
    }
    # All at once: updated afterwards, Plotly's own template would be built and checked first.
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
