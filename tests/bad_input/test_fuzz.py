"""Files damaged at random give a correct result or an error for the user, never a crash."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gogooku3.config import load_config
from gogooku3.data.dataset import ProductionDatasetV3
from gogooku3.data.prices import read_prices
from gogooku3.data.quality.validation import validate
from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market
from gogooku3.errors import GogookuError
from gogooku3.evaluation.scores import score_predictions
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.saving import load_model, save_model

FEW = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

PRICES = generate_market(SyntheticMarketConfig(n_stocks=4, n_days=30)).prices


def _bytes(write: Callable[[Path], Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path)
        return path.read_bytes()


PARQUET = _bytes(PRICES.write_parquet)
CSV = _bytes(PRICES.write_csv)
DATASET = _bytes(
    PRICES.select(
        "date", "code", target_5d=pl.col("close"), x=pl.col("open"), y=pl.col("volume")
    ).write_parquet
)


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A function that damages a file: bytes flipped, cut, doubled, inserted or replaced."""
    kind = draw(st.sampled_from(["flip", "cut", "double", "insert", "noise"]))
    first, last = sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1))))
    other = draw(st.binary(min_size=1, max_size=40))

    def spoil(whole: bytes) -> bytes:
        start, end = int(first * len(whole)), int(last * len(whole))
        match kind:
            case "flip":
                return whole[:start] + bytes(b ^ 0xFF for b in whole[start : start + 8]) + whole[start + 8 :]
            case "cut":
                return whole[:start] + whole[end:]
            case "double":
                return whole[:end] + whole[start:]
            case "insert":
                return whole[:start] + other + whole[start:]
        return other

    return spoil


@pytest.mark.parametrize(("whole", "suffix"), [(PARQUET, ".parquet"), (CSV, ".csv"), (CSV, ".csv.gz")])
@FEW
@given(spoil=damage())
def test_spoiled_prices_are_read_or_refused(
    spoil: Callable[[bytes], bytes], whole: bytes, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / f"prices{suffix}"
    file.write_bytes(spoil(whole))
    try:
        table = read_prices(file)
    except GogookuError as error:
        assert str(error)
    else:
        assert table.frame["close"].null_count() == 0
        assert table.frame.select("date", "code").is_unique().all()
    try:
        assert validate(file).kind in ("prices", "dataset")
    except GogookuError as error:
        assert str(error)


@FEW
@given(spoil=damage())
def test_a_spoiled_data_set_is_loaded_or_refused(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    file.write_bytes(spoil(DATASET))
    try:
        frame = ProductionDatasetV3(file).load_data()
    except GogookuError as error:
        assert str(error)
    else:
        assert frame.select("date", "code").is_unique().all()


@FEW
@given(spoil=damage())
def test_a_spoiled_configuration_is_composed_or_refused(
    spoil: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    file = tmp_path / "train.yaml"
    file.write_bytes(
        spoil(b"model:\n  hidden_dim: 64\ntraining:\n  epochs: 3\n  label: rank\nsplit:\n  n_splits: 2\n")
    )
    try:
        config = load_config(file)
    except GogookuError as error:
        assert str(error)
    else:
        assert config.training.epochs > 0


@FEW
@given(override=st.text(max_size=30) | st.builds("model.hidden_dim={}".format, st.text(max_size=12)))
def test_any_override_is_taken_or_refused(override: str) -> None:
    try:
        config = load_config("model/atft/quickstart", [override])
    except GogookuError as error:
        assert str(error)
    else:
        assert config.model.hidden_dim > 0


@FEW
@given(spoil=damage(), which=st.sampled_from(["model.safetensors", "model.json"]))
def test_a_spoiled_model_is_loaded_or_refused(
    spoil: Callable[[bytes], bytes], which: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = ATFTGATFANModel(3, 4, 2, 1, sequence_length=3, market_dim=0)
    save_model(tmp_path, model)
    file = tmp_path / which
    file.write_bytes(spoil(file.read_bytes()))
    try:
        loaded, _ = load_model(tmp_path, ATFTGATFANModel)
    except GogookuError as error:
        assert str(error)
    else:
        assert loaded.n_parameters == model.n_parameters or which == "model.json"


COLUMNS = ("date", "code", "fold", "model", "horizon", "prediction", "target", "extra")
VALUES = st.sampled_from([None, 0, 1, -1.5, float("nan"), float("inf"), "a", "2024-01-04", True, b"x", [1]])


@FEW
@given(
    columns=st.lists(st.sampled_from(COLUMNS), min_size=1, unique=True),
    rows=st.integers(0, 6),
    data=st.data(),
)
def test_any_table_is_scored_or_refused(columns: list[str], rows: int, data: st.DataObject) -> None:
    frame = {}
    for name in columns:
        value = data.draw(VALUES)
        frame[name] = pl.Series(name, [value] * rows)
    try:
        scores = score_predictions(pl.DataFrame(frame))
    except GogookuError as error:
        assert str(error)
    else:
        assert "models" in scores
