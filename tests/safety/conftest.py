"""Prices for the audits."""

from pathlib import Path

import polars as pl
import pytest


@pytest.fixture(scope="session")
def prices(small_prices: Path) -> pl.DataFrame:
    """The rows of `small_prices`."""
    return pl.read_parquet(small_prices)
