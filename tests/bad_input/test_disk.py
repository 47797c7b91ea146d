"""A full disk or a removed file gives one clear error and harms no existing file."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from tests.bad_input.harness import TINY, contents, prices, refusal_problems, run

from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.files import atomic
from gogooku3.models.lightgbm_forecaster import LightGBMForecaster

Fill = Callable[[int], Path]
"""Makes a disk of so many kilobytes, or resizes it."""


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fill]:
    """A small file system, or a limit on the size of a file where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = False
    replace = atomic._replace

    def fill(kilobytes: int) -> Path:
        nonlocal mounted
        options = f"remount,size={kilobytes}k" if mounted else f"size={kilobytes}k"
        command = [shutil.which("mount") or "false", "-t", "tmpfs", "-o", options, "tmpfs", place]
        done = subprocess.run(command, capture_output=True, check=False)
        mounted = mounted or not done.returncode
        if not mounted:
            monkeypatch.setattr(atomic, "_replace", partial(full, kilobytes))
        if not (place / "old.txt").exists():
            (place / "old.txt").write_text("old")
        return place

    def full(kilobytes: int, temporary: Path, target: Path) -> None:
        if temporary.stat().st_size > 1024 * kilobytes / 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(temporary, target)

    yield fill
    if mounted:
        subprocess.run(["umount", "--lazy", place], check=True)


def refused_for_space(words: tuple[object, ...], folder: Path) -> None:
    """Assert exit code 2, one line, the old file and no temporary one."""
    outcome = run(words, folder)
    assert outcome.code == 2, outcome.err
    assert "no space is left on the disk" in outcome.message
    assert outcome.err.count("error: ") == 1 and "Traceback" not in outcome.err
    assert (folder / "disk" / "old.txt").read_text() == "old"
    assert not list(folder.rglob("*.tmp"))


def test_a_full_disk_stops_what_writes_one_file(disk: Fill, home: Path) -> None:
    place = disk(4)
    prices(20, 300).write_parquet(home / "p.parquet")
    for words in (
        ("data", "synth", "--stocks", 20, "--days", 80, "--out", place / "s.parquet"),
        ("data", "build", "--prices", "p.parquet", "--out", place / "new" / "b.parquet"),
    ):
        refused_for_space(words, home)
        assert not list(place.rglob("*.parquet"))


def test_a_full_disk_leaves_the_old_file_of_a_name(disk: Fill, home: Path) -> None:
    place = disk(40)
    prices(20, 300).write_parquet(home / "p.parquet")
    (place / "b.parquet").write_text("an older one")
    refused_for_space(("data", "build", "--prices", "p.parquet", "--out", place / "b.parquet"), home)
    assert (place / "b.parquet").read_text() == "an older one"


def test_a_full_disk_leaves_the_old_years_of_a_folder(disk: Fill, home: Path) -> None:
    place = disk(4000)
    everything = prices(20, 300)
    everything.filter(pl.col("date") < pl.col("date").max()).write_parquet(home / "p.parquet")
    command = ("data", "build", "--prices", "p.parquet", "--out", place / "b")
    assert run(command, home).code == 0
    before = contents(place / "b")
    everything.write_parquet(home / "p.parquet")
    used = sum(file.stat().st_size for file in place.rglob("*.parquet"))
    disk(used // 1024 + 20)
    for options in ((), ("--append",)):
        refused_for_space((*command, *options), home)
        assert contents(place / "b") == before


@pytest.mark.parametrize("kilobytes", [8, 60, 250])
def test_a_run_stopped_by_a_full_disk_can_be_resumed(
    kilobytes: int, disk: Fill, home: Path, tiny_run: Path
) -> None:
    place = disk(kilobytes)
    refused_for_space(("train", "--data", "d.parquet", "--out", place, *TINY), home)
    runs = list(place.glob("train/*"))
    before = contents(place)
    disk(20_000)
    if not runs:
        assert list(before) == ["old.txt"]
        return
    resumed = run(("train", "--resume", runs[0]), home)
    assert resumed.code == 0, resumed.err
    ended, unbroken = (pl.read_parquet(r / "predictions.parquet") for r in (runs[0], tiny_run))
    assert ended.equals(unbroken)


def test_a_file_removed_while_it_is_read_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = ProductionDatasetV3.feature_blocks

    def vanish(self: ProductionDatasetV3, rows: int) -> Iterator[tuple[int, pl.DataFrame]]:
        self.data_path.unlink()
        return blocks(self, rows)

    monkeypatch.setattr(ProductionDatasetV3, "feature_blocks", vanish)
    outcome = run(("train", "--data", "d.parquet", "--out", "runs", *TINY), home)
    assert outcome.changed == ("d.parquet",)
    assert not [c for c in refusal_problems(outcome, ("d.parquet",)) if not c.startswith("it changed")], (
        outcome.err
    )


def test_a_run_folder_removed_during_the_run_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = LightGBMForecaster.fit

    def vanish(*arguments: object) -> object:
        shutil.rmtree(home / "runs")
        (home / "runs").write_text("a file now")
        return fit(*arguments)

    monkeypatch.setattr(LightGBMForecaster, "fit", vanish)
    outcome = run(("train", "--data", "d.parquet", "--out", "runs", *TINY), home)
    assert outcome.code == 2 and "Traceback" not in outcome.err
    assert "runs" in outcome.message and outcome.err.count("error: ") == 1
    assert (home / "runs").read_text() == "a file now"
