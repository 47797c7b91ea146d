"""The report's figures of scores: by quantile, by decile, by lag, by year and fold, by month."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import polars as pl

from gogooku3.evaluation.prediction_table import ORACLE
from gogooku3.reporting.charts import COLOURS, DATES, GRID, REFERENCE, canvas, competing, faint
from gogooku3.schema import DATE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

DECILES, FIFTHS = 10, 5
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def quantile_bars(quantiles: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Mean excess return of each fifth of the ranking, with two Newey-West errors.

    Args:
        quantiles: as `quantile_returns` returns them.
    """
    figure = canvas("excess return", "fifth of the ranking, lowest to highest")
    for model, rows in _rivals(quantiles, horizon):
        figure.add_bar(
            x=rows["quantile"].to_list(),
            y=rows["mean"].round(6).to_list(),
            name=escape(model),
            marker={"color": colours[model]},
            error_y=_errors(rows),
            hovertemplate="%{y:.2%} over the horizon",
        )
    figure.update_layout(
        barmode="group", bargap=0.25, yaxis={"tickformat": ".2~%"}, xaxis={"dtick": 1, "zeroline": False}
    )
    return figure


def calibration(deciles: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Each decile's mean prediction against what came of it, and the straight line through both.

    Args:
        deciles: as `quantile_returns` returns them.
    """
    figure = canvas("excess return that came", "mean prediction of the decile (z-score)")
    for model, rows in _rivals(deciles, horizon):
        score, mean = rows["score"].to_numpy(), rows["mean"].to_numpy()
        slope = float(score @ mean / (score @ score)) if score.any() else 0.0
        ends = [float(score.min()), float(score.max())]
        figure.add_scatter(
            x=[round(end, 3) for end in ends],
            y=[round(slope * end, 6) for end in ends],
            mode="lines",
            line={"color": colours[model], "width": 1, "dash": "dot"},
            legendgroup=model,
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=score.round(3).tolist(),
            y=mean.round(6).tolist(),
            name=escape(model),
            legendgroup=model,
            mode="lines+markers",
            line={"color": colours[model], "width": 2},
            marker={"size": 7},
            error_y=_errors(rows),
            hovertemplate="%{y:.2%}",
        )
    figure.update_layout(yaxis={"tickformat": ".2~%"})
    return figure


def fading(scores: Mapping[str, Any], colours: Mapping[str, str]) -> "Figure":
    """Rank IC of the headline's predictions with single later days, with 95 % intervals.

    Args:
        scores: as `score_predictions` returns them.
    """
    figure = canvas("rank IC with that day", "trading days ahead")
    for model, entry in scores["models"].items():
        known = [each for each in entry["decay"] if each["mean_rank_ic"] is not None]
        figure.add_scatter(
            x=[str(each["lag"]) for each in known],
            y=[round(each["mean_rank_ic"], 4) for each in known],
            name=escape(model),
            mode="lines+markers",
            line={"color": colours[model], "width": 2, "dash": "dash" if model == ORACLE else "solid"},
            marker={"size": 7},
            error_y=None if model == ORACLE else _spans(known, "mean_rank_ic", "interval"),
            hovertemplate="%{y:+.3f}",
        )
    figure.update_layout(xaxis={"type": "category"})
    return figure


def parts(scores: Mapping[str, Any], horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Mean IC by year and by fold, with 95 % intervals.

    Args:
        scores: as `score_predictions` returns them.
    """
    figure = canvas("mean IC")
    for model, entry in scores["models"].items():
        blocks = entry["horizons"].get(str(horizon))
        if blocks is None or (entry["is_oracle"] and len(scores["models"]) > 1):
            continue
        known = {
            (kind, name): block
            for kind in ("year", "fold")
            for name, block in blocks[f"{kind}s"].items()
            if block["mean_ic"] is not None
        }
        figure.add_scatter(
            # Two rows of labels: the kind once, below its parts.
            x=[[kind for kind, _ in known], [name for _, name in known]],
            y=[round(block["mean_ic"], 4) for block in known.values()],
            name=escape(model),
            mode="markers",
            marker={"color": colours[model], "size": 9},
            error_y=_spans(list(known.values()), "mean_ic", "ic_interval"),
            hovertemplate="%{x}: %{y:+.3f}",
        )
    # Beside one another, not on one another.
    figure.update_layout(
        scattermode="group",
        scattergap=0.6,
        xaxis={"type": "multicategory", "dtick": 1, "dividercolor": GRID},
        legend={"y": -0.25},
    )
    return figure


def months(returns: pl.DataFrame, model: str, horizon: int) -> "Figure":
    """Net return of each month of one model's books, a column a year.

    Args:
        returns: as `portfolio_returns` returns them.
    """
    rows = (
        returns.filter((pl.col("model") == model) & (pl.col("horizon") == horizon))
        .group_by(pl.col(DATE).dt.year().alias("year"), pl.col(DATE).dt.month().alias("month"))
        .agg(pl.col("net").sum())
    )
    years = rows["year"].unique().sort().to_list()
    table: list[list[float | None]] = [[None] * len(years) for _ in _MONTHS]
    for year, month, net in rows.iter_rows():
        table[month - 1][years.index(year)] = round(net, 5)
    most = max((abs(value) for row in table for value in row if value is not None), default=0.0) or 1.0
    figure = canvas(height=330)
    figure.add_heatmap(
        x=[str(year) for year in years],
        y=_MONTHS,
        z=table,
        zmin=-most,
        zmax=most,
        # Faint enough for a figure to be read on it, on a light page and on a dark one.
        colorscale=[
            [0, faint(COLOURS[1], 0.65)],
            [0.5, faint(REFERENCE, 0.08)],
            [1, faint(COLOURS[0], 0.65)],
        ],
        showscale=False,
        xgap=2,
        ygap=2,
        texttemplate="%{z:.1%}",
        hovertemplate="%{y} %{x}: %{z:.2%}<extra></extra>",
    )
    figure.update_layout(
        showlegend=False,
        xaxis={"type": "category", "side": "top"},
        yaxis={"autorange": "reversed", "type": "category", "showgrid": False, "nticks": 12},
    )
    return figure


def coverage(table: pl.DataFrame) -> "Figure":
    """How many stocks were scored a day, and for how many the outcome is known, at the shortest horizon.

    Args:
        table: prediction table, cut to the rows that models share.
    """
    shortest = competing(table.filter(pl.col("horizon") == pl.col("horizon").min()))
    daily = (
        shortest.group_by(DATE)
        .agg(
            pl.col("code").n_unique().alias("stocks"),
            pl.col("code").filter(pl.col("target").is_not_null()).n_unique().alias("known"),
        )
        .with_columns(pl.col("known").replace(0, None))
        .sort(DATE)
    )
    figure = canvas("stocks", height=240)
    for column, name, colour, dash in (
        ("stocks", "predicted", REFERENCE, "dot"),
        ("known", "outcome known", COLOURS[0], "solid"),
    ):
        figure.add_scatter(
            x=daily[DATE].cast(pl.String).to_list(),
            y=daily[column].to_list(),
            name=name,
            mode="lines",
            line={"color": colour, "width": 2, "dash": dash},
            hovertemplate="%{y:,}",
        )
    figure.update_layout(hovermode="x unified", xaxis=DATES, yaxis={"rangemode": "tozero", "nticks": 4})
    return figure


def _rivals(rows: pl.DataFrame, horizon: int) -> list[tuple[str, pl.DataFrame]]:
    """The quantiles of each competing model at a horizon."""
    mine = competing(rows.filter(pl.col("horizon") == horizon))
    models = sorted(mine["model"].unique())
    return [(model, mine.filter(pl.col("model") == model).sort("quantile")) for model in models]


def _errors(rows: pl.DataFrame) -> dict[str, Any]:
    """Bars of two Newey-West errors."""
    sizes = (1.96 * rows["error"].fill_null(0.0).to_numpy()).round(6).tolist()
    return {"type": "data", "array": sizes, "thickness": 1.2, "width": 3, "color": REFERENCE}


def _spans(blocks: list[Mapping[str, Any]], value: str, interval: str) -> dict[str, Any]:
    """Bars from the lower to the upper end of an interval; none where it can't be had."""
    ends = [block[interval] or [block[value]] * 2 for block in blocks]
    up = [round(max(high - block[value], 0.0), 5) for (_, high), block in zip(ends, blocks, strict=True)]
    down = [round(max(block[value] - low, 0.0), 5) for (low, _), block in zip(ends, blocks, strict=True)]
    bars = {"array": up, "arrayminus": down, "symmetric": False, "thickness": 1.2, "width": 3}
    return {"type": "data", "color": REFERENCE, **bars}
