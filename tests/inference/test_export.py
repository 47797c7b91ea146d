"""Tests that an exported file reproduces the network on any day and documents its inputs."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from gogooku3.errors import ConfigError, DataError
from gogooku3.inference import export
from gogooku3.inference.export import (
    FORMATS,
    Format,
    day_inputs,
    export_network,
    largest_difference,
    one_day_network,
)
from gogooku3.inference.one_day_module import OneDayNetwork
from gogooku3.inference.predict import network_output, read_inputs
from gogooku3.inference.saved_fold import SavedFold
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.snapshot import ranks_within

ONNX_MISSING = "onnx, onnxscript or onnxruntime is not installed"
each_format = pytest.mark.parametrize("kind", ["onnx", "torch"])


@pytest.fixture(scope="module")
def fold(trained_run: Path) -> SavedFold:
    return SavedFold.open(trained_run)


@pytest.fixture(scope="module")
def network(fold: SavedFold) -> OneDayNetwork:
    return one_day_network(fold, "seed 1")


@pytest.fixture(scope="module")
def files(fold: SavedFold, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file of each format from one shared trace, the slowest step."""
    for package in FORMATS["onnx"].packages:
        pytest.importorskip(package, reason=ONNX_MISSING)
    folder = tmp_path_factory.mktemp("exported")
    paths: dict[str, Path] = {}
    traced = export.trace(one_day_network(fold, "seed 1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "trace", lambda network: traced)
        for kind, form in FORMATS.items():
            paths[kind] = folder / f"model{form.suffix}"
            assert export_network(fold, kind, paths[kind]).difference <= 1e-5
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model.pt2"]
    return paths


Runner = Callable[[export.Arrays], np.ndarray]


@pytest.fixture(scope="module")
def runners(files: dict[str, Path]) -> dict[str, Runner]:
    return {kind: form.read(files[kind].read_bytes()) for kind, form in FORMATS.items()}


@each_format
def test_a_file_predicts_as_the_network_does_for_any_number_of_stocks_and_any_day(
    kind: str, runners: dict[str, Runner], network: OneDayNetwork
) -> None:
    run = runners[kind]
    generator = torch.Generator().manual_seed(7)
    for stocks, day_of_month in ((2, 0), (2, 22), (3, 1), (16, 11), (101, 4)):
        inputs = network.random_inputs(stocks, day_of_month, generator)
        assert inputs["features"].shape == (stocks, 43, 145)
        with torch.inference_mode():
            expected = network(**inputs).numpy()
        assert expected.std() > 0.01
        predicted = run({name: tensor.numpy() for name, tensor in inputs.items()})
        np.testing.assert_allclose(predicted, expected, atol=1e-5, rtol=0)


@each_format
def test_the_order_of_stocks_changes_no_prediction(
    kind: str, runners: dict[str, Runner], network: OneDayNetwork
) -> None:
    run = runners[kind]
    generator = torch.Generator().manual_seed(3)
    inputs = {name: tensor.numpy() for name, tensor in network.random_inputs(11, 3, generator).items()}
    order = torch.randperm(11, generator=generator).numpy()
    fixed = ("market", "day_of_month")
    moved = {name: array if name in fixed else array[order] for name, array in inputs.items()}
    moved["neighbours"] = np.argsort(order)[moved["neighbours"]]
    np.testing.assert_allclose(run(moved), run(inputs)[order], atol=1e-5, rtol=0)


@each_format
def test_every_input_changes_the_predictions(
    kind: str, runners: dict[str, Runner], network: OneDayNetwork
) -> None:
    run = runners[kind]
    tensors = network.random_inputs(11, 5, torch.Generator().manual_seed(3))
    inputs = {name: tensor.numpy() for name, tensor in tensors.items()}
    links = {"neighbours", "correlations", "is_neighbour"}
    assert set(inputs) == {"features", "traded", "day_of_month", "ranks", "market"} | links
    changed = {
        "features": inputs["features"] + 1,
        "traded": ~inputs["traded"],
        "day_of_month": inputs["day_of_month"] + 1,
        "ranks": 1 - inputs["ranks"],
        "neighbours": (inputs["neighbours"] + 1) % 11,
        "correlations": -inputs["correlations"],
        "is_neighbour": ~inputs["is_neighbour"],
        "market": inputs["market"] + 1,
    }
    whole = run(inputs)
    for name, array in changed.items():
        assert not np.array_equal(run(inputs | {name: array}), whole), name
    later = {name: inputs[name].copy() for name in ("features", "traded")}
    later["features"][:, 26:] = 7
    later["traded"][:, 26:] ^= True
    assert np.array_equal(run(inputs | later), whole), "steps after the predicted day"


@each_format
def test_the_metadata_describe_the_inputs_and_the_origin_of_the_network(
    kind: str, files: dict[str, Path], trained_run: Path
) -> None:
    saved = json.loads((trained_run / "fold_0" / "atft_gat_fan" / "seed_1" / "model.json").read_text())
    about = metadata(kind, files[kind])
    assert {key: about[key] for key in saved if key != "model"} == {
        key: value for key, value in saved.items() if key != "model"
    }
    assert about["features"][:2] == saved["features"][:2] and len(about["features"]) == 145
    assert about["horizons"] == [1, 5, 10, 20] and about["sequence_length"] == 20
    assert about["inputs"] == {
        "features": ["stocks", 43, 145],
        "traded": ["stocks", 43],
        "day_of_month": [1],
        "ranks": ["stocks", 145],
        "neighbours": ["stocks", 10],
        "correlations": ["stocks", 10],
        "is_neighbour": ["stocks", 10],
        "market": [1, 290],
    }
    assert {"features", "day_of_month", "ranks"} <= set(about["meaning"]) <= set(about["inputs"])
    assert about["run"] == f"trained/{trained_run.name}" and about["network"] == "seed 1"
    assert about["versions"]["torch"] == torch.__version__


def metadata(kind: str, path: Path) -> dict[str, Any]:
    if kind == "torch":
        extra = {"gogooku3.json": ""}
        torch.export.load(path, extra_files=extra)
        text = extra["gogooku3.json"]
    else:
        import onnx

        (text,) = [entry.value for entry in onnx.load(path).metadata_props if entry.key == "gogooku3"]
    content = json.loads(text)
    assert isinstance(content, dict)
    return content


def test_the_example_in_the_docs_predicts_as_the_run_did(
    files: dict[str, Path],
    trained_run: Path,
    small_dataset: Path,
    small_frame: pl.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = (Path(__file__).parents[2] / "docs/export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", document, re.DOTALL | re.MULTILINE)
    table = pl.read_parquet(trained_run / "fold_0" / "atft_gat_fan" / "seed_1" / "predictions.parquet")
    day = table["date"].unique().sort()[30]
    (tmp_path / "runs/train").mkdir(parents=True)
    (tmp_path / "runs/train/20250101-090000").symlink_to(trained_run)
    (tmp_path / "network.onnx").symlink_to(files["onnx"])
    (tmp_path / "data").mkdir()
    small_frame.filter(pl.col("date") <= day).write_parquet(tmp_path / "data/today.parquet")
    monkeypatch.chdir(tmp_path)
    names: dict[str, dict[str, float]] = {}
    exec(compile(code, "export.md", "exec"), names)
    written = table.filter(date=day)
    assert list(names["scores"]) == written["code"].to_list()
    rounding = 2e-3 if SavedFold.load(trained_run).half_precision else 1e-5
    np.testing.assert_allclose(list(names["scores"].values()), written["prediction_1d"], atol=rounding)
    assert capsys.readouterr().out.startswith("1 days ahead, best: ")


def test_a_day_of_a_run_gives_the_same_output_as_the_network_itself(
    fold: SavedFold, network: OneDayNetwork, small_dataset: Path
) -> None:
    inputs = read_inputs(fold, small_dataset)
    day = inputs.days[-1]
    batch = inputs.batch(day)
    arrays = {name: torch.from_numpy(array) for name, array in day_inputs(inputs, day).items()}
    single = replace(fold, half_precision=False)
    with torch.inference_mode():
        torch.testing.assert_close(network(**arrays), network_output(single, network.network, batch))


def test_a_network_without_neighbours_has_no_neighbour_inputs() -> None:
    torch.manual_seed(0)
    model = ATFTGATFANModel(3, 8, 2, 1, [1, 5], sequence_length=4, use_regime=False).eval()
    for network in (OneDayNetwork(model, 0), OneDayNetwork(without_graph(), 4)):
        for head in network.network.heads.values():
            torch.nn.init.normal_(head[-1].weight)
        assert set(network.input_shapes) == {"features", "traded", "day_of_month", "ranks"}
        inputs = network.random_inputs(5, 2, torch.Generator().manual_seed(0))
        inputs["ranks"] = ranks_within(inputs["features"][:, 6], torch.zeros(5))
        expected = network.network(inputs["features"][:, :7], inputs["traded"][:, :7])
        assert expected.std() > 0
        torch.testing.assert_close(network(**inputs), expected)


def without_graph() -> ATFTGATFANModel:
    return ATFTGATFANModel(
        3, 8, 2, 1, [1, 5], sequence_length=4, use_graph_attention=False, market_dim=6, use_regime=False
    ).eval()


def test_the_difference_is_the_largest_over_all_tested_days(network: OneDayNetwork) -> None:
    def predict(inputs: export.Arrays, wrong: float) -> np.ndarray:
        with torch.inference_mode():
            predicted = network(**{name: torch.from_numpy(array) for name, array in inputs.items()}).numpy()
        predicted[1, 2] += wrong if len(predicted) == 9 else 0
        return predicted

    assert largest_difference(network, lambda inputs: predict(inputs, 0)) == 0
    assert largest_difference(network, lambda inputs: predict(inputs, 0.5)) == pytest.approx(0.5)
    assert np.isnan(largest_difference(network, lambda inputs: predict(inputs, np.nan)))


@pytest.mark.parametrize("wrong", [1e-3, np.nan])
def test_a_file_with_other_predictions_is_not_written(
    wrong: float,
    fold: SavedFold,
    network: OneDayNetwork,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def predict(inputs: export.Arrays) -> np.ndarray:
        with torch.inference_mode():
            predicted = network(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return predicted.numpy() + wrong

    monkeypatch.setattr(export, "trace", lambda network: None)
    form = Format(".pt2", (), lambda program, about: b"new", lambda content: predict)
    monkeypatch.setitem(FORMATS, "torch", form)
    out = tmp_path / "model.pt2"
    out.write_bytes(b"old")
    with pytest.raises(DataError, match=r"differs from PyTorch by (0.001|nan), more than 1e-05"):
        export_network(fold, "torch", out)
    assert out.read_bytes() == b"old" and list(tmp_path.iterdir()) == [out]


def test_the_error_for_a_missing_package_names_the_pip_command(
    fold: SavedFold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "onnx", FORMATS["onnx"]._replace(packages=("json", "no_such_runtime")))
    with pytest.raises(ConfigError, match=r"needs no_such_runtime, .* pip install 'gogooku3\[onnx\]'"):
        export_network(fold, "onnx", tmp_path / "model.onnx")
