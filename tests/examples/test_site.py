"""`make docs`: the documents and the docstrings as a site that is whole and asks nobody for anything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import DESK, Browser, needs_chromium

import gogooku3

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: a warning would stop it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    silent = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=silent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_public_name_has_an_entry_with_its_docstring(site: Path) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in (site / "api").glob("*.html"))
    entries = {path.rpartition(".")[2] for path in re.findall(r'id="(gogooku3\.[\w.]+)"', text)}
    names = {name for name in gogooku3.__all__ if callable(getattr(gogooku3, name))}
    assert len(names) > 15
    assert names - entries == set()
    assert "Expanding walk-forward folds over trading days" in text


def test_every_document_is_a_page_and_every_link_on_it_leads_somewhere(site: Path) -> None:
    documents = {page.stem for page in (ROOT / "docs").glob("*.md")} | {"index", "benchmarks"}
    assert documents <= {page.stem for page in site.glob("*.html")}
    dead = [
        f"{page.name}: {link}"
        for page in site.rglob("*.html")
        if page.name != "404.html"
        for link in re.findall(r'(?:href|src)="([^"#?:]+)[#?]?[^":]*"', page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert dead == []


def test_doctests_are_shown_as_code(site: Path) -> None:
    page = (site / "api/safety.html").read_text(encoding="utf-8")
    outside = re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)
    assert "&gt;&gt;&gt;" in page
    assert "&gt;&gt;&gt;" not in outside


@needs_chromium
@pytest.mark.parametrize("name", ["index.html", "api/safety.html"])
def test_a_page_asks_nobody_outside(site: Path, name: str, tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    try:
        browser.open(site / name, DESK)
        assert browser.complaints() == []
        assert [url for url in browser.requests() if not url.startswith(site.as_uri())] == []
    finally:
        browser.close()
