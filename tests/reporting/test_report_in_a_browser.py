"""The report in a browser: every chart is drawn, nothing is requested, and the page fits a phone.

Without Chromium these tests are skipped.
"""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from browser import DESK, PHONE, Browser, needs_chromium

from gogooku3.evaluation.daily_series import daily_series
from gogooku3.evaluation.scores import score_series
from gogooku3.reporting.charts import COLOURS, REFERENCE
from gogooku3.reporting.report import ReportInputs, write_report

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(market: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section, and with names that are hard to wrap."""
    long = "a_network_with_a_name_that_is_far_too_long_for_any_phone"
    table = market.with_columns(pl.col("model").replace("lightgbm", long))
    run = {
        "experiment": "the_experiment_with_a_long_name_and_no_blank_in_it_at_all",
        "created": "2026-01-05T10:11:12+00:00",
        "command": "gogooku3 train --config model/atft/compact --data " + "folder/" * 12 + "mine.parquet",
        "seeds": [42],
        "versions": {"polars": "2.1.0"},
        "data": {"path": "folder/" * 12, "fingerprint": "e" * 32, "rows": 606127},
        "warnings": ["a fold tests 5 days, fewer than the longest horizon"],
        "folds": [
            {
                "fold": 0,
                "embargo_days": 20,
                "train_start": "2023-01-02",
                "train_end": "2023-06-30",
                "validation_start": "2023-07-31",
                "validation_end": "2023-09-29",
                "test_start": "2023-10-30",
                "test_end": "2024-02-29",
                "prediction_spread": {"1": 0.0123, "5": None},
            }
        ],
        "steps": [{"name": "load", "seconds": 0.5, "peak_memory_gb": 0.25}],
        "dropped": [{"step": "windows", "reason": "starts before the data", "rows": 7080}],
        "config": {"model": {"hidden_dim": 64}},
    }
    audit = {
        "verdict": "clean",
        "findings": [{"severity": "warning", "says": "one thing to look at"}],
        "probes": [{"name": "truncated", "meaning": "cut", "outcome": "clean", "detail": ""}],
        "controls": [{"name": "shuffled", "meaning": "no signal", "outcome": "passed", "detail": "IC 0.001"}],
    }
    path = tmp_path_factory.mktemp("page") / "report.html"
    series = daily_series(table)
    write_report(path, ReportInputs(run, score_series(series), series, _explanations(long), audit))
    return path


@pytest.fixture(scope="module", params=[DESK, PHONE], ids=["desk", "phone"])
def screen(request: pytest.FixtureRequest, browser: Browser, page: Path) -> Browser:
    """The page, opened once at a width."""
    browser.open(page, request.param)
    return browser


def _explanations(model: str) -> dict[str, pl.DataFrame]:
    rng = np.random.default_rng(0)
    codes = [f"{1300 + stock}" for stock in range(20)]
    pairs = [(a, b) for a in codes for b in codes if a < b][:60]
    lags = list(range(20))
    return {
        "features": pl.DataFrame(
            {
                "fold": 0,
                "model": model,
                "feature": [f"a_feature_with_a_long_name_{n}" for n in range(20)],
                "horizon": 1,
                "importance": rng.dirichlet(np.ones(20)),
            }
        ),
        "attention": pl.DataFrame(
            {"fold": 0, "layer": 0, "head": 0, "lag": lags, "attention": rng.dirichlet(np.ones(20))}
        ),
        "neighbours": pl.DataFrame(
            {
                "fold": 0,
                "heard": ["itself", "0.2 to 0.4"],
                "links": [20, 60],
                "attention": [0.5, 0.2],
                "even": [0.3, 0.3],
            }
        ),
        "edges": pl.DataFrame(
            {
                "fold": 0,
                "receiver": [a for a, _ in pairs],
                "source": [b for _, b in pairs],
                "correlation": rng.uniform(-1, 1, 60),
                "attention": rng.uniform(size=60),
            }
        ),
        "embeddings": pl.DataFrame(
            {
                "fold": 0,
                "date": "2024-02-29",
                "code": codes,
                "x": rng.normal(size=20),
                "y": rng.normal(size=20),
                "sector": ["banks", "cars"] * 10,
                "prediction": rng.normal(size=20),
            }
        ),
        "graphs": pl.DataFrame(
            {"month": ["2024-01", "2024-02"], "n_edges": [12, 14], "turnover": [0.5, 0.4]}
        ),
    }


EMPTY = """[...document.querySelectorAll('.chart')].filter(place => place.offsetParent &&
  !place.querySelector('.scatterlayer .trace, .barlayer .trace, .heatmaplayer .hm')).map(place => place.id)"""
BEYOND_CARD = """[...document.querySelectorAll('.chart')].filter(place => place.offsetParent).map(
  place => place.querySelector('.main-svg').getBoundingClientRect().width - place.clientWidth)"""
TABS = "[...document.querySelectorAll('.tabs button')].map(button => button.textContent.trim())"


def test_the_page_has_no_error_and_no_request(screen: Browser, page: Path) -> None:
    assert screen.complaints() == []
    assert screen.requests() == [page.as_uri()]


def test_every_chart_is_drawn_under_every_tab(screen: Browser) -> None:
    assert screen.run("document.querySelectorAll('.chart').length") >= 2 * 6 + 2 + 6
    seen = set()
    for place in range(len(screen.run(TABS))):
        screen.run(f"document.querySelectorAll('.tabs button')[{place}].click()")
        screen.settle()
        assert screen.run(EMPTY) == []
        shown = "[...document.querySelectorAll('.chart')].filter(place => place.offsetParent).map(p => p.id)"
        seen |= set(screen.run(shown))
    assert len(seen) == screen.run("document.querySelectorAll('.chart').length")


def test_the_page_and_its_charts_fit_the_screen(screen: Browser) -> None:
    screen.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    screen.settle()
    assert screen.run("document.documentElement.scrollWidth") <= screen.width
    beyond = """[...document.querySelectorAll('main *')].filter(part => !part.closest('.wide, svg, script')
      && part.getBoundingClientRect().right > innerWidth + 1).map(part => part.outerHTML.slice(0, 80))"""
    assert screen.run(beyond) == []
    assert max(map(abs, screen.run(BEYOND_CARD))) <= 1
    # The sticky first column must leave room for the others.
    first = """[...document.querySelectorAll('.wide')].filter(
      part => part.scrollWidth > part.clientWidth && part.querySelector('td')).map(
      part => part.querySelector('td').offsetWidth / part.clientWidth)"""
    assert max(screen.run(first), default=0) < 0.5
    # A name of common length must not wrap.
    assert screen.lines_of("#scores td", "rank_average") == 1
    assert screen.run("parseFloat(getComputedStyle(document.body).fontSize)") >= 15


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, 0 to 1 (WCAG 2)."""
    numbers = [part / 255 for part in _channels(colour)[:3]]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in numbers]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


