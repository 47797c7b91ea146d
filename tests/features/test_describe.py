"""A description's counts are those of the table it describes."""

import datetime as dt
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gogooku3 import __version__
from gogooku3.data.quality.survivors import ENDED_DAYS
from gogooku3.data.synthetic.market import generate_market, write_market
from gogooku3.data.synthetic.simulated_exchange import SyntheticMarketConfig
from gogooku3.errors import DataError
from gogooku3.features.build import build_dataset
from gogooku3.features.catalog import CATALOG
from gogooku3.features.describe import ColumnFamily, describe_table
from gogooku3.files.fingerprint import fingerprint_files, table_fingerprint

START = dt.date(2024, 1, 1)


def rows(stocks: dict[str, range]) -> pl.DataFrame:
    """Stocks with a row on each day of a range, counted from `START`."""
    keys = [(START + dt.timedelta(day), code) for code, days in stocks.items() for day in days]
    return pl.DataFrame(keys, schema=["date", "code"], orient="row")


def priced(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.lit(1.0).alias(name) for name in ("open", "high", "low", "close", "volume"))


def families(file: Path) -> dict[str, ColumnFamily]:
    return {family.name: family for family in describe_table(file).families}


def test_prices_have_days_stocks_and_those_that_ended(tmp_path: Path) -> None:
    last_seen = 100 - ENDED_DAYS
    stocks = {"A": range(100), "B": range(last_seen + 1), "C": range(last_seen), "D": range(3)}
    file = tmp_path / "p.parquet"
    priced(rows(stocks)).write_parquet(file, row_group_size=50)
    found = describe_table(file)
    assert (found.kind, found.rows, found.n_days, found.n_stocks) == ("prices", 100 + 81 + 80 + 3, 100, 4)
    assert (found.first_date, found.last_date) == (START, START + dt.timedelta(99))
    # B has a row on the first of the last 20 days, C ends the day before.
    assert found.n_alive == 2
    assert (found.bytes, found.fingerprint) == (file.stat().st_size, table_fingerprint(file))
    assert found.built is None and found.targets == ()


def test_missing_shares_are_nulls_over_rows(tmp_path: Path) -> None:
    file = tmp_path / "d.parquet"
    frame = rows({"A": range(8)}).with_columns(
        ret_1d=pl.Series([None, 0.1, None, 0.1, 0.1, 0.1, 0.1, 0.1]),
        ret_5d=pl.Series([None] * 4 + [0.1] * 4),
        mine=pl.lit(1.0),
        target_1d=pl.Series([1.0, 2.0, 4.0, None, math.nan, math.inf, -math.inf, None]),
    )
    frame.write_parquet(file)
    counted = families(file)
    assert counted["returns"] == ColumnFamily("returns", {"ret_1d": 0.25, "ret_5d": 0.5}, (1, 5))
    assert counted["returns"].missing == pytest.approx(0.375)
    assert counted["other"] == ColumnFamily("other", {"mine": 0.0}, None)
    (target,) = describe_table(file).targets
    assert (target.horizon, target.missing, target.mean) == ("1d", 0.625, 7 / 3)
    assert target.std == pytest.approx(np.std([1, 2, 4], ddof=1))


def test_a_built_set_is_described_by_the_catalogue_and_its_build(tmp_path: Path) -> None:
    prices, out = tmp_path / "prices.parquet", tmp_path / "set.parquet"
    write_market(generate_market(SyntheticMarketConfig(n_stocks=12, n_days=60)), prices)
    build_dataset(prices, out)
    frame, found = pl.read_parquet(out), describe_table(out)
    assert found.kind == "data set"
    assert found.built == {
        "version": __version__,
        "source": ["prices.parquet"],
        "fingerprint": fingerprint_files([prices]),
    }
    own = {feature.family for feature in CATALOG}
    assert {family.name for family in found.families} == own | {"targets", "portfolios"}
    for family in found.families:
        lookbacks = [feature.lookback for feature in CATALOG if feature.family == family.name]
        assert family.lookback == ((min(lookbacks), max(lookbacks)) if lookbacks else None)
    shares = {name: share for family in found.families for name, share in family.columns.items()}
    assert shares == {name: frame[name].null_count() / frame.height for name in frame.columns[2:]}
    for target in found.targets:
        values = frame[f"target_{target.horizon}"].drop_nulls().cast(pl.Float64)
        assert target.mean == pytest.approx(values.mean())
        assert (target.low, target.high) == (values.quantile(0.01), values.quantile(0.99))


