"""The report is one offline file that escapes all text, and every section is optional."""

import re
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.evaluation.daily_series import daily_series
from gogooku3.evaluation.metrics import compute_max_drawdown
from gogooku3.evaluation.portfolio import portfolio_returns
from gogooku3.evaluation.quantiles import quantile_returns
from gogooku3.evaluation.scores import score_series
from gogooku3.reporting import charts, score_charts
from gogooku3.reporting.report import ReportInputs, write_report
from gogooku3.reporting.tables import headline_rows, verdict

HOSTILE = "<script>alert('x')</script>"
RUN = {
    "experiment": f"demo {HOSTILE}",
    "created": "2026-01-05 10:11:12",
    "command": "gogooku3 train --config a&b",
    "seeds": {"training": 42},
    "versions": {"polars": "2.1.0"},
    "data": {
        "path": HOSTILE,
        "rows": 606127,
        "prices": {
            "rows_read": 1234567,
            "dropped": {"not traded": 89},
            "nulled": {},
            "mapped": {"Date": "date"},
        },
    },
    "folds": [
        {
            "fold": 3,
            "train_start": "2023-01-02",
            "train_end": "2023-06-30",
            "validation_start": "2023-07-31",
            "validation_end": "2023-09-29",
            "test_start": "2023-10-30",
            "test_end": "2023-12-29",
            "prediction_spread": {"1": 0.0123, "5": None},
        }
    ],
    "steps": [{"name": "load", "seconds": 0.5, "peak_memory_gb": 0.25}, {"name": "train", "seconds": 2.0}],
    "dropped": [{"step": "windows", "reason": "starts before the data", "rows": 7080}],
    "config": {"model": {"hidden_dim": 64, "prediction_horizons": [1, 5]}, "name": None},
}


