"""Charts of model explanations: features, attention, graph and embeddings, drawn from tables."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from gogooku3.evaluation.prediction_table import model_order
from gogooku3.reporting.charts import COLOURS, DATES, GRID, REFERENCE, add_line, canvas

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TOP_FEATURES = 15
"""Features in the chart: the most important ones by their largest share over models."""
TOP_EDGES = 200
"""Links in the graph chart: those with the most attention."""
LEGEND_SECTORS = 12
"""Most sectors for which there is a legend; a phone has no room for more, and hovering shows the sector."""


class Explained(NamedTuple):
    """A chart with its title and one sentence on how to read it."""

    name: str
    title: str
    reading: str
    figure: "Figure"


def explanation_figures(
    explanations: Mapping[str, pl.DataFrame], colours: Mapping[str, str]
) -> Iterator[Explained]:
    """Charts of all tables that are present and not empty.

    Args:
        explanations: tables by name, those of several folds joined with a column `fold`:
            `features` (`model, feature, horizon, importance`), `attention` (`layer, head, lag, attention`),
            `neighbours` (`heard, links, attention, even`), `edges` (`receiver, source, correlation,
            attention`), `embeddings` (`date, code, x, y, sector, prediction`) and `graphs` (`month, n_edges,
            turnover`, and optionally `negative_share`).
        colours: by model, for `features`.
    """
    tables = {name: table for name, table in explanations.items() if len(table)}
    if "features" in tables:
        yield Explained(
            "importance",
            "Feature importance",
            "Share of importance: mean |gradient x input| for the network, gain for trees; averaged over "
            "horizons and folds.",
            feature_importance(tables["features"], colours),
        )
    if "attention" in tables:
        yield Explained(
            "attention",
            "Temporal attention",
            "A peak is a past day that the network uses often. Thick: mean of a layer's heads; thin: single "
            "heads; dotted: uniform attention.",
            temporal_attention(tables["attention"]),
        )
    if "edges" in tables and "neighbours" in tables:
        yield Explained(
            "neighbours",
            "Graph attention",
            "Mean attention of a stock to itself and to neighbours by |correlation|. A bar above its mark is "
            "more than uniform attention.",
            graph_attention(tables["neighbours"]),
        )
    if "edges" in tables and "embeddings" in tables:
        yield Explained(
            "graph",
            "Strongest graph links",
            f"The {TOP_EDGES} links with the most attention, between the stocks' positions in the embedding; "
            "orange: negative correlation.",
            graph_picture(*_last_common_fold(tables["edges"], tables["embeddings"])),
        )
    if "embeddings" in tables:
        table = _last_fold(tables["embeddings"])
        has_sectors = table["sector"].drop_nulls().n_unique() > 0
        coloured = "the sector" if has_sectors else "the prediction, from low (orange) to high (blue)"
        yield Explained(
            "embeddings",
            f"Stock embeddings on {table['date'][0]}",
            "Two principal components of the graph embedding: nearby stocks are similar to the network; the "
            f"colour is {coloured}.",
            embeddings(table),
        )
    if "graphs" in tables:
        yield Explained(
            "schedule",
            "Graph over time",
            "Number of links of each month's graph (top); shares of links that changed since the previous "
            "month and of negative ones (bottom). Many changes mean unstable correlations.",
            graph_schedule(tables["graphs"]),
        )


def feature_importance(features: pl.DataFrame, colours: Mapping[str, str]) -> "Figure":
    """Importance shares of the top features, one bar per model."""
    share = features.group_by("model", "feature").agg(pl.col("importance").mean())
    models = model_order(share["model"])
    wide = share.pivot("model", index="feature", values="importance").fill_null(0.0)
    top = wide.sort(pl.max_horizontal(models), "feature").tail(TOP_FEATURES)
    figure = canvas(x_title="share", height=70 + (13 * len(models) + 10) * len(top))
    for model in reversed(models):
        figure.add_bar(
            x=top[model].round(5).to_list(),
            y=[escape(name) for name in top["feature"]],
            orientation="h",
            name=escape(model),
            marker={"color": colours.get(model, REFERENCE)},
            hovertemplate="%{y}: %{x:.1%}",
        )
    figure.update_layout(
        barmode="group",
        bargap=0.3,
        legend={"traceorder": "reversed", "y": 1.02, "yanchor": "bottom"},
        xaxis={"tickformat": ".0%", "showgrid": True, "rangemode": "tozero"},
        yaxis={"showgrid": False, "dtick": 1, "tickfont": {"size": 11}},
    )
    return figure


def temporal_attention(attention: pl.DataFrame) -> "Figure":
    """Mean attention by lag: thick per layer, thin per head, dotted for uniform attention."""
    figure = canvas("attention", "trading days back")
    mean = pl.col("attention").mean()
    for index, layer in enumerate(attention["layer"].unique().sort()):
        rows = attention.filter(pl.col("layer") == layer)
        heads = rows.group_by("head", "lag").agg(mean).sort("head", "lag").partition_by("head")
        lines = [(f"layer {layer}, head {head['head'][0]}", head, True) for head in heads]
        lines.append((f"layer {layer}", rows.group_by("lag").agg(mean).sort("lag"), False))
        for name, line, is_head in lines:
            add_line(
                figure,
                line["lag"].to_list(),
                line["attention"].round(5).to_list(),
                name,
                COLOURS[index % len(COLOURS)],
                width=0.8 if is_head else 2.5,
                opacity=0.35 if is_head else 1.0,
                showlegend=not is_head,
                hovertemplate="%{x} days back: %{y:.1%}",
            )
    even = 1 / attention["lag"].n_unique()
    figure.add_hline(y=even, line={"color": REFERENCE, "width": 1.5, "dash": "dot"})
    figure.update_layout(xaxis={"autorange": "reversed"}, yaxis={"rangemode": "tozero", "tickformat": ".1~%"})
    return figure


def graph_attention(neighbours: pl.DataFrame) -> "Figure":
    """Mean attention per link, by kind of neighbour, with uniform attention as a mark."""
    pooled = neighbours.group_by("heard", maintain_order=True).agg(
        (pl.col("attention") * pl.col("links")).sum() / pl.col("links").sum(),
        even=(pl.col("even") * pl.col("links")).sum() / pl.col("links").sum(),
        links=pl.col("links").sum(),
    )
    is_itself = pooled["heard"].str.contains("^[^0-9]")
    pooled = pl.concat([pooled.filter(is_itself), pooled.filter(~is_itself).sort("heard")])
    figure = canvas("attention per link", "|correlation| of the neighbour")
    names = [name.replace(" to ", "\u2013") for name in pooled["heard"]]
    figure.add_bar(
        x=names,
        y=pooled["attention"].round(5).to_list(),
        name="attention",
        customdata=pooled["links"].to_list(),
        marker={"color": COLOURS[0]},
        hovertemplate="%{y:.1%} per link, %{customdata:,} links<extra></extra>",
    )
    figure.add_scatter(
        x=names,
        y=pooled["even"].round(5).to_list(),
        name="uniform",
        mode="markers",
        marker={"symbol": "line-ew-open", "size": 26, "color": REFERENCE, "line": {"width": 2.5}},
        hovertemplate="%{y:.1%}<extra></extra>",
    )
    figure.update_layout(xaxis={"type": "category", "dtick": 1}, yaxis={"tickformat": ".0%"}, bargap=0.4)
    return figure


def graph_picture(edges: pl.DataFrame, stocks: pl.DataFrame, top: int = TOP_EDGES) -> "Figure":
    """Links with the most attention, between the stocks' positions."""
    rounded = stocks.select("code", pl.col("x", "y").round(4))
    position = {code: (x, y) for code, x, y in rounded.iter_rows()}
    strongest = edges.sort("attention", descending=True).head(top)
    figure = canvas()
    is_positive = pl.col("correlation") >= 0
    for name, condition, colour in (
        ("positive correlation", is_positive, COLOURS[0]),
        ("negative correlation", ~is_positive, COLOURS[1]),
    ):
        links = strongest.filter(condition).select("receiver", "source").iter_rows()
        # None interrupts the line between two links.
        points = [point for ends in links for point in (*(position[code] for code in ends), (None, None))]
        if points:
            x, y = zip(*points, strict=True)
            add_line(figure, x, y, name, colour, width=1, opacity=0.45, hoverinfo="skip")
    _dots(figure, stocks, "stock", REFERENCE, size=5)
    return _without_scales(figure)


