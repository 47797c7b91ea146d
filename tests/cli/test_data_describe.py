"""`gogooku3 data describe` as a person reads it."""

import json
from pathlib import Path

import polars as pl
import pytest

from gogooku3.cli.main import main
from gogooku3.data.fetch.store import RawStore


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(("data", "describe", *arguments))
    assert isinstance(exit_.value.code, int)
    return exit_.value.code, *capsys.readouterr()


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    file = tmp_path / "prices.csv"
    file.write_text(
        "date,code,open,high,low,close,volume\n2024-01-04,1301,1,1,1,1,\n2024-01-05,1301,1,1,1,1,5\n"
    )
    return file


def test_prices_are_described_in_words_and_as_json(prices: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, str(prices))
    assert code == 0
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == f"{prices}: prices"
    assert "days 2, 2024-01-04 to 2024-01-05" in lines
    assert "stocks 1: 1 alive at the end, 0 ended before" in lines
    assert "prices volume 50.0% 5 - 10.0%" in lines
    code, text, _ = run(capsys, str(prices), "--json")
    assert json.loads(text)["families"][0]["columns"]["volume"] == 0.5


def test_a_raw_folder_tells_its_holes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = RawStore(tmp_path)
    for month in ("2023-09", "2024-02"):
        store.write("topix", month, pl.DataFrame({"Date": [month]}), settled=month < "2024")
    code, text, _ = run(capsys, str(tmp_path))
    assert code == 0
    row = " ".join(text.splitlines()[-1].split())
    assert row.startswith("topix 2023-09 to 2024-02 4: 2023-10, 2023-11, 2023-12, ... 2 1 2 ")
    _, text, _ = run(capsys, str(tmp_path), "--json")
    (topix,) = json.loads(text)["datasets"]
    assert topix["holes"] == ["2023-10", "2023-11", "2023-12", "2024-01"]


def test_what_cannot_be_described_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not quite")
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("{}")
    for name, message in (
        ("nowhere", "no prices at"),
        ("broken.parquet", "cannot be read as Parquet"),
        ("empty", "has no price files"),
        ("run", "run/predictions.parquet"),
    ):
        code, text, err = run(capsys, str(tmp_path / name))
        assert (code, text) == (2, "")
        assert message in err and len(err.splitlines()) == 1
