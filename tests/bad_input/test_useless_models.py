"""Weights that give no usable forecast are refused or warned of, even with matching checksums."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from safetensors.torch import load_file, save_file
from tests.bad_input.harness import Case, refuse, run
from torch import Tensor

from gogooku3.runs.seal import SEAL, write_seal

COMMAND = ("predict", "--run", "run", "--data", "d.parquet", "--out", "o.csv")


def _seal(folder: Path) -> None:
    names = json.loads((folder / SEAL).read_text())["sha256"]
    write_seal(folder, [folder / name for name in names], {})


def _change_network(home: Path, change: Callable[[str, Tensor], Tensor]) -> None:
    folder = home / "run" / "fold_0" / "atft_gat_fan"
    weights = load_file(folder / "model.safetensors")
    save_file({name: change(name, each) for name, each in weights.items()}, folder / "model.safetensors")
    _seal(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_of_nan_is_refused(value: float, home: Path) -> None:
    _change_network(home, lambda name, each: each.fill_(value))
    refuse(Case("nan", lambda folder: COMMAND, ("fold_0", "network predicts no number")), home)


def test_a_linear_model_of_nan_is_refused(home: Path) -> None:
    folder = home / "run" / "fold_0" / "linear"
    table = pl.read_parquet(folder / "weights.parquet")
    table.with_columns(pl.col(pl.Float32, pl.Float64) * float("nan")).write_parquet(
        folder / "weights.parquet"
    )
    _seal(folder)
    refuse(Case("nan", lambda folder: COMMAND, ("fold_0", "linear predicts no number")), home)


def test_a_constant_network_is_warned_of(home: Path) -> None:
    whole = run(COMMAND, home)
    assert whole.code == 0 and "network" not in whole.err
    _change_network(home, lambda name, each: each.zero_())
    outcome = run(COMMAND, home)
    assert outcome.code == 0
    assert "one forecast for all stocks" in outcome.err and "network 5d" in outcome.err
