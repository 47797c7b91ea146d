"""What a network looks at, as figures. They draw the tables they are given and know no model."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from gogooku3.reporting.charts import COLOURS, DATES, GRID, REFERENCE, canvas

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

TOP_FEATURES = 15
"""Features drawn: the most important of each model, by its larger share."""
TOP_EDGES = 200
"""Links drawn into the picture of the graph: those that get the most attention."""

LEGEND_SECTORS = 12
"""With more sectors than this there is no legend: a phone has no room, and pointing at a stock tells."""


class Explained(NamedTuple):
    """A figure with its title and one sentence on how to read it."""

    name: str
    title: str
    reading: str
    figure: "Figure"


def explanation_figures(
    explanations: Mapping[str, pl.DataFrame], colours: Mapping[str, str]
) -> Iterator[Explained]:
    """The figures that the tables allow; a table that is missing or empty is left out.

    Args:
        explanations: tables by name, those of several folds joined with a column `fold`:
            `features` (`model, feature, horizon, importance`), `attention` (`layer, head, lag, attention`),
            `neighbours` (`heard, links, attention, even`), `edges` (`receiver, source, correlation,
            attention`), `embeddings` (`date, code, x, y, sector, prediction`) and `graphs` (`month, n_edges,
            turnover`, and `negative_share` where known).
        colours: one a model, for `features`.
    """
    tables = {name: table for name, table in explanations.items() if len(table)}
    if "features" in tables:
        yield Explained(
            "importance",
            "Which features count",
            "The longer the bar, the more the feature tells the stocks of a day apart: for the network by "
            "mean size of gradient x input, for trees by gain; shares, averaged over horizons and folds.",
            feature_importance(tables["features"], colours),
        )
    if "attention" in tables:
        yield Explained(
            "attention",
            "How far back it looks",
            "A peak is a day of the past that the network asks often: thick, a layer's mean over its heads; "
            "thin, the single heads; dotted, a look at every day alike.",
            temporal_attention(tables["attention"]),
        )
    if "edges" in tables and "neighbours" in tables:
        yield Explained(
            "neighbours",
            "Whom it listens to",
            "A bar above its mark is preferred: a stock hears itself, or neighbours of such a correlation, "
            "more than it would by hearing all alike.",
            graph_attention(tables["neighbours"]),
        )
    if "edges" in tables and "embeddings" in tables:
        yield Explained(
            "graph",
            "The links it listens to most",
            "Stocks stand where the next figure has them; a line joins a stock with a neighbour it listens "
            f"to (the {TOP_EDGES} links with most attention), orange where the two move apart.",
            graph_picture(_last_fold(tables["edges"]), _last_fold(tables["embeddings"])),
        )
    if "embeddings" in tables:
        table = _last_fold(tables["embeddings"])
        known = table["sector"].drop_nulls().n_unique() > 0
        coloured = "its sector" if known else "the prediction, from low (orange) to high (blue)"
        yield Explained(
            "embeddings",
            f"How it sees the stocks, on {table['date'][0]}",
            "Stocks that the network sees alike lie close together (two principal components of the graph "
            f"embedding); the colour is {coloured}.",
            embeddings(table),
        )
    if "graphs" in tables:
        yield Explained(
            "schedule",
            "The graph through time",
            "Above, how many links each month's graph has; below, the share of them that changed since the "
            "month before (a high share: correlations that do not last), and the share that is negative.",
            graph_schedule(tables["graphs"]),
        )


def feature_importance(features: pl.DataFrame, colours: Mapping[str, str]) -> "Figure":
    """Shares of the features that count most, model beside model."""
    share = features.group_by("model", "feature").agg(pl.col("importance").mean())
    models = sorted(share["model"].unique())
    wide = share.pivot("model", index="feature", values="importance").fill_null(0.0)
    top = (
        wide.with_columns(pl.max_horizontal(models).alias("most")).sort("most", "feature").tail(TOP_FEATURES)
    )
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
    """Mean attention by lag: a thick line a layer, thin ones for its heads, dotted for an even look."""
    figure = canvas("attention", "trading days back")
    mean = pl.col("attention").mean()
    layers = attention["layer"].unique().sort().to_list()
    for place, layer in enumerate(layers):
        own = attention.filter(pl.col("layer") == layer)
        colour = COLOURS[place % len(COLOURS)]
        heads = own.group_by("head", "lag").agg(mean).sort("head", "lag").partition_by("head")
        for head in heads:
            _line(figure, head, f"layer {layer}, head {head['head'][0]}", colour, thin=True)
        _line(figure, own.group_by("lag").agg(mean).sort("lag"), f"layer {layer}", colour)
    figure.add_hline(
        y=1 / attention["lag"].n_unique(), line={"color": REFERENCE, "width": 1.5, "dash": "dot"}
    )
    figure.update_layout(xaxis={"autorange": "reversed"}, yaxis={"rangemode": "tozero", "tickformat": ".1~%"})
    return figure


def graph_attention(neighbours: pl.DataFrame) -> "Figure":
    """Mean attention a link, by whom it leads to, beside what an even ear would give."""
    pooled = neighbours.group_by("heard", maintain_order=True).agg(
        (pl.col("attention") * pl.col("links")).sum() / pl.col("links").sum(),
        even=(pl.col("even") * pl.col("links")).sum() / pl.col("links").sum(),
        links=pl.col("links").sum(),
    )
    itself = pooled["heard"].str.contains("^[^0-9]")
    pooled = pl.concat([pooled.filter(itself), pooled.filter(~itself).sort("heard")])
    figure = canvas("attention a link", "|correlation| of the neighbour")
    place = [name.replace(" to ", "\u2013") for name in pooled["heard"]]
    figure.add_bar(
        x=place,
        y=pooled["attention"].round(5).to_list(),
        name="heard",
        customdata=pooled["links"].to_list(),
        marker={"color": COLOURS[0]},
        hovertemplate="%{y:.1%} a link, %{customdata:,} links<extra></extra>",
    )
    figure.add_scatter(
        x=place,
        y=pooled["even"].round(5).to_list(),
        name="all alike",
        mode="markers",
        marker={"symbol": "line-ew-open", "size": 26, "color": REFERENCE, "line": {"width": 2.5}},
        hovertemplate="%{y:.1%}<extra></extra>",
    )
    figure.update_layout(xaxis={"type": "category", "dtick": 1}, yaxis={"tickformat": ".0%"}, bargap=0.4)
    return figure


def graph_picture(edges: pl.DataFrame, stocks: pl.DataFrame, top: int = TOP_EDGES) -> "Figure":
    """The links that get most attention, drawn between the stocks' places."""
    place = {code: (x, y) for code, x, y in stocks.select("code", "x", "y").iter_rows()}
    drawn = edges.sort("attention", descending=True).head(top)
    figure = canvas()
    kinds = (("move together", pl.col("correlation") >= 0, 0), ("move apart", pl.col("correlation") < 0, 1))
    for name, member, colour in kinds:
        x: list[float | None] = []
        y: list[float | None] = []
        for receiver, source in drawn.filter(member).select("receiver", "source").iter_rows():
            ends = (place[receiver], place[source])
            x += [round(ends[0][0], 4), round(ends[1][0], 4), None]
            y += [round(ends[0][1], 4), round(ends[1][1], 4), None]
        if x:
            figure.add_scatter(
                x=x,
                y=y,
                mode="lines",
                name=name,
                opacity=0.45,
                line={"color": COLOURS[colour], "width": 1},
                hoverinfo="skip",
            )
    _dots(figure, stocks, "stock", REFERENCE, size=5)
    return _without_scales(figure)