INKS = """['body', '.soft', '.note', 'td', 'th', 'nav a', 'summary', '.ytick text'].map(name => {
  const part = document.querySelector(name), style = getComputedStyle(part);
  return [name, name.includes('text') ? style.fill : style.color];
})"""
GROUNDS = "['body', '.card'].map(name => getComputedStyle(document.querySelector(name)).backgroundColor)"


def check_contrast(browser: Browser, dark: bool) -> None:
    grounds = [luminance(ground) for ground in browser.run(GROUNDS)]
    assert all((ground < 0.1) == dark for ground in grounds)
    for name, ink in browser.run(INKS):
        for ground in grounds:
            low, high = sorted((luminance(ink), ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_can_be_switched(screen: Browser, scheme: str) -> None:
    screen.run("delete document.documentElement.dataset.theme")
    screen.prefer(scheme)
    check_contrast(screen, dark=scheme == "dark")
    screen.run("document.getElementById('theme').click()")
    check_contrast(screen, dark=scheme == "light")
    other = {"light": "Light", "dark": "Dark"}[scheme]
    assert screen.run("document.getElementById('theme').textContent") == other


def test_the_hover_label_shows_each_line_in_its_colour(screen: Browser) -> None:
    screen.run("document.querySelector('.tabs button').click()")
    screen.settle()
    middle = screen.run("""(place => {
      place.scrollIntoView({block: 'center'});
      const box = place.getBoundingClientRect();
      return {x: box.x + box.width / 2, y: box.y + box.height / 2};
    })(document.querySelector('#rolling-1 .nsewdrag'))""")
    screen.call("Input.dispatchMouseEvent", type="mouseMoved", **middle)
    screen.wait_for("document.querySelector('#rolling-1 .hoverlayer .legendlines path')")
    strokes = """[...document.querySelectorAll('#rolling-1 .hoverlayer .legendlines path')].map(
      path => getComputedStyle(path).stroke)"""
    # The oracle is in two panels but has one hover label.
    own = [
        tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))
        for colour in (*COLOURS[:2], REFERENCE)
    ]
    assert sorted(screen.run(strokes)) == sorted(f"rgb{colour}" for colour in own)


