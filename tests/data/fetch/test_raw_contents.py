"""What a raw store holds, and what it lacks, from the names of its files."""

import datetime as dt
from pathlib import Path

import polars as pl

from gogooku3.data.fetch.raw_contents import RawContents, is_raw_store, raw_contents
from gogooku3.data.fetch.store import RawStore

HOLIDAY = dt.date(2024, 1, 8)


def store(folder: Path, days: list[str], calendar: bool = True) -> RawStore:
    """Bars of these days, two rows each; January's calendar with a holiday on the 8th."""
    made = RawStore(folder)
    for day in days:
        made.write("bars", day, pl.DataFrame({"Code": ["13010", "13020"], "Date": [day] * 2}))
    if calendar:
        january = [dt.date(2024, 1, day) for day in range(1, 32)]
        kinds = [
            "1" if day.weekday() < 5 and day > dt.date(2024, 1, 3) and day != HOLIDAY else "0"
            for day in january
        ]
        made.write("calendar", "2024-01", pl.DataFrame({"Date": january, "HolDiv": kinds}))
    return made


def contents(made: RawStore) -> dict[str, RawContents]:
    return {one.name: one for one in raw_contents(made)}


def test_a_missing_session_is_a_hole_and_a_holiday_is_none(tmp_path: Path) -> None:
    # The 6th and 7th are a weekend, the 8th is a holiday; of the sessions the 10th is not there.
    bars = contents(store(tmp_path, ["2024-01-04", "2024-01-05", "2024-01-09", "2024-01-11"]))["bars"]
    assert bars.holes == ("2024-01-10",)
    assert (bars.unit, bars.files, bars.rows) == ("session", 4, 8)
    assert (bars.first, bars.last, bars.open) == ("2024-01-04", "2024-01-11", ())
    assert bars.bytes == sum(file.stat().st_size for file in (tmp_path / "bars").rglob("*.parquet"))


def test_without_a_calendar_nobody_knows_the_holes(tmp_path: Path) -> None:
    assert contents(store(tmp_path, ["2024-01-04", "2024-01-11"], calendar=False))["bars"].holes is None


def test_holes_of_months_and_of_calendar_days_need_no_calendar(tmp_path: Path) -> None:
    made = store(tmp_path, [], calendar=False)
    for month in ("2023-11", "2024-02"):
        made.write("topix", month, pl.DataFrame({"Date": [month]}))
    for day in ("2024-01-30", "2024-02-02"):
        made.write("statements", day, pl.DataFrame())
    found = contents(made)
    assert found["topix"].holes == ("2023-12", "2024-01")
    assert found["statements"].holes == ("2024-01-31", "2024-02-01")
    assert found["statements"].rows == 0


def test_what_may_still_change_is_open(tmp_path: Path) -> None:
    made = store(tmp_path, ["2024-01-04"])
    made.write("topix", "2024-01", pl.DataFrame({"Date": ["2024-01-04"]}), settled=False)
    assert contents(made)["topix"].open == ("2024-01",)
    assert contents(made)["bars"].open == ()


def test_only_the_layout_of_a_store_makes_a_folder_one(tmp_path: Path) -> None:
    store(tmp_path / "raw", ["2024-01-04"])
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "p.parquet")
    assert is_raw_store(tmp_path / "raw")
    assert not is_raw_store(tmp_path)
    assert not is_raw_store(tmp_path / "p.parquet")
    assert not is_raw_store(tmp_path / "nowhere")