def embeddings(stocks: pl.DataFrame) -> "Figure":
    """The stocks' places, coloured by sector, or by prediction where no sector is known."""
    figure = canvas()
    sectors = stocks["sector"].drop_nulls().unique().sort().to_list()
    if sectors:
        symbols = ("circle", "diamond", "square", "triangle-up", "x")
        for place, sector in enumerate(sectors):
            _dots(
                figure,
                stocks.filter(pl.col("sector") == sector),
                escape(sector),
                COLOURS[place % len(COLOURS)],
                symbol=symbols[place // len(COLOURS) % len(symbols)],
            )
        rest = stocks.filter(pl.col("sector").is_null())
        if len(rest):
            _dots(figure, rest, "sector not known", REFERENCE)
        figure.update_layout(showlegend=len(sectors) <= LEGEND_SECTORS)
    else:
        _dots(figure, stocks, "stock", stocks["prediction"].round(5).to_list())
        scale = [[0.0, COLOURS[1]], [0.5, REFERENCE], [1.0, COLOURS[0]]]
        figure.update_traces(
            marker={"colorscale": scale, "cmid": float(stocks["prediction"].to_numpy().mean())}
        )
        figure.update_layout(showlegend=False)
    return _without_scales(figure)


def graph_schedule(graphs: pl.DataFrame) -> "Figure":
    """Links of each month's graph, and the share of them that changed."""
    rows = graphs.sort("month")
    month = [f"{month}-01" for month in rows["month"]]
    figure = canvas("links")
    figure.add_scatter(
        x=month,
        y=rows["n_edges"].to_list(),
        name="links",
        mode="lines",
        line={"color": COLOURS[0], "width": 2},
        hovertemplate="%{x|%Y-%m}: %{y:,} links<extra></extra>",
    )
    shares = (("turnover", "changed", COLOURS[1]), ("negative_share", "negative", COLOURS[3]))
    for column, name, colour in shares:
        if column in rows.columns:
            figure.add_scatter(
                x=month,
                y=rows[column].round(4).to_list(),
                name=name,
                mode="lines",
                line={"color": colour, "width": 2},
                yaxis="y2",
                hovertemplate=f"%{{x|%Y-%m}}: %{{y:.0%}} {name}<extra></extra>",
            )
    below = {**figure.layout.yaxis.to_plotly_json(), "title": {"text": "share of links", "standoff": 8}}
    figure.update_layout(
        xaxis={**DATES, "anchor": "y2"},
        yaxis={"domain": [0.56, 1.0], "rangemode": "tozero", "nticks": 4},
        yaxis2={**below, "domain": [0.0, 0.42], "range": [0, 1], "tickformat": ".0%", "nticks": 4},
    )
    return figure


def _last_fold(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(pl.col("fold") == pl.col("fold").max()) if "fold" in table.columns else table


def _line(figure: "Figure", rows: pl.DataFrame, name: str, colour: str, thin: bool = False) -> None:
    figure.add_scatter(
        x=rows["lag"].to_list(),
        y=rows["attention"].round(5).to_list(),
        name=name,
        mode="lines",
        line={"color": colour, "width": 0.8 if thin else 2.5},
        opacity=0.35 if thin else 1.0,
        showlegend=not thin,
        hovertemplate="%{x} days back: %{y:.1%}",
    )


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
        name=name,
        mode="markers",
        marker={"color": colour, "size": size, "symbol": symbol, "opacity": 0.85},
        hovertemplate="%{text}",
    )


def _without_scales(figure: "Figure") -> "Figure":
    """Places matter only against one another: a grid, and no numbers."""
    plain = {"showticklabels": False, "showgrid": True, "gridcolor": GRID, "zeroline": False, "nticks": 8}
    figure.update_layout(height=400, xaxis=plain, yaxis=plain)
    return figure
