"""Explanation charts show their tables, in the documented order."""

import datetime as dt

import polars as pl
import pytest

from gogooku3.reporting.explanation_charts import (
    TOP_FEATURES,
    embeddings,
    explanation_figures,
    feature_importance,
    graph_attention,
    graph_picture,
    graph_schedule,
    temporal_attention,
)

COLOURS = {"net": "#111111", "trees": "#222222"}
HOSTILE = "<b>7203</b>"


@pytest.fixture
def tables() -> dict[str, pl.DataFrame]:
    """Two folds of hand-made explanations of three stocks."""
    features = pl.DataFrame(
        {
            "fold": [0, 0, 1, 1, 0, 0],
            "model": ["net"] * 4 + ["trees"] * 2,
            "feature": ["f0", "f1", "f0", "f1", "f0", "f1"],
            "horizon": [1] * 6,
            "importance": [0.6, 0.4, 0.8, 0.2, 0.1, 0.9],
        }
    )
    attention = pl.DataFrame(
        {
            "fold": [0] * 6,
            "layer": [0] * 6,
            "head": [0, 0, 0, 1, 1, 1],
            "lag": [0, 1, 2] * 2,
            "attention": [0.2, 0.7, 0.1, 0.4, 0.3, 0.3],
        }
    )
    neighbours = pl.DataFrame(
        {
            "fold": [0, 0, 1, 1, 1],
            "heard": ["itself", "0.4 to 0.6", "itself", "0.2 to 0.4", "0.4 to 0.6"],
            "links": [3, 1, 3, 2, 3],
            "attention": [0.5, 0.6, 0.5, 0.1, 0.2],
            "even": [0.5, 0.5, 0.5, 0.25, 0.25],
        }
    )
    edges = pl.DataFrame(
        {
            "fold": [0, 1, 1],
            "date": [dt.date(2024, 6, 28)] * 3,
            "receiver": ["A", "A", "B"],
            "source": ["B", HOSTILE, "A"],
            "correlation": [0.5, -0.4, 0.5],
            "attention": [0.9, 0.3, 0.6],
        }
    )
    stocks = pl.DataFrame(
        {
            "fold": [1, 1, 1],
            "date": [dt.date(2024, 6, 28)] * 3,
            "code": ["A", "B", HOSTILE],
            "x": [0.0, 1.0, 2.0],
            "y": [0.0, 1.0, 0.5],
            "sector": ["banks", "cars", None],
            "prediction": [0.1, -0.2, 0.3],
        },
        schema_overrides={"sector": pl.String},
    )
    graphs = pl.DataFrame(
        {
            "month": ["2024-01", "2024-02", "2024-03"],
            "n_edges": [0, 20, 24],
            "turnover": [None, 1.0, 0.25],
            "negative_share": [None, 0.1, 0.2],
        }
    )
    return {
        "features": features,
        "attention": attention,
        "neighbours": neighbours,
        "edges": edges,
        "embeddings": stocks,
        "graphs": graphs,
    }


def test_every_table_has_a_chart_with_a_sentence_on_how_to_read_it(
    tables: dict[str, pl.DataFrame],
) -> None:
    figures = list(explanation_figures(tables, COLOURS))
    assert [each.name for each in figures] == [
        "importance",
        "attention",
        "neighbours",
        "graph",
        "embeddings",
        "schedule",
    ]
    assert all(each.title and each.reading.endswith(".") for each in figures)
    assert "2024-06-28" in figures[4].title


def test_missing_or_empty_tables_have_no_chart(tables: dict[str, pl.DataFrame]) -> None:
    assert list(explanation_figures({}, COLOURS)) == []
    without_edges = tables | {"edges": tables["edges"].clear(), "attention": tables["attention"].clear()}
    names = [each.name for each in explanation_figures(without_edges, COLOURS)]
    assert names == ["importance", "embeddings", "schedule"], "without edges there is no graph"


def test_importance_is_averaged_over_folds_and_horizons_and_sorted(
    tables: dict[str, pl.DataFrame],
) -> None:
    bars = {bar.name: bar for bar in feature_importance(tables["features"], COLOURS).data}
    # Bars are drawn from the bottom up; f1 is first with 0.9.
    assert list(bars["net"].y) == ["f0", "f1"] and list(bars["net"].x) == pytest.approx([0.7, 0.3])
    assert list(bars["trees"].x) == pytest.approx([0.1, 0.9])
    assert bars["net"].marker.color == "#111111"