class _Page(HTMLParser):
    """Collects links, ids and visible text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.ids: set[str] = set()
        self.words: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.add(values.get("id") or "")
        self.requests += [values[name] for name in ("src", "href", "action", "srcset") if values.get(name)]
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)


def _read(html: str) -> _Page:
    page = _Page()
    page.feed(html)
    return page


def _render(tmp_path_factory, table, **inputs) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    series = daily_series(table)
    write_report(
        path, ReportInputs(**{"manifest": {}, "scores": score_series(series), "series": series} | inputs)
    )
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def render(tmp_path_factory):
    """Write the report of a table, and return its HTML."""
    return partial(_render, tmp_path_factory)


@pytest.fixture(scope="module")
def series(market):
    return daily_series(market)


@pytest.fixture(scope="module")
def scores(series):
    return score_series(series)


EXPLANATIONS = {
    "features": pl.DataFrame(
        {"model": ["lightgbm"], "feature": [HOSTILE], "horizon": [1], "importance": [1.0]}
    ),
    "graphs": pl.DataFrame({"month": ["2024-01"], "n_edges": [12], "turnover": [0.5]}),
}


@pytest.fixture(scope="module")
def html(render, market):
    return render(market, manifest=RUN, explanations=EXPLANATIONS)


@pytest.fixture(scope="module")
def page(html):
    return _read(html)


def test_opening_the_page_requests_nothing(html, page):
    assert [link for link in page.requests if not link.startswith("#")] == ["data:,"]
    assert {link[1:] for link in page.requests if link.startswith("#")} <= page.ids
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL))
    assert "url(" not in styles and "@import" not in styles


def test_text_of_the_run_is_escaped(html, page):
    assert HOSTILE not in html
    assert f"demo {HOSTILE}" in "".join(page.words)
    assert "gogooku3 train --config a&b" in "".join(page.words)


def test_a_models_name_is_escaped_in_charts_and_tables(render, market):
    named = market.with_columns(pl.col("model").replace("lightgbm", HOSTILE))
    html = render(named)
    assert HOSTILE not in html


def test_the_page_has_the_verdict_every_score_and_every_section(page, scores):
    text = " ".join(" ".join(page.words).split())
    for sentence in verdict(scores):
        assert sentence in text
    for row in headline_rows(scores):
        assert all(cell in text for cell in row.values())
    sections = {"verdict", "scores", "charts", "portfolio", "explanations", "folds", "steps", "rows", "data"}
    sections |= {"quality", "reproduce"}
    assert sections <= page.ids
    for part in (
        "606,127",
        "prices: rows read 1,234,567",
        "prices: dropped: not traded 89",
        "starts before the data",
        "7,080",
        "model.hidden_dim",
        "fold 3",
        "2023-10-30",
    ):
        assert part in text


def test_every_horizon_has_every_figure(page):
    figures = ("rolling", "ic", "equity", "quantiles", "calibration", "parts")
    assert {f"{name}-{horizon}" for name in figures for horizon in (1, 5)} <= page.ids
    assert {"ic-decay", "months-0", "months-1", "coverage"} <= page.ids


def test_the_audit_is_shown_if_there_is_one(render, market, page):
    assert "audit" not in page.ids
    audit = {
        "verdict": "leaks",
        "findings": [{"severity": "leak", "says": f"ret_1d moved {HOSTILE}"}],
        "controls": [{"name": "shuffled targets", "meaning": "m", "outcome": "failed", "detail": "IC 0.2"}],
    }
    html = render(market, manifest=RUN, audit=audit)
    shown = _read(html)
    assert "audit" in shown.ids and HOSTILE not in html
    text = " ".join(" ".join(shown.words).split())
    assert f"leak ret_1d moved {HOSTILE}" in text and "shuffled targets m failed IC 0.2" in text


def test_every_explanation_has_a_sentence_on_how_to_read_it(page):
    assert {"explain-importance", "explain-schedule"} <= page.ids
    assert not {"explain-attention", "explain-graph"} & page.ids, "no table, no figure"
    assert any("Share of importance" in words for words in page.words)


def test_the_spread_of_predictions_is_shown_by_fold_and_horizon(page):
    text = " ".join(" ".join(page.words).split())
    assert "Fold 1 day 5 days 3 0.012 -" in text


def test_the_embargoes_fill_the_gaps_between_the_phases_to_scale(html):
    form = r'<{} class="(\w+)" style="left:([\d.]+)%;width:([\d.]+)%"'
    phases, gaps = (
        [
            (name, float(left), float(left) + float(width))
            for name, left, width in re.findall(form.format(tag), html)
        ]
        for tag in ("b", "s")
    )
    assert [name for name, _, _ in phases] == ["train", "validation", "test"]
    assert phases[0][1] == 0 and phases[-1][2] == pytest.approx(100, abs=0.01)
    between = [(before[2], after[1]) for before, after in pairwise(phases)]
    for (_, left, right), expected in zip(gaps, between, strict=True):
        assert (left, right) == pytest.approx(expected, abs=0.002)
    # 30 June to 31 July is 31 of the 361 days from 2 January to 29 December.
    assert gaps[0][2] - gaps[0][1] == pytest.approx(100 * 31 / 361, abs=0.01)


def test_an_empty_manifest_gives_no_empty_sections(render, market):
    page = _read(render(market))
    assert not {"explanations", "folds", "steps", "rows", "data"} & page.ids
    assert {"verdict", "scores", "charts", "reproduce"} <= page.ids


def test_rows_lost_to_sharing_are_reported(render, market):
    table = market.filter(~((market["model"] == "lightgbm") & (market["code"] == "1300")))
    page = _read(render(table))
    assert "atft_gat_fan: not predicted by every model" in page.words


def test_the_file_is_written_whole_into_a_new_folder(tmp_path, series, scores):
    path = tmp_path / "run" / "report.html"
    write_report(path, ReportInputs(RUN, scores, series))
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_the_charts_draw_the_series_that_were_scored(market, scores):
    colours = charts.model_colours(list(scores["models"]))
    ics, returns = daily_ic(market), portfolio_returns(market)
    lines = {line.name: line for line in charts.cumulative_ic(ics, 5, colours).data}
    assert set(lines) == {"atft_gat_fan", "lightgbm", "oracle"}
    expected = ics.filter(model="lightgbm", horizon=5)["ic"].sum()
    assert lines["lightgbm"].y[-1] == pytest.approx(expected, abs=1e-3)
    lines = {line.name: line for line in charts.equity(returns, 5, colours).data}
    assert set(lines) == {
        f"{model} {kind}" for model in ("atft_gat_fan", "lightgbm") for kind in ("gross", "net")
    }
    net = returns.filter(model="lightgbm", horizon=5)["net"]
    above = {line.name: line for line in charts.equity(returns, 5, colours).data if line.yaxis == "y"}
    below = {line.name: line for line in charts.equity(returns, 5, colours).data if line.yaxis == "y2"}
    assert above["lightgbm net"].y[-1] == pytest.approx((1 + net).product(), abs=1e-3)
    assert -min(below["lightgbm net"].y) == pytest.approx(compute_max_drawdown(net), abs=1e-3)


def test_a_third_model_is_scored_drawn_and_compared_like_the_others(render, make_table):
    strengths = dict.fromkeys(("oracle", "rank_average", "linear", "lightgbm", "atft_gat_fan"), 1.0)
    page = _read(render(make_table(strengths=strengths)))
    words = [word.strip() for word in page.words]
    order = ["atft_gat_fan", "lightgbm", "linear", "rank_average"]
    assert [word for word in words if word in order][:4] == order, "the cards"
    assert {"months-2", "months-3"} <= page.ids and "months-4" not in page.ids
    assert any("linear" in word and "lightgbm" in word and "at 5 days" in word for word in words)


def test_many_models_have_distinct_colours():
    models = [f"model_{number}" for number in range(40)]
    colours = charts.model_colours(["oracle", *models])
    assert len(set(colours.values())) == 41 and colours["oracle"] == charts.REFERENCE
    assert tuple(colours.values())[:6] == charts.COLOURS
    assert all(charts.faint(colour) for colour in colours.values())


def test_the_rolling_ic_is_the_mean_of_the_last_sixty_days(market, scores):
    colours = charts.model_colours(list(scores["models"]))
    ics = daily_ic(market)
    drawn = {line.name: line for line in charts.rolling_ic(ics, 1, colours).data if line.name}
    daily = ics.filter(model="lightgbm", horizon=1)
    assert drawn["lightgbm"].y[0] == pytest.approx(daily["ic"][:60].mean(), abs=1e-4)
    assert drawn["lightgbm"].x[0] == str(daily["date"][59])
    # Fewer than 60 days give no line.
    assert not charts.rolling_ic(ics.filter(pl.col("date") < daily["date"][40]), 1, colours).data


def test_each_model_has_a_panel_with_its_band_and_the_oracle(market, scores):
    colours = charts.model_colours(list(scores["models"]))
    ics = daily_ic(market)
    figure = charts.rolling_ic(ics, 1, colours)
    bands = [line.yaxis for line in figure.data if line.fill == "toself"]
    assert bands == ["y", "y2"] and figure.layout.yaxis2.matches == "y"
    assert figure.layout.yaxis.domain[0] >= figure.layout.yaxis2.domain[1]
    assert [line.yaxis for line in figure.data if line.name == "lightgbm"] == ["y2"]
    oracle = [line for line in figure.data if line.name == "oracle"]
    assert [(line.yaxis, line.showlegend) for line in oracle] == [("y", True), ("y2", False)]
    assert [note.text for note in figure.layout.annotations] == ["<b>atft_gat_fan</b>", "<b>lightgbm</b>"]
    # Plotly adds markers to short lines by default.
    assert {line.mode for line in figure.data} == {"lines"}


def test_score_charts_show_the_scores_with_their_intervals(market, scores):
    colours = charts.model_colours(list(scores["models"]))
    fifths = quantile_returns(market, 5)
    bars = {bar.name: bar for bar in score_charts.quantile_bars(fifths, 5, colours).data}
    expected = fifths.filter(model="lightgbm", horizon=5)["mean"]
    assert list(bars["lightgbm"].y) == pytest.approx(expected.to_list(), abs=1e-6) and "oracle" not in bars
    points = {each.name: each for each in score_charts.parts(scores, 5, colours).data}["lightgbm"]
    block = scores["models"]["lightgbm"]["horizons"]["5"]["folds"]["1"]
    index = list(zip(*points.x, strict=True)).index(("fold", "1"))
    assert points.y[index] == pytest.approx(block["mean_ic"], abs=1e-4)
    ends = points.y[index] - points.error_y.arrayminus[index], points.y[index] + points.error_y.array[index]
    assert ends == pytest.approx(block["ic_interval"], abs=2e-4)
    lags = {each.name: each for each in score_charts.ic_decay(scores, colours).data}["lightgbm"]
    assert list(lags.x) == ["1", "2", "3", "5", "10", "20"]
    books = portfolio_returns(market)
    cells = score_charts.months(books, "lightgbm", 5).data[0].z
    total = np.prod([1 + cell for row in cells for cell in row if cell is not None])
    net = books.filter(model="lightgbm", horizon=5)["net"]
    assert total == pytest.approx((1 + net).product(), rel=1e-3)


def test_an_oracle_without_other_models_is_drawn_like_a_model(render, market):
    table = market.filter(model="oracle")
    page = _read(render(table))
    assert {"rolling-1", "ic-1", "equity-1", "quantiles-1", "parts-1", "ic-decay", "coverage"} <= page.ids
    assert "Too few days for this chart." not in [words.strip() for words in page.words]


def test_a_chart_without_data_is_replaced_by_a_sentence(render, market):
    table = market.filter(pl.col("date") < pl.col("date").unique().sort().get(40))
    page = _read(render(table))
    assert not {"rolling-1", "rolling-5"} & page.ids and "equity-1" in page.ids
    assert "Too few days for this chart." in [words.strip() for words in page.words]
