"""Contents and gaps of a raw store, from the names of its files."""

import datetime as dt
from pathlib import Path

import polars as pl

from gogooku3.data.fetch.raw_contents import RawContents, is_raw_store, raw_contents
from gogooku3.data.fetch.store import RawStore

HOLIDAY = dt.date(2024, 1, 8)


def make_store(folder: Path, days: list[str], calendar: bool = True) -> RawStore:
    """Bars of these days, two rows each; January's calendar with a holiday on the 8th."""
    store = RawStore(folder)
    for day in days:
        store.write("bars", day, pl.DataFrame({"Code": ["13010", "13020"], "Date": [day] * 2}))
    if calendar:
        january = [dt.date(2024, 1, day) for day in range(1, 32)]
        kinds = [
            "1" if day.weekday() < 5 and day > dt.date(2024, 1, 3) and day != HOLIDAY else "0"
            for day in january
        ]
        store.write("calendar", "2024-01", pl.DataFrame({"Date": january, "HolDiv": kinds}))
    return store


def contents(store: RawStore) -> dict[str, RawContents]:
    return {dataset.name: dataset for dataset in raw_contents(store)}


def test_a_missing_session_is_a_hole_and_a_holiday_is_not(tmp_path: Path) -> None:
    # The 6th and 7th are a weekend and the 8th is a holiday; only the session of the 10th is missing.
    bars = contents(make_store(tmp_path, ["2024-01-04", "2024-01-05", "2024-01-09", "2024-01-11"]))["bars"]
    assert bars.holes == ("2024-01-10",)
    assert (bars.unit, bars.files, bars.rows) == ("session", 4, 8)
    assert (bars.first, bars.last, bars.open) == ("2024-01-04", "2024-01-11", ())
    assert bars.bytes == sum(file.stat().st_size for file in (tmp_path / "bars").rglob("*.parquet"))


def test_without_a_calendar_holes_are_unknown(tmp_path: Path) -> None:
    assert contents(make_store(tmp_path, ["2024-01-04", "2024-01-11"], calendar=False))["bars"].holes is None


def test_holes_of_months_and_of_calendar_days_need_no_calendar(tmp_path: Path) -> None:
    store = make_store(tmp_path, [], calendar=False)
    for month in ("2023-11", "2024-02"):
        store.write("topix", month, pl.DataFrame({"Date": [month]}))
    for day in ("2024-01-30", "2024-02-02"):
        store.write("statements", day, pl.DataFrame())
    by_name = contents(store)
    assert by_name["topix"].holes == ("2023-12", "2024-01")
    assert by_name["statements"].holes == ("2024-01-31", "2024-02-01")
    assert by_name["statements"].rows == 0


def test_a_unit_that_may_still_change_is_open(tmp_path: Path) -> None:
    store = make_store(tmp_path, ["2024-01-04"])
    store.write("topix", "2024-01", pl.DataFrame({"Date": ["2024-01-04"]}), settled=False)
    assert contents(store)["topix"].open == ("2024-01",)
    assert contents(store)["bars"].open == ()


def test_a_raw_store_is_recognised_by_its_layout(tmp_path: Path) -> None:
    make_store(tmp_path / "raw", ["2024-01-04"])
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "p.parquet")
    assert is_raw_store(tmp_path / "raw")
    assert not is_raw_store(tmp_path)
    assert not is_raw_store(tmp_path / "p.parquet")
    assert not is_raw_store(tmp_path / "nowhere")