def test_a_feature_important_to_only_one_model_is_drawn() -> None:
    many = pl.DataFrame(
        {
            "model": ["net"] * 30 + ["trees"] * 30,
            "feature": [f"f{place}" for place in range(30)] * 2,
            "horizon": [1] * 60,
            "importance": [0.04] * 25 + [0.0] * 5 + [0.0] * 29 + [1.0],
        }
    )
    bars = feature_importance(many, COLOURS).data
    assert all(len(bar.y) == TOP_FEATURES and bar.y[-1] == "f29" for bar in bars)


def test_attention_has_a_thick_line_per_layer_and_a_thin_one_per_head(
    tables: dict[str, pl.DataFrame],
) -> None:
    figure = temporal_attention(tables["attention"])
    lines = {line.name: line for line in figure.data}
    assert set(lines) == {"layer 0", "layer 0, head 0", "layer 0, head 1"}
    assert list(lines["layer 0"].x) == [0, 1, 2]
    assert list(lines["layer 0"].y) == pytest.approx([0.3, 0.5, 0.2])
    assert lines["layer 0"].line.width > lines["layer 0, head 0"].line.width
    assert figure.layout.shapes[0].y0 == pytest.approx(1 / 3)
    assert figure.layout.xaxis.autorange == "reversed", "the current day is on the right"


def test_graph_attention_is_weighted_by_links_and_sorted_by_correlation(
    tables: dict[str, pl.DataFrame],
) -> None:
    attention, uniform = graph_attention(tables["neighbours"]).data
    assert list(attention.x) == ["itself", "0.2\u20130.4", "0.4\u20130.6"]
    assert list(attention.y) == pytest.approx([0.5, 0.1, (0.6 + 3 * 0.2) / 4])
    assert list(uniform.y) == pytest.approx([0.5, 0.25, (0.5 + 3 * 0.25) / 4], abs=1e-5)
    assert list(attention.customdata) == [6, 2, 4]


def test_the_graph_chart_joins_stocks_by_sign_strongest_links_first(
    tables: dict[str, pl.DataFrame],
) -> None:
    edges = tables["edges"].filter(pl.col("fold") == 1)
    positive, negative, dots = graph_picture(edges, tables["embeddings"]).data
    assert (list(positive.x), list(positive.y)) == ([1, 0, None], [1, 0, None])
    assert (list(negative.x), list(negative.y)) == ([0, 2, None], [0, 0.5, None])
    assert len(dots.x) == 3
    names = [trace.name for trace in graph_picture(edges, tables["embeddings"], top=1).data]
    assert names == ["positive correlation", "stock"]


def test_the_graph_is_drawn_for_the_last_fold_with_edges(tables: dict[str, pl.DataFrame]) -> None:
    """The last fold may have no edges: its last day may have one stock with a full window."""
    other = tables["embeddings"].with_columns(fold=0, code=pl.Series(["A", "B", "C"]))
    stocks = pl.concat([other, tables["embeddings"].filter(code="A")], how="vertical_relaxed")
    changed = tables | {"edges": tables["edges"].filter(fold=0), "embeddings": stocks}
    (graph,) = (each for each in explanation_figures(changed, COLOURS) if each.name == "graph")
    assert list(graph.figure.data[-1].text) == ["A", "B", "C"]


def test_stocks_are_coloured_by_sector_or_else_by_prediction(
    tables: dict[str, pl.DataFrame],
) -> None:
    assert [trace.name for trace in embeddings(tables["embeddings"]).data] == [
        "banks",
        "cars",
        "unknown sector",
    ]
    unknown = tables["embeddings"].with_columns(pl.lit(None, pl.String).alias("sector"))
    (dots,) = embeddings(unknown).data
    assert list(dots.marker.color) == pytest.approx([0.1, -0.2, 0.3])
    reading = {each.name: each.reading for each in explanation_figures({"embeddings": unknown}, COLOURS)}
    assert "the colour is the prediction" in reading["embeddings"]


def test_the_schedule_shows_links_and_changes_by_month(tables: dict[str, pl.DataFrame]) -> None:
    links, changed, negative = graph_schedule(tables["graphs"]).data
    assert list(links.x) == ["2024-01-01", "2024-02-01", "2024-03-01"]
    assert list(links.y) == [0, 20, 24]
    assert list(changed.y) == [None, 1.0, 0.25] and changed.yaxis == "y2"
    assert list(negative.y) == [None, 0.1, 0.2]
    assert len(graph_schedule(tables["graphs"].drop("negative_share")).data) == 2


def test_names_of_stocks_and_features_are_escaped(tables: dict[str, pl.DataFrame]) -> None:
    named = tables["features"].with_columns(pl.col("feature").replace("f0", HOSTILE))
    for each in explanation_figures({**tables, "features": named}, COLOURS):
        assert HOSTILE not in each.figure.to_json().replace("\\u003c", "<").replace("\\u003e", ">")
