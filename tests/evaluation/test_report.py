"""The report is one file that asks nothing of the network, trusts no string and needs no section."""

import re
from html.parser import HTMLParser

import polars as pl
import pytest

from gogooku3.evaluation import charts
from gogooku3.evaluation.daily import daily_ic
from gogooku3.evaluation.portfolio import portfolio_returns
from gogooku3.evaluation.report import render_report, write_report
from gogooku3.evaluation.scores import score_predictions
from gogooku3.evaluation.table import headline_rows, verdict

HOSTILE = "<script>alert('x')</script>"
RUN = {
    "experiment": f"demo {HOSTILE}",
    "created": "2026-01-05 10:11:12",
    "command": "gogooku3 train --config a&b",
    "seeds": {"training": 42},
    "versions": {"polars": "2.1.0"},
    "data": {"path": HOSTILE, "rows": 606127},
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
    """Collects what a browser would fetch or draw, scripts left out."""

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


@pytest.fixture(scope="module")
def scores(market):
    return score_predictions(market)


EXPLANATIONS = {
    "features": pl.DataFrame(
        {"model": ["lightgbm"], "feature": [HOSTILE], "horizon": [1], "importance": [1.0]}
    ),
    "graphs": pl.DataFrame({"month": ["2024-01"], "n_edges": [12], "turnover": [0.5]}),
}


@pytest.fixture(scope="module")
def html(market, scores):
    return render_report(RUN, scores, market, explanations=EXPLANATIONS)


@pytest.fixture(scope="module")
def page(html):
    return _read(html)


def test_opening_the_page_requests_nothing(html, page):
    assert page.requests == ["data:,"]
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL))
    assert "url(" not in styles and "@import" not in styles


def test_strings_of_the_run_are_shown_and_never_executed(html, page):
    assert HOSTILE not in html
    assert f"demo {HOSTILE}" in "".join(page.words)
    assert "gogooku3 train --config a&b" in "".join(page.words)


def test_a_models_name_is_escaped_in_charts_and_tables(market):
    named = market.with_columns(pl.col("model").replace("lightgbm", HOSTILE))
    html = render_report({}, score_predictions(named), named)
    assert HOSTILE not in html


def test_the_page_holds_the_verdict_every_score_and_every_section(page, scores):
    text = " ".join(" ".join(page.words).split())
    for sentence in verdict(scores):
        assert sentence in text
    for row in headline_rows(scores):
        assert all(cell in text for cell in row.values())
    sections = {"verdict", "scores", "charts", "explanations", "folds", "steps", "rows", "data", "reproduce"}
    assert sections <= page.ids
    for part in ("606,127", "starts before the data", "7,080", "model.hidden_dim", "fold 3", "2023-10-30"):
        assert part in text


def test_every_horizon_has_both_charts(page):
    assert {"ic-1", "ic-5", "equity-1", "equity-5"} <= page.ids


def test_what_the_network_looks_at_stands_beside_how_to_read_it(page):
    assert {"explain-importance", "explain-schedule"} <= page.ids
    assert not {"explain-attention", "explain-graph"} & page.ids, "no table, no figure"
    assert any("The longer the bar" in words for words in page.words)


def test_the_spread_of_predictions_is_shown_by_fold_and_horizon(page):
    text = " ".join(" ".join(page.words).split())
    assert "Fold 1 day 5 days 3 0.012 -" in text


def test_the_embargo_is_left_open_between_the_phases(html):
    spans = re.findall(r'<b class="(\w+)" style="left:([\d.]+)%;width:([\d.]+)%"', html)
    ends = {name: (float(left), float(left) + float(width)) for name, left, width in spans}
    assert ends["train"][0] == 0 and ends["test"][1] == pytest.approx(100, abs=0.01)
    assert ends["train"][1] < ends["validation"][0] and ends["validation"][1] < ends["test"][0]


def test_a_run_that_says_nothing_has_no_empty_sections(market, scores):
    page = _read(render_report({}, scores, market))
    assert not {"explanations", "folds", "steps", "rows", "data"} & page.ids
    assert {"verdict", "scores", "charts", "reproduce"} <= page.ids


def test_rows_lost_to_sharing_are_reported(market):
    table = market.filter(~((market["model"] == "lightgbm") & (market["code"] == "1300")))
    page = _read(render_report({}, score_predictions(table), table))
    assert "atft_gat_fan: not predicted by every model" in page.words


def test_the_file_is_written_whole_into_a_new_folder(tmp_path, market, scores):
    path = tmp_path / "run" / "report.html"
    write_report(path, RUN, scores, market)
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
    assert lines["lightgbm net"].y[-1] == pytest.approx((1 + net).product(), abs=1e-3)
