"""The demo market is made once."""

from pathlib import Path

import polars as pl
import pytest

import gogooku3.data.synthetic.market as market
import gogooku3.features.build
from gogooku3.cli.demo_market import ensure_demo_dataset
from gogooku3.errors import DataError


def test_a_missing_data_set_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = market.SyntheticMarketConfig(n_stocks=20, n_days=160, seed=1)
    monkeypatch.setitem(market.PRESETS, "demo", small)  # type: ignore[arg-type]
    dataset = ensure_demo_dataset(tmp_path / "demo" / "set.parquet")
    assert pl.read_parquet(dataset).width == 2 + 4 + 1 + 139
    assert dataset.with_name("prices.parquet").is_file()
    before = dataset.stat().st_mtime_ns
    assert ensure_demo_dataset(dataset).stat().st_mtime_ns == before


def test_a_failed_build_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prices.parquet").touch()

    def fail(*_: object, **__: object) -> None:
        raise DataError("no room")

    monkeypatch.setattr(gogooku3.features.build, "build_dataset", fail)
    with pytest.raises(DataError, match="no room"):
        ensure_demo_dataset(tmp_path / "set.parquet")
