"""A panel read in blocks, in memory or on disk, equals the panel of the whole frame."""

import datetime as dt
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.panel import Panel
from gogooku3.data.panel_reader import read_panel
from gogooku3.errors import DataError

DAY = dt.date(2024, 1, 4)
SPARE = ("later_a", "later_b")


def market(n_days: int, n_stocks: int, n_features: int, seed: int = 0) -> pl.DataFrame:
    """Rows by (date, code), a tenth of them missing, with unknown features and targets."""
    rng = np.random.default_rng(seed)
    day, stock = np.nonzero(rng.random((n_days, n_stocks)) < 0.9)
    values = rng.normal(size=(len(day), n_features + 1)).astype(np.float32)
    values[rng.random(values.shape) < 0.05] = np.nan
    names = ["target_1d", *(f"f{i}" for i in range(n_features))]
    columns = {name: pl.Series(values[:, i]).fill_nan(None) for i, name in enumerate(names)}
    dates = pl.Series([DAY + dt.timedelta(days=i) for i in range(n_days)])
    return pl.DataFrame({"date": dates.gather(day), "code": [f"{s:05}" for s in stock], **columns})


def panels_are_equal(one: Panel, other: Panel) -> bool:
    arrays = ("values", "mask", "targets")
    same = all(
        np.array_equal(getattr(one, a), getattr(other, a), equal_nan=a != "mask") for a in arrays
    ) and np.array_equal(one.dates, other.dates)
    return same and (one.codes, one.features, one.horizons) == (other.codes, other.features, other.horizons)


@pytest.mark.parametrize("block_rows", [7, 10_000])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("on_disk", [False, True])
def test_any_block_size_order_format_and_storage_gives_the_panel_of_the_whole_frame(
    tmp_path: Path, block_rows: int, shuffled: bool, suffix: str, on_disk: bool
) -> None:
    rows = market(9, 8, 3)
    if shuffled:
        rows = rows.sample(fraction=1, shuffle=True, seed=1)
    path = tmp_path / f"d{suffix}"
    if suffix == ".parquet":
        rows.write_parquet(path, row_group_size=20)
    else:
        rows.write_csv(path)
    loader = ProductionDatasetV3(path, start_date="2024-01-06", end_date="2024-01-11")
    whole = Panel.from_frame(loader.load_data(), loader.feature_names, (1,), SPARE)
    storage = tmp_path / "cube" if on_disk else None
    read = read_panel(loader, loader.load_index(), (1,), SPARE, storage, block_rows)
    assert panels_are_equal(read, whole)
    assert loader.dropped == {
        "before 2024-01-06": rows.filter(pl.col("date") < dt.date(2024, 1, 6)).height,
        "after 2024-01-11": rows.filter(pl.col("date") > dt.date(2024, 1, 11)).height,
    }


@pytest.mark.parametrize("horizons", [(1,), (5,), ()])
def test_a_copy_of_any_target_of_the_file_is_refused_naming_both(
    horizons: tuple[int, ...], tmp_path: Path
) -> None:
    rows = market(30, 200, 2).sample(fraction=0.8, shuffle=True, seed=1)
    rows = rows.with_columns(target_5d=pl.Series(np.random.default_rng(1).normal(size=rows.height)))
    rows.with_columns(leak=-pl.col("target_1d")).write_parquet(tmp_path / "d.parquet")
    loader = ProductionDatasetV3(tmp_path / "d.parquet")
    with pytest.raises(
        DataError, match=r"the future: leak follows target_1d \(rank correlation within a day 1\.00"
    ):
        read_panel(loader, loader.load_index(), horizons)


PEAK = """
import sys
from pathlib import Path
from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.panel import Panel
from gogooku3.data.panel_reader import read_panel
def mark(): return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
loader = ProductionDatasetV3(sys.argv[1])
before = mark()
if sys.argv[2] == "whole":
    panel = Panel.from_frame(loader.load_data(), loader.feature_names, (1,))
else:
    panel = read_panel(loader, loader.load_index(), (1,), block_rows=4096)
print(mark() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's peak memory counter")
def test_reading_in_blocks_needs_little_more_memory_than_the_cube(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    market(250, 1500, 100).write_parquet(path, row_group_size=4096)
    cube = 250 * 1500 * 100 * 4
    found = {}
    for how in ("whole", "blocks"):
        done = subprocess.run([sys.executable, "-c", PEAK, str(path), how], capture_output=True, check=True)
        found[how] = int(done.stdout) / cube
    assert found["blocks"] < 1.7 < found["whole"], found


def test_a_data_set_without_any_daily_return_is_read(tmp_path: Path) -> None:
    frame = market(30, 5, 2).rename({"target_1d": "target_5d"})
    frame.write_parquet(tmp_path / "five.parquet")
    loader = ProductionDatasetV3(tmp_path / "five.parquet")
    panel = read_panel(loader, loader.load_index(), [5])
    whole = Panel.from_frame(frame, ["f0", "f1"], [5])
    assert np.array_equal(panel.values, whole.values, equal_nan=True)
    assert np.array_equal(panel.targets, whole.targets, equal_nan=True)
