"""The cube contains every row's values in the right cell, and nothing else."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gogooku3.data.panel import Panel, PanelSlice
from gogooku3.errors import DataError

NAN = float("nan")
DAY = dt.date(2024, 1, 4)
FEATURES = ("x", "y")


def days(n: int) -> list[dt.date]:
    return [DAY + dt.timedelta(days=3 * i) for i in range(n)]


def random_frame(seed: int, n_days: int, n_stocks: int, holes: float) -> pl.DataFrame:
    """Rows in random order, some missing, some cells null; at least one row."""
    rng = np.random.default_rng(seed)
    keys = [(d, f"{s:04}") for d in days(n_days) for s in range(n_stocks)]
    order = rng.permutation(len(keys))
    kept = [keys[i] for i in order[: max(1, round(len(keys) * (1 - holes)))]]

    def column() -> list[float | None]:
        return [None if rng.random() < 0.1 else rng.normal() for _ in kept]

    return pl.DataFrame(
        {
            "date": [d for d, _ in kept],
            "code": [c for _, c in kept],
            "target_1d": column(),
            "target_5d": column(),
            "x": column(),
            "y": column(),
        },
        schema_overrides=dict.fromkeys(("target_1d", "target_5d", "x", "y"), pl.Float64),
    )


def test_rows_in_any_order_are_assigned_to_their_day_and_stock() -> None:
    first, second = days(2)
    frame = pl.DataFrame(
        {
            "date": [second, first, second],
            "code": ["B", "A", "A"],
            "target_1d": [None, 0.5, 0.25],
            "x": [1.0, 2.0, 3.0],
            "y": [10, 20, None],
        }
    )
    panel = Panel.from_frame(frame, FEATURES, (1, 5))
    assert panel.dates.tolist() == [first, second]
    assert panel.codes == ("A", "B")
    assert panel.features == FEATURES
    assert panel.horizons == (1, 5)
    np.testing.assert_array_equal(panel.mask, [[True, False], [True, True]])
    np.testing.assert_array_equal(panel.values, [[[2, 20], [NAN, NAN]], [[3, NAN], [1, 10]]])
    np.testing.assert_array_equal(panel.targets[:, :, 0], [[0.5, NAN], [0.25, NAN]])
    assert np.isnan(panel.targets[:, :, 1]).all()
    assert panel.values.dtype == panel.targets.dtype == np.float32
    assert (panel.n_days, panel.n_stocks, panel.n_rows) == (2, 2, 3)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n_days=st.integers(1, 9),
    n_stocks=st.integers(1, 7),
    holes=st.floats(0, 0.8),
    reserve=st.integers(0, 2),
)
def test_the_cube_equals_a_row_by_row_twin(
    seed: int, n_days: int, n_stocks: int, holes: float, reserve: int
) -> None:
    frame = random_frame(seed, n_days, n_stocks, holes)
    extra = [f"later_{i}" for i in range(reserve)]
    panel = Panel.from_frame(frame, ["y", "x"], (5, 1), reserve=extra)

    dates, codes = sorted(set(frame["date"])), sorted(set(frame["code"]))
    values = np.full((len(dates), len(codes), 2 + reserve), NAN, dtype=np.float32)
    targets = np.full((len(dates), len(codes), 2), NAN, dtype=np.float32)
    mask = np.zeros((len(dates), len(codes)), dtype=bool)
    for row in frame.iter_rows(named=True):
        place = dates.index(row["date"]), codes.index(row["code"])
        mask[place] = True
        values[place][:2] = [NAN if row[c] is None else row[c] for c in ("y", "x")]
        targets[place] = [NAN if row[c] is None else row[c] for c in ("target_5d", "target_1d")]

    assert panel.dates.tolist() == dates
    assert panel.codes == tuple(codes)
    assert panel.features == ("y", "x", *extra)
    np.testing.assert_array_equal(panel.values, values)
    np.testing.assert_array_equal(panel.targets, targets)
    np.testing.assert_array_equal(panel.mask, mask)


def test_a_cube_larger_than_one_block_of_rows_is_whole() -> None:
    n_days, n_stocks = 90, 100
    frame = pl.DataFrame(
        {
            "date": np.repeat(np.array(days(n_days), dtype="datetime64[D]"), n_stocks),
            "code": [f"{s:04}" for s in range(n_stocks)] * n_days,
            "x": np.arange(n_days * n_stocks, dtype=np.float64),
        }
    ).sample(fraction=1, shuffle=True, seed=1)
    panel = Panel.from_frame(frame, ["x"], ())
    np.testing.assert_array_equal(panel.values.ravel(), np.arange(n_days * n_stocks))
    assert panel.mask.all()
    assert panel.targets.shape == (n_days, n_stocks, 0)


def test_reserved_columns_of_a_full_market_are_empty() -> None:
    frame = pl.DataFrame({"date": days(2), "code": ["A", "A"], "x": [1.0, 2.0]})
    panel = Panel.from_frame(frame, ["x"], (1,), reserve=["quality"])
    np.testing.assert_array_equal(panel.values[:, 0], [[1, NAN], [2, NAN]])
    panel.values[:, :, panel.feature_index("quality")] = 7
    np.testing.assert_array_equal(panel.values[:, 0], [[1, 7], [2, 7]])


def test_a_duplicate_key_is_refused_with_the_number_of_rows() -> None:
    frame = pl.DataFrame({"date": [DAY] * 3, "code": ["A", "A", "A"], "x": [1.0, 2.0, 3.0]})
    with pytest.raises(DataError, match=r"2 rows repeat a \(date, code\)"):
        Panel.from_frame(frame, ["x"])


def test_an_empty_frame_and_a_missing_feature_are_refused() -> None:
    frame = pl.DataFrame({"date": [DAY], "code": ["A"], "x": [1.0]})
    with pytest.raises(DataError, match="no rows"):
        Panel.from_frame(frame.clear(), ["x"])
    with pytest.raises(DataError, match=r"needs the column nope.*it has date, code, x"):
        Panel.from_frame(frame, ["x", "nope"])


def test_a_cube_on_disk_holds_the_same_values(tmp_path: Path) -> None:
    frame = random_frame(3, 8, 6, 0.3)
    in_memory = Panel.from_frame(frame, FEATURES, (1,), reserve=["z"])
    on_disk = Panel.from_frame(frame, FEATURES, (1,), reserve=["z"], storage=tmp_path / "new" / "panel.f32")
    np.testing.assert_array_equal(on_disk.values, in_memory.values)
    assert (tmp_path / "new" / "panel.f32").stat().st_size == in_memory.values.nbytes
    on_disk.values[0, 0, 0] = 42
    assert on_disk.values[0, 0, 0] == 42


def test_a_sample_needs_its_own_row_and_a_window_of_market_days() -> None:
    frame = pl.DataFrame(
        {
            "date": [*days(4), days(4)[0], days(4)[3]],
            "code": ["A"] * 4 + ["B"] * 2,
            "x": [0.0] * 6,
        }
    )
    panel = Panel.from_frame(frame, ["x"], ())
    # B did not trade on the second and third day: those steps are masked, the fourth day is a sample.
    np.testing.assert_array_equal(panel.sample_mask(3), [[0, 0], [0, 0], [1, 0], [1, 1]])
    np.testing.assert_array_equal(panel.sample_mask(1), panel.mask)
    assert not panel.sample_mask(5).any()
    assert panel.mask[0].all(), "the presence mask itself must not change"


def test_a_slice_has_the_rows_of_its_days_by_day_then_stock() -> None:
    panel = Panel.from_frame(random_frame(5, 9, 5, 0.4), FEATURES, (1,))
    part = PanelSlice(panel, range(3, 7))
    day, stock = part.rows(sequence_length=5)
    expected = [(d, s) for d in range(3, 7) for s in range(panel.n_stocks) if panel.mask[d, s] and d >= 4]
    assert list(zip(day.tolist(), stock.tolist(), strict=True)) == expected
    keys = part.keys(sequence_length=5)
    assert keys.schema == {"date": pl.Date, "code": pl.String}
    assert keys.rows() == [(panel.dates[d].item(), panel.codes[s]) for d, s in expected]


def test_a_slice_without_samples_has_no_keys() -> None:
    panel = Panel.from_frame(random_frame(5, 4, 3, 0), FEATURES, (1,))
    assert PanelSlice(panel, range(0, 4)).keys(sequence_length=9).is_empty()


def test_features_are_found_by_name() -> None:
    panel = Panel.from_frame(random_frame(5, 4, 3, 0), FEATURES, (1,))
    assert panel.feature_index("y") == 1
    with pytest.raises(DataError, match="the panel needs the column z"):
        panel.feature_index("z")