def test_a_folder_by_year_is_described_like_one_file(tmp_path: Path) -> None:
    prices = tmp_path / "prices.parquet"
    write_market(generate_market(SyntheticMarketConfig(n_stocks=12, n_days=300)), prices)
    build_dataset(prices, tmp_path / "set.parquet")
    n_years = len(build_dataset(prices, tmp_path / "set").written)
    file, folder = describe_table(tmp_path / "set.parquet"), describe_table(tmp_path / "set")
    own = {"path": folder.path, "files": n_years, "bytes": folder.bytes, "fingerprint": folder.fingerprint}
    assert n_years == 2 and folder == replace(file, **own)
    assert folder.fingerprint == table_fingerprint(tmp_path / "set")


def test_predictions_list_models_and_count_each_target_once(tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    targets = rows({"A": range(3), "B": range(3)}).with_columns(target=pl.Series([0.0, 1, 2, 3, 4, None]))
    tables = [
        targets.with_columns(fold=0, model=pl.lit(model), horizon=h, prediction=0.0)
        for model, h in (("network", 1), ("lightgbm", 1), ("network", 5))
    ]
    pl.concat(tables).write_parquet(file)
    found = describe_table(file)
    assert (found.kind, found.models, found.rows) == ("predictions", ("lightgbm", "network"), 18)
    assert [(target.horizon, target.mean) for target in found.targets] == [("1d", 2.0), ("5d", 2.0)]
    assert found.targets[0].missing == pytest.approx(1 / 6)
    assert [family.name for family in found.families] == ["predictions"]


def test_a_folder_of_csv_and_parquet_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "prices"
    folder.mkdir()
    priced(rows({"0050": range(5)})).rename(str.title).write_csv(folder / "a.csv")
    later = priced(rows({"1301": range(5, 9)})).rename(str.title).with_columns(Sector=pl.lit("x"))
    later.write_parquet(folder / "b.parquet", compression="lz4")
    found = describe_table(folder)
    assert (found.kind, found.files, found.rows, found.n_stocks, found.n_days) == ("prices", 2, 9, 2, 9)
    assert found.fingerprint is None
    # The first file has no sector.
    assert found.families[0].columns["Sector"] == pytest.approx(5 / 9)


def test_any_table_of_days_and_codes_is_described_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    rows({"A": range(2)}).with_columns(rank_5d=pl.Series([1, 2])).write_csv(file)
    assert describe_table(file).kind == "table"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"t\.csv has no columns date, code"):
        describe_table(file)
    with pytest.raises(DataError, match="no prices at"):
        describe_table(tmp_path / "nowhere.parquet")


@pytest.mark.parametrize("forged", ["not json", "[1]", "7"])
def test_forged_build_metadata_is_refused(tmp_path: Path, forged: str) -> None:
    file = tmp_path / "d.parquet"
    rows({"A": range(2)}).with_columns(target_1d=1.0).write_parquet(file, metadata={"gogooku3": forged})
    with pytest.raises(DataError, match=r"d\.parquet: its metadata 'gogooku3' is not metadata of a build"):
        describe_table(file)


def test_a_table_without_rows_has_nothing_in_it(tmp_path: Path) -> None:
    file = tmp_path / "d.parquet"
    empty = rows({"A": range(1)}).with_columns(target_1d=1.0).clear()
    empty.write_parquet(file)
    found = describe_table(file)
    assert (found.rows, found.n_days, found.n_stocks, found.first_date) == (0, 0, 0, None)
    assert found.targets[0].mean is None


def test_a_description_is_json(tmp_path: Path) -> None:
    file = tmp_path / "p.parquet"
    priced(rows({"A": range(3)})).write_parquet(file)
    plain = json.loads(json.dumps(describe_table(file).to_dict(), allow_nan=False))
    assert plain["first_date"] == "2024-01-01"
    assert plain["families"][0]["columns"]["close"] == 0.0