def embeddings(stocks: pl.DataFrame) -> "Figure":
    """Positions of the stocks, coloured by sector, or by prediction without sectors."""
    figure = canvas()
    sectors = stocks["sector"].drop_nulls().unique().sort().to_list()
    if sectors:
        symbols = ("circle", "diamond", "square", "triangle-up", "x")
        for index, sector in enumerate(sectors):
            _dots(
                figure,
                stocks.filter(pl.col("sector") == sector),
                sector,
                COLOURS[index % len(COLOURS)],
                symbol=symbols[index // len(COLOURS) % len(symbols)],
            )
        unknown = stocks.filter(pl.col("sector").is_null())
        if len(unknown):
            _dots(figure, unknown, "unknown sector", REFERENCE)
        figure.update_layout(showlegend=len(sectors) <= LEGEND_SECTORS)
    else:
        _dots(figure, stocks, "stock", stocks["prediction"].round(5).to_list())
        scale = [[0.0, COLOURS[1]], [0.5, REFERENCE], [1.0, COLOURS[0]]]
        middle = float(stocks["prediction"].to_numpy().mean())
        figure.update_traces(marker={"colorscale": scale, "cmid": middle})
        figure.update_layout(showlegend=False)
    return _without_scales(figure)


def graph_schedule(graphs: pl.DataFrame) -> "Figure":
    """Number of links of each month's graph, and below the shares of changed and of negative links."""
    rows = graphs.sort("month")
    months = [f"{month}-01" for month in rows["month"]]
    figure = canvas("links")
    hover = "%{x|%Y-%m}: %{y:,} links<extra></extra>"
    add_line(figure, months, rows["n_edges"].to_list(), "links", COLOURS[0], hovertemplate=hover)
    shares = (("turnover", "changed", COLOURS[1]), ("negative_share", "negative", COLOURS[3]))
    for column, name, colour in shares:
        if column in rows.columns:
            hover = f"%{{x|%Y-%m}}: %{{y:.0%}} {name}<extra></extra>"
            share = rows[column].round(4).to_list()
            add_line(figure, months, share, name, colour, yaxis="y2", hovertemplate=hover)
    second = {**figure.layout.yaxis.to_plotly_json(), "title": {"text": "share of links", "standoff": 8}}
    figure.update_layout(
        xaxis={**DATES, "anchor": "y2"},
        yaxis={"domain": [0.56, 1.0], "rangemode": "tozero", "nticks": 4},
        yaxis2={**second, "domain": [0.0, 0.42], "range": [0, 1], "tickformat": ".0%", "nticks": 4},
    )
    return figure


def _last_common_fold(edges: pl.DataFrame, stocks: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of the last fold with edges: a fold whose last day has few stocks may have none."""
    if "fold" in edges.columns:
        stocks = stocks.filter(fold=edges["fold"].max())
    return _last_fold(edges), stocks


def _last_fold(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("fold") == pl.col("fold").max()) if "fold" in table.columns else table


def _dots(
    figure: "Figure",
    stocks: pl.DataFrame,
    name: str,
    colour: str | Sequence[float],
    size: float = 7,
    symbol: str = "circle",
) -> None:
    figure.add_scatter(
        x=stocks["x"].round(4).to_list(),
        y=stocks["y"].round(4).to_list(),
        text=[escape(code) for code in stocks["code"]],
        name=escape(name),
        mode="markers",
        marker={"color": colour, "size": size, "symbol": symbol, "opacity": 0.85},
        hovertemplate="%{text}",
    )


def _without_scales(figure: "Figure") -> "Figure":
    """Hide the numbers of both axes, because only relative positions have a meaning."""
    plain = {"showticklabels": False, "showgrid": True, "gridcolor": GRID, "zeroline": False, "nticks": 8}
    figure.update_layout(height=400, xaxis=plain, yaxis=plain)
    return figure
