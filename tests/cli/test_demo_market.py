"""The demo market is made once, by a second process where there is other work to do meanwhile."""

import subprocess
import sys
from pathlib import Path

import pytest

from gogooku3.cli import demo_market
from gogooku3.errors import DataError

MAKING = """
import os, sys
from pathlib import Path
from gogooku3.cli import demo_market
from gogooku3.errors import DataError

dataset, fails = Path(sys.argv[1]), sys.argv[2] == "fails"
tries, done = dataset.with_name("tries"), []

def make(path):
    with tries.open("a") as file:
        print(os.getpid(), file=file)
    if fails:
        raise DataError("no room")
    path.write_text("made")

demo_market._make = make
try:
    demo_market.ensure_demo_dataset(dataset, lambda: done.append(os.getpid()))
except DataError as error:
    print(error)
assert done == [os.getpid()]
print([int(pid) == os.getpid() for pid in tries.read_text().split()])
"""


def make(dataset: Path, how: str) -> list[str]:
    """What a fresh process says that makes the data set."""
    command = [sys.executable, "-c", MAKING, str(dataset), how]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="a second process is had on Linux alone")
def test_a_second_process_makes_it_while_this_one_does_its_own_work(tmp_path: Path) -> None:
    assert make(tmp_path / "d.parquet", "works") == ["[False]"]
    assert (tmp_path / "d.parquet").read_text() == "made"


@pytest.mark.skipif(sys.platform != "linux", reason="a second process is had on Linux alone")
def test_what_goes_wrong_in_the_second_process_is_told_by_the_first(tmp_path: Path) -> None:
    assert make(tmp_path / "d.parquet", "fails") == ["no room", "[False, True]"]


def test_with_polars_loaded_it_is_made_here_after_the_other_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polars  # noqa: F401

    done: list[str] = []
    monkeypatch.setattr(demo_market, "_make", lambda path: done.append("made"))
    demo_market.ensure_demo_dataset(tmp_path / "d.parquet", lambda: done.append("other work"))
    assert done == ["other work", "made"]


def test_where_it_is_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d.parquet").touch()
    monkeypatch.setattr(demo_market, "_make", pytest.fail)
    demo_market.ensure_demo_dataset(tmp_path / "d.parquet", lambda: pytest.fail("worked"))
    monkeypatch.setattr(demo_market, "_make", lambda path: (_ for _ in ()).throw(DataError("tried")))
    with pytest.raises(DataError, match="tried"):
        demo_market.ensure_demo_dataset(tmp_path / "e.parquet")
