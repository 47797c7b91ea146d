"""The page of `data validate` in a browser: all charts drawn, no requests, and it fits a phone.

Without Chromium these tests are skipped.
"""

from pathlib import Path

import pytest
from browser import DESK, PHONE, Browser, needs_chromium
from spoiled_market import clean_market, spoil

from gogooku3.config.quality import QualityRules
from gogooku3.data.quality.validation import validate
from gogooku3.reporting.quality_page import write_quality_page

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prices, _ = spoil(clean_market())
    name = "prices_with_a_name_that_is_far_too_long_for_any_phone_and_a_<tag>.parquet"
    path = tmp_path_factory.mktemp("page") / "quality.html"
    write_quality_page(path, validate(prices), "folder/" * 12 + name, QualityRules())
    return path


@pytest.fixture(scope="module", params=[(DESK, "light"), (PHONE, "dark")], ids=["desk", "phone"])
def screen(request: pytest.FixtureRequest, browser: Browser, page: Path) -> Browser:
    browser.open(page, *request.param)
    return browser


def test_the_page_has_no_errors_and_sends_no_requests(screen: Browser, page: Path) -> None:
    assert screen.complaints() == []
    assert screen.requests() == [page.as_uri()]


def test_every_chart_is_drawn_and_every_problem_listed(screen: Browser) -> None:
    empty = """[...document.querySelectorAll('.chart')].filter(place =>
      !place.querySelector('.scatterlayer .trace, .barlayer .trace')).map(place => place.id)"""
    assert screen.run(empty) == []
    assert screen.run("document.querySelectorAll('.chart').length") >= 2 + 3
    assert screen.run("document.querySelectorAll('#checks tbody tr').length") >= 15
    assert "Fail" in screen.run("document.querySelector('#verdict').textContent")


def test_the_page_fits_the_screen(screen: Browser) -> None:
    screen.run("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    screen.settle()
    assert screen.run("document.documentElement.scrollWidth") <= screen.width
    assert screen.lines_of("#checks .mark", "warning") == 1
    assert screen.lines_of("#checks td.name", "mom_250d_skip20d") == 1
    assert screen.run("parseFloat(getComputedStyle(document.body).fontSize)") >= 15


def test_the_page_follows_the_light_or_dark_mode_of_the_system(screen: Browser) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for scheme in ("light", "dark"):
        screen.prefer(scheme)
        seen[scheme] = sum(int(part) for part in screen.run(ground)[4:-1].split(","))
    assert seen["dark"] < 150 < 600 < seen["light"]