def test_a_printed_page_is_complete_and_light(screen: Browser) -> None:
    screen.run("document.documentElement.dataset.theme = 'dark'")
    screen.start_print()
    try:
        check_contrast(screen, dark=False)
        assert max(screen.run(BEYOND_CARD)) <= 1
        beyond = """[...document.querySelectorAll('td, th')].filter(cell => cell.offsetParent
          && cell.getBoundingClientRect().right > innerWidth + 1).map(cell => cell.textContent)"""
        assert screen.run(beyond) == []
        shown = "[...document.querySelectorAll('.tabs button')].filter(one => one.offsetParent).length"
        assert screen.run(shown) == screen.run("document.querySelectorAll('.tabs').length")
    finally:
        screen.end_print()
        screen.run("delete document.documentElement.dataset.theme")
    screen.wait_for(f"{BEYOND_CARD}.every(width => Math.abs(width) <= 1)")


def test_each_year_and_fold_has_a_label_below_its_points(screen: Browser) -> None:
    screen.run("document.querySelector('.tabs button').click()")
    screen.settle()
    labels = """[...document.querySelectorAll('#parts-1 .xtick text, #parts-1 .xtick2 text')].map(
      label => label.textContent)"""
    assert sorted(screen.run(labels)) == ["0", "1", "2024", "fold", "year"]


def test_date_labels_have_one_line(screen: Browser) -> None:
    lines = "document.querySelectorAll('#coverage .xtick tspan.line').length"
    assert screen.run("document.querySelectorAll('#coverage .xtick text').length") > 1
    assert screen.run(lines) == 0


def test_graphics_have_labels_for_screen_readers(screen: Browser) -> None:
    screen.run("document.querySelector('.tabs button').click()")
    unnamed = """[...document.querySelectorAll('.chart, .whisker')].filter(
      part => part.getAttribute('role') !== 'img' || part.ariaLabel.length < 10).map(part => part.id)"""
    assert screen.run(unnamed) == []
    whisker = "document.querySelector('.whisker').getAttribute('aria-label')"
    assert screen.run(whisker).startswith("95% interval +")
    pressed = """[...document.querySelectorAll('.tabs[data-group="horizon"] button')].map(
      button => button.getAttribute('aria-pressed'))"""
    assert screen.run(pressed) == ["true", "false"]


def test_the_numbers_in_the_heat_map_are_legible(screen: Browser) -> None:
    inks = """[...document.querySelectorAll('#months-0 .heatmap-label text')].map(
      text => getComputedStyle(text).fill)"""
    scale = "JSON.parse(document.getElementById('months-0-data').textContent).data[0].colorscale"
    ends = [screen.run(f"{scale}[{place}][1]") for place in (0, 2)]
    for scheme in ("light", "dark"):
        screen.prefer(scheme)
        ink = luminance(screen.run(inks)[0])
        ground = _channels(screen.run("getComputedStyle(document.querySelector('.card')).backgroundColor"))
        for end in ends:
            *own, opacity = _channels(end)
            mixed = [opacity * a + (1 - opacity) * b for a, b in zip(own, ground, strict=True)]
            low, high = sorted((ink, luminance(f"rgb({mixed[0]}, {mixed[1]}, {mixed[2]})")))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, end)
    screen.prefer("light")


def _channels(colour: str) -> list[float]:
    """Channels of `rgb(r, g, b)` or `rgba(r, g, b, a)`."""
    return [float(part) for part in colour[colour.index("(") + 1 : -1].split(",")]
