"""Saved networks and trees round-trip; invalid files are refused; a failed write leaves the old file."""

import json
from pathlib import Path

import lightgbm
import numpy as np
import psutil
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gogooku3.errors import DataError
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.models.saving import load_model, load_trees, save_model, save_trees
from gogooku3.training.callbacks import copy_weights


def network(seed: int = 0) -> ATFTGATFANModel:
    torch.manual_seed(seed)
    return ATFTGATFANModel(3, 8, 2, 1, [1, 5], sequence_length=6, dropout=0.1, num_frequencies=2)


def test_a_model_round_trips_with_settings_weights_and_extra(tmp_path: Path) -> None:
    model = network()
    path = save_model(tmp_path, model, {"features": ["a", "b", "c"]})
    assert path == tmp_path / "model.safetensors"
    again, state = load_model(tmp_path, ATFTGATFANModel)
    assert again.settings == model.settings
    assert state["features"] == ["a", "b", "c"]
    assert not again.training
    x = torch.randn(4, 6, 3)
    torch.testing.assert_close(again(x), model.eval()(x), atol=0, rtol=0)


def test_a_later_save_replaces_both_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    save_model(tmp_path, network(1))
    save_model(tmp_path, network(2))
    again, _ = load_model(tmp_path, ATFTGATFANModel)
    for name, weight in network(2).state_dict().items():
        assert torch.equal(again.state_dict()[name], weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


def test_a_failed_write_leaves_the_old_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path, network(1))

    def fails(weights: object, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises(OSError, match="no space left"):
        save_model(tmp_path, network(2))
    again, _ = load_model(tmp_path, ATFTGATFANModel)
    assert torch.equal(again.graph.W.weight, network(1).graph.W.weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize("missing", ["model.safetensors", "model.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    save_model(tmp_path, network())
    (tmp_path / missing).unlink()
    with pytest.raises(DataError, match=rf"{missing} is missing"):
        load_model(tmp_path, ATFTGATFANModel)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04pickle", b"\xff" * 64])
@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_foreign_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    save_model(tmp_path, network())
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="does not hold a gogooku3 model"):
        load_model(tmp_path, ATFTGATFANModel)


@pytest.mark.parametrize(
    "state", [[], {}, {"model": {"width": 3}}, {"model": {"hidden_dim": 9, "num_heads": 2}}]
)
def test_invalid_settings_are_refused(tmp_path: Path, state: object) -> None:
    save_model(tmp_path, network())
    (tmp_path / "model.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="does not hold a gogooku3 model"):
        load_model(tmp_path, ATFTGATFANModel)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path, network())
    settings = {"model": {**network().settings, "hidden_dim": 16}}
    (tmp_path / "model.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match="does not hold a gogooku3 model"):
        load_model(tmp_path, ATFTGATFANModel)


def test_a_copy_of_the_weights_does_not_change_with_the_model() -> None:
    model = network()
    kept = copy_weights(model)
    before = model.graph.W.weight.detach().clone()
    with torch.no_grad():
        model.graph.W.weight.add_(1)
    assert torch.equal(kept["graph.W.weight"], before)
    assert not kept["graph.W.weight"].requires_grad


def test_a_pretrained_model_is_found_in_a_run_a_fold_and_a_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for fold in (2, 10):
        for seed in (0, 1):
            (run / f"fold_{fold}" / f"seed_{seed}").mkdir(parents=True)
            network(10 * fold + seed).save_pretrained(run / f"fold_{fold}" / f"seed_{seed}")
    found = {
        101: ATFTGATFANModel.from_pretrained(run),
        21: ATFTGATFANModel.from_pretrained(str(run), fold=2),
        100: ATFTGATFANModel.from_pretrained(run / "fold_10" / "seed_0"),
    }
    for seed, model in found.items():
        assert torch.equal(model.graph.W.weight, network(seed).graph.W.weight)
        assert not model.training


def test_a_place_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        ATFTGATFANModel.from_pretrained(tmp_path / "none")
    with pytest.raises(DataError, match=r"holds no network.*; name a run"):
        ATFTGATFANModel.from_pretrained(tmp_path)
    (tmp_path / "fold_0").mkdir()
    with pytest.raises(DataError, match="does not have a trained network"):
        ATFTGATFANModel.from_pretrained(tmp_path)


# --- trees -------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(200, 3))


@pytest.fixture(scope="module")
def booster() -> lightgbm.Booster:
    options = {"num_leaves": 4, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
    return lightgbm.train(options, lightgbm.Dataset(X, X[:, 0]), num_boost_round=3)


def test_trees_round_trip_and_lightgbm_reads_the_file(booster: lightgbm.Booster, tmp_path: Path) -> None:
    path = save_trees(tmp_path / "new" / "trees.txt", booster)
    np.testing.assert_array_equal(load_trees(path).predict(X), booster.predict(X))
    np.testing.assert_array_equal(lightgbm.Booster(model_file=path).predict(X), booster.predict(X))


@settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(position=st.floats(0, 1), kind=st.sampled_from(["cut", "flip", "double", "insert"]))
def test_a_damaged_text_of_trees_is_refused_before_parsing(
    position: float, kind: str, booster: lightgbm.Booster, tmp_path: Path
) -> None:
    path = save_trees(tmp_path / "trees.txt", booster)
    whole = path.read_bytes()
    at = int(position * (len(whole) - 2))
    damaged = {
        "cut": whole[:at],
        "flip": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
        "double": whole[:at] + whole[max(0, at - 1) :],
        "insert": whole[:at] + b"\xff" + whole[at:],
    }[kind]
    path.write_bytes(damaged)
    if damaged != whole:
        with pytest.raises(DataError, match=r"trees\.txt is not the LightGBM model that was written there"):
            load_trees(path)


@pytest.mark.parametrize(
    ("forged", "named"),
    [
        ({"hidden_dim": 10**6}, "needs 1,000,000,000,000 numbers"),
        ({"input_dim": 10**9}, "needs 4,000,000,000 numbers"),
        ({"num_frequencies": 10**9}, "needs 3,000,000,000 numbers"),
        ({"num_layers": 10**9}, "num_layers is 1,000,000,000"),
        ({"sequence_length": 10**5}, "too many"),
        ({"market_dim": 10**9}, "market_dim is 1,000,000,000"),
        ({"snapshot_dim": 10**6}, "needs 1,000,000,000,000 numbers"),
        ({"hidden_dim": 16}, "size mismatch|Error"),
    ],
    ids=str,
)
def test_forged_sizes_are_refused_before_they_take_memory(
    forged: dict[str, int], named: str, tmp_path: Path
) -> None:
    save_model(tmp_path, network())
    state = json.loads((tmp_path / "model.json").read_text())
    state["model"] |= forged
    (tmp_path / "model.json").write_text(json.dumps(state))
    before = psutil.Process().memory_info().rss
    with pytest.raises(DataError, match=named):
        load_model(tmp_path, ATFTGATFANModel)
    assert psutil.Process().memory_info().rss - before < 200e6


def test_a_window_that_the_weights_do_not_show_is_bounded(tmp_path: Path) -> None:
    model = ATFTGATFANModel(
        3, 8, 2, 1, [1], sequence_length=6, num_frequencies=2, use_temporal_attention=False
    )
    save_model(tmp_path, model)
    load_model(tmp_path, ATFTGATFANModel)
    state = json.loads((tmp_path / "model.json").read_text())
    state["model"]["sequence_length"] = 10**5
    (tmp_path / "model.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="windows of 100,000 days and 2 frequency bands, too many"):
        load_model(tmp_path, ATFTGATFANModel)
