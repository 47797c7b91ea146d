"""A market's prediction table, and a browser for the pages."""

from collections.abc import Iterator

import pytest
from browser import Browser
from market_table import make_table, market  # noqa: F401


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    tab = Browser(tmp_path_factory.mktemp("profile"))
    yield tab
    tab.close()
