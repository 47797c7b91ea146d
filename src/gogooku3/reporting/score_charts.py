"""Charts of scores: by quantile, decile, lag, year and fold, and month; and of the stocks scored per day."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import polars as pl

from gogooku3.evaluation.prediction_table import ORACLE
from gogooku3.reporting import charts
from gogooku3.reporting.charts import COLOURS, REFERENCE, add_line, canvas
from gogooku3.schema import DATE

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

DECILES, FIFTHS = 10, 5
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def quantile_bars(quantiles: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Mean excess return per fifth, from `quantile_returns`, with 95 % intervals."""
    figure = canvas("excess return", "fifth of the ranking, lowest to highest")
    for model, rows in _by_quantile(quantiles, horizon):
        figure.add_bar(
            x=rows["quantile"].to_list(),
            y=rows["mean"].round(6).to_list(),
            name=escape(model),
            marker={"color": colours[model]},
            error_y=_quantile_bars(rows),
            hovertemplate="%{y:.2%} per horizon",
        )
    figure.update_layout(
        barmode="group", bargap=0.25, yaxis={"tickformat": ".2~%"}, xaxis={"dtick": 1, "zeroline": False}
    )
    return figure


def calibration(deciles: pl.DataFrame, horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Mean prediction against mean excess return of `quantile_returns`, and a fit through the origin."""
    figure = canvas("excess return", "mean prediction of the decile (z-score)")
    for model, rows in _by_quantile(deciles, horizon):
        score, mean = rows["score"].to_numpy(), rows["mean"].to_numpy()
        slope = float(score @ mean / (score @ score)) if score.any() else 0.0
        ends = [float(score.min()), float(score.max())]
        add_line(
            figure,
            [round(end, 3) for end in ends],
            [round(slope * end, 6) for end in ends],
            model,
            colours[model],
            dash="dot",
            width=1,
            legendgroup=model,
            showlegend=False,
            hoverinfo="skip",
        )
        add_line(
            figure,
            score.round(3).tolist(),
            mean.round(6).tolist(),
            model,
            colours[model],
            legendgroup=model,
            mode="lines+markers",
            marker={"size": 7},
            error_y=_quantile_bars(rows),
            hovertemplate="%{y:.2%}",
        )
    figure.update_layout(yaxis={"tickformat": ".2~%"})
    return figure


def ic_decay(scores: Mapping[str, Any], colours: Mapping[str, str]) -> "Figure":
    """Rank IC with one-day returns of later days, from `score_predictions`, with 95 % intervals."""
    figure = canvas("rank IC", "trading days ahead")
    for model, entry in scores["models"].items():
        lags = [lag for lag in entry["decay"] if lag["mean_rank_ic"] is not None]
        add_line(
            figure,
            [str(lag["lag"]) for lag in lags],
            [round(lag["mean_rank_ic"], 4) for lag in lags],
            model,
            colours[model],
            mode="lines+markers",
            marker={"size": 7},
            error_y=None if model == ORACLE else _interval_bars(lags, "mean_rank_ic", "interval"),
            hovertemplate="%{y:+.3f}",
        )
    figure.update_layout(xaxis={"type": "category"})
    return figure


def parts(scores: Mapping[str, Any], horizon: int, colours: Mapping[str, str]) -> "Figure":
    """Mean IC by year and by fold, from `score_predictions`, with 95 % intervals."""
    figure = canvas("mean IC")
    for model, entry in scores["models"].items():
        horizons = entry["horizons"].get(str(horizon))
        if horizons is None or (entry["is_oracle"] and len(scores["models"]) > 1):
            continue
        blocks = {
            (kind, name): block
            for kind in ("year", "fold")
            for name, block in horizons[f"{kind}s"].items()
            if block["mean_ic"] is not None
        }
        figure.add_scatter(
            # Labels of two levels: the name, and below it the kind.
            x=[[kind for kind, _ in blocks], [name for _, name in blocks]],
            y=[round(block["mean_ic"], 4) for block in blocks.values()],
            name=escape(model),
            mode="markers",
            marker={"color": colours[model], "size": 9},
            error_y=_interval_bars(list(blocks.values()), "mean_ic", "ic_interval"),
            hovertemplate="%{x}: %{y:+.3f}",
        )
    figure.update_layout(
        # Side by side instead of overlapping.
        scattermode="group",
        scattergap=0.6,
        xaxis={"type": "multicategory", "dtick": 1, "dividercolor": charts.GRID},
        legend={"y": -0.25},
    )
    return figure


def months(returns: pl.DataFrame, model: str, horizon: int) -> "Figure":
    """Heat map of a model's net return of `portfolio_returns`, compounded, by month (rows) and year."""
    rows = (
        returns.filter(pl.col("model") == model, horizon=horizon)
        .group_by(pl.col(DATE).dt.year().alias("year"), pl.col(DATE).dt.month().alias("month"))
        .agg((1.0 + pl.col("net")).product() - 1.0)
    )
    years = rows["year"].unique().sort().to_list()
    table: list[list[float | None]] = [[None] * len(years) for _ in _MONTHS]
    for year, month, net in rows.iter_rows():
        table[month - 1][years.index(year)] = round(net, 5)
    largest = max((abs(value) for row in table for value in row if value is not None), default=0.0) or 1.0
    figure = canvas(height=330)
    figure.add_heatmap(
        x=[str(year) for year in years],
        y=_MONTHS,
        z=table,
        zmin=-largest,
        zmax=largest,
        # Faint enough to keep the numbers legible on a light and on a dark page.
        colorscale=[
            [0, charts.faint(COLOURS[1], 0.65)],
            [0.5, charts.faint(REFERENCE, 0.08)],
            [1, charts.faint(COLOURS[0], 0.65)],
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
    """Number of stocks per day in a prediction table, and with a known target, at the shortest horizon."""
    shortest = charts.competing(table.filter(pl.col("horizon") == pl.col("horizon").min()))
    has_target = pl.col("target").is_not_null()
    daily = (
        shortest.group_by(DATE)
        .agg(
            pl.col("code").n_unique().alias("stocks"),
            pl.col("code").filter(has_target).n_unique().replace(0, None).alias("known"),
        )
        .sort(DATE)
    )
    figure = canvas("stocks", height=240)
    days = daily[DATE].cast(pl.String).to_list()
    add_line(figure, days, daily["stocks"].to_list(), "predicted", REFERENCE, dash="dot")
    add_line(figure, days, daily["known"].to_list(), "with a known return", COLOURS[0])
    figure.update_traces(hovertemplate="%{y:,}")
    figure.update_layout(
        hovermode="x unified", xaxis=charts.DATES, yaxis={"rangemode": "tozero", "nticks": 4}
    )
    return figure


def _by_quantile(quantiles: pl.DataFrame, horizon: int) -> Iterator[tuple[str, pl.DataFrame]]:
    return charts.by_model(charts.competing(quantiles.filter(horizon=horizon)), horizon, "quantile")


def _quantile_bars(rows: pl.DataFrame) -> dict[str, Any]:
    blocks = [
        {"mean": mean, "interval": None if low is None else (low, high)}
        for mean, low, high in rows.select("mean", "low", "high").iter_rows()
    ]
    return _interval_bars(blocks, "mean", "interval")


def _interval_bars(blocks: Sequence[Mapping[str, Any]], value: str, interval: str) -> dict[str, Any]:
    """Error bars that end at the interval's bounds; none if the interval is undefined."""
    bounds = [block[interval] or [block[value]] * 2 for block in blocks]
    up = [round(max(high - block[value], 0.0), 5) for (_, high), block in zip(bounds, blocks, strict=True)]
    down = [round(max(block[value] - low, 0.0), 5) for (low, _), block in zip(bounds, blocks, strict=True)]
    return _error_bars(up, arrayminus=down, symmetric=False)


def _error_bars(sizes: list[float], **options: Any) -> dict[str, Any]:
    return {"type": "data", "array": sizes, "thickness": 1.2, "width": 3, "color": REFERENCE, **options}
