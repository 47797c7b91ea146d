"""The report's figures, one a function, as Plotly figures that take their ink from the page's theme."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import polars as pl

from gogooku3.evaluation.metrics import equity_curve
from gogooku3.evaluation.predictions import ORACLE
from gogooku3.schema import DATE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Distinct for colour-blind readers and legible on white and on near-black (after Okabe and Ito, 2008).
COLOURS = ("#2b8ac6", "#d9730d", "#17a37a", "#c2569b", "#b59300", "#6f74dd")
REFERENCE = "#8a8f98"
GRID = "rgba(128,128,128,0.22)"
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
    figure = _empty("sum of daily IC", _fold_starts(correlations))
    rows = correlations.filter(pl.col("horizon") == horizon).drop_nulls("ic")
    for model in _models_in(rows):
        mine = rows.filter(pl.col("model") == model).sort(DATE)
        figure.add_scatter(
            x=_days(mine),
            y=mine["ic"].cum_sum().round(4).to_list(),
            name=escape(model),
            mode="lines",
            line={"color": colours[model], "width": 2, "dash": "dash" if model == ORACLE else "solid"},
            hovertemplate="%{y:.2f}",
        )
    return figure


def equity(returns: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Compounded capital of each model's books, net of costs (solid) and gross (dotted), without the oracle.

    Args:
        returns: as `portfolio_returns` returns them.
    """
    figure = _empty("capital, from 1", _fold_starts(returns))
    rows = returns.filter((pl.col("horizon") == horizon) & (pl.col("model") != ORACLE))
    for model in _models_in(rows):
        mine = rows.filter(pl.col("model") == model).sort(DATE)
        for kind, dash, width in (("net", "solid", 2), ("gross", "dot", 1.5)):
            figure.add_scatter(
                x=_days(mine),
                y=equity_curve(mine[kind].to_numpy()).round(4).tolist(),
                name=f"{escape(model)} {kind}",
                mode="lines",
                line={"color": colours[model], "width": width, "dash": dash},
                hovertemplate="%{y:.3f}",
            )
    return figure


def _models_in(rows: pl.DataFrame) -> list[str]:
    """Models with rows; the reference is drawn first, so that it lies beneath."""
    return sorted(rows["model"].unique(), key=lambda model: (model != ORACLE, model))


def _days(rows: pl.DataFrame) -> list[str]:
    return rows[DATE].cast(pl.String).to_list()


def _fold_starts(rows: pl.DataFrame) -> list[str]:
    """First days of every fold but the first."""
    return _days(rows.group_by("fold").agg(pl.col(DATE).min()).sort(DATE))[1:]


def _empty(title: str, fold_starts: Sequence[str]) -> "Figure":
    """A figure over time, with a line where each later fold starts."""
    figure = canvas(title)
    figure.update_layout(hovermode="x unified", xaxis={"type": "date"})
    for start in fold_starts:
        figure.add_vline(x=start, line={"color": "rgba(128,128,128,0.45)", "width": 1, "dash": "dot"})
    return figure


def canvas(y_title: str = "", x_title: str = "", height: int = 330) -> "Figure":
    """A figure with axes, room for a phone, and no ink of its own."""
    from plotly.graph_objects import Figure

    figure = Figure()
    axis = {
        "gridcolor": GRID,
        "zerolinecolor": "rgba(128,128,128,0.5)",
        "automargin": True,
        "nticks": 6,
        **_CLEAR_TICKS,
    }
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12},
        hovermode="closest",
        xaxis={**axis, "title": {"text": x_title, "standoff": 8}, "showgrid": False},
        yaxis={**axis, "title": {"text": y_title, "standoff": 8}},
        legend={"orientation": "h", "y": -0.25 if x_title else -0.12, "yanchor": "top", "x": 0},
        dragmode=False,
        showlegend=True,
    )
    return figure
