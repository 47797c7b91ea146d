"""Labels of stocks that are halted or delisted, by hand."""

import datetime as dt

import polars as pl
import pytest

from gogooku3.data.labels import adjust_labels, label_counts
from gogooku3.data.targets import add_targets

DAYS = [dt.date(2024, 1, 1) + dt.timedelta(day) for day in range(6)]


@pytest.fixture
def frame() -> pl.DataFrame:
    """ALIVE has all days, HALT lacks the third and fourth, GONE ends on the second."""
    closes = {
        "ALIVE": {day: 10.0 for day in DAYS},
        "HALT": dict(zip([*DAYS[:2], *DAYS[4:]], (10.0, 11.0, 5.5, 5.5), strict=True)),
        "GONE": dict(zip(DAYS[:2], (10.0, 8.0), strict=True)),
    }
    rows = [(day, code, close) for code, own in closes.items() for day, close in own.items()]
    table = pl.DataFrame(rows, schema=["date", "code", "close"], orient="row")
    return add_targets(table, [2]).sort("date", "code")


def of(frame: pl.DataFrame, code: str) -> list[float | None]:
    return frame.filter(code=code)["target_2d"].to_list()


def test_rows_are_counted_by_the_reason_for_an_earlier_close(frame):
    assert label_counts(frame, [2]) == {"2d": {"delisted": 2, "halted": 2, "beyond_data": 4}}


def test_surviving_drops_the_targets_of_stocks_without_a_row_on_the_last_day(frame):
    kept = adjust_labels(frame, [2], "surviving", 0.0)
    assert of(kept, "GONE") == [None, None]
    assert of(kept, "HALT") == [None, None, None, None]
    assert of(kept, "ALIVE") == of(frame, "ALIVE") == [0.0] * 4 + [None] * 2


def test_the_delisting_return_follows_the_last_close(frame):
    paid = adjust_labels(frame, [2], "last_close", -0.5)
    assert of(frame, "GONE") == pytest.approx([-0.2, 0.0])
    assert of(paid, "GONE") == pytest.approx([0.8 * 0.5 - 1, -0.5])
    for code in ("HALT", "ALIVE"):
        assert of(paid, code) == of(frame, code)


def test_the_default_changes_nothing(frame):
    assert adjust_labels(frame, [2], "last_close", 0.0) is frame
