"""From prices to a data set."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from gogooku3.errors import DataError
from gogooku3.features.build import build_dataset
from gogooku3.features.catalog import FEATURE_NAMES
from gogooku3.features.dataset_metadata import read_build_metadata


@pytest.fixture
def market(make_prices, tmp_path: Path) -> Path:
    path = tmp_path / "market.parquet"
    make_prices(n_days=60, n_stocks=3).write_parquet(path)
    return path


def test_the_data_set_has_keys_targets_and_139_features_by_date_and_code(
    market: Path, tmp_path: Path
) -> None:
    report = build_dataset(market, tmp_path / "deep" / "set.parquet")
    frame = pl.read_parquet(report.out_path)
    targets = [f"target_{h}d" for h in (1, 5, 10, 20)]
    assert frame.columns == ["date", "code", *targets, "book_return", *FEATURE_NAMES]
    assert set(frame.dtypes[2:]) == {pl.Float32}
    assert frame.equals(frame.sort("date", "code"))
    assert (report.rows, report.n_stocks, report.n_features) == (frame.height, 3, 139)


def test_a_target_is_the_return_that_the_feature_shows_later(market: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(build_dataset(market, tmp_path / "set.parquet", horizons=[1]).out_path)
    one = frame.filter(pl.col("code") == "S00")
    assert one["target_1d"].to_list()[:-1] == pytest.approx(one["ret_1d"].to_list()[1:], rel=1e-6)


def test_the_metadata_records_how_the_file_was_made(market: Path, tmp_path: Path) -> None:
    report = build_dataset(market, tmp_path / "set.parquet")
    metadata = read_build_metadata(report.out_path)
    assert metadata is not None
    assert metadata["features"] == list(FEATURE_NAMES)
    assert metadata["fingerprint"] == report.fingerprint
    assert metadata["source"] == ["market.parquet"]
    assert set(metadata) >= {"version", "rows", "prices", "targets"}
    assert read_build_metadata(market) is None


def test_the_fingerprint_changes_with_the_prices(market: Path, tmp_path: Path) -> None:
    first = build_dataset(market, tmp_path / "set.parquet").fingerprint
    pl.read_parquet(market).with_columns(pl.col("close") * 1.0000001).write_parquet(market)
    assert build_dataset(market, tmp_path / "set.parquet").fingerprint != first


def test_the_oracle_of_a_synthetic_market_comes_along(market: Path, tmp_path: Path) -> None:
    market.with_name("market.oracle.json").write_text(json.dumps({"seed": 1}))
    market.with_name("market.oracle.parquet").write_bytes(b"oracle")
    report = build_dataset(market, tmp_path / "out" / "set.parquet")
    assert [path.name for path in report.copied] == ["set.oracle.parquet", "set.oracle.json"]
    assert (tmp_path / "out" / "set.oracle.parquet").read_bytes() == b"oracle"


def test_a_build_that_fails_leaves_the_old_file_and_nothing_else(market: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    build_dataset(market, folder / "set.parquet")
    before = (folder / "set.parquet").read_bytes()
    with pytest.raises(DataError, match="horizons"):
        build_dataset(market, folder / "set.parquet", horizons=[0])
    assert {path.name for path in folder.iterdir()} == {"set.parquet", ".set.parquet.lock"}
    assert (folder / "set.parquet").read_bytes() == before


def test_prices_are_never_overwritten_and_the_name_is_parquet(market: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one of the price files"):
        build_dataset(market, market)
    with pytest.raises(DataError, match=r"set\.parquet"):
        build_dataset(market, tmp_path / "set.csv")


def test_the_prices_may_be_the_folder_one_stands_in(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prices").mkdir()
    shutil.copy(market, tmp_path / "prices" / market.name)
    monkeypatch.chdir(tmp_path / "prices")
    assert build_dataset(".", "../set.parquet").copied == ()


def test_progress_names_every_step(market: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    report = build_dataset(market, tmp_path / "set.parquet", progress=lambda step, share: steps.append(step))
    assert (
        list(dict.fromkeys(steps))
        == ["read", "digest", "features", "targets", "write"]
        == list(report.seconds)
    )
