"""Curves are logged to TensorBoard, and to the real clients of W&B and MLflow offline."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from panels import make_panel

from gogooku3.config.groups import LoggingConfig
from gogooku3.data.panel import PanelSlice
from gogooku3.errors import ConfigError
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.training import loggers
from gogooku3.training.explanations import Explanations
from gogooku3.training.tensorboard import explanation_figures, rank_ic_figure, write_explanation_figures
from gogooku3.training.trainer import ATFTTrainer

DAYS, STOCKS, FEATURES = 40, 8, 3


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this machine can be reached."""
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a connection to {address} was tried")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


def network() -> ATFTGATFANModel:
    torch.manual_seed(0)
    return ATFTGATFANModel(FEATURES, 8, 2, 1, [1, 5], sequence_length=4)


def fit(folder: Path | None, **logging: Any) -> dict[str, Any]:
    """Train a small network for two epochs."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(DAYS, STOCKS, FEATURES)).astype(np.float32)
    panel = make_panel(values, 0.02 * values[:, :, :2])
    config = {
        "epochs": 2,
        "batch_size": 16,
        "mixed_precision": False,
        "progress_bar": False,
        "logging": {"tensorboard": False, **logging},
        "snapshot": {"passes": 0.1, "refit": False},
    }
    train, validation = PanelSlice(panel, range(25)), PanelSlice(panel, range(30, DAYS))
    return ATFTTrainer(network(), train, validation, config, run_dir=folder).fit()


def test_tensorboard_has_the_learning_rate_a_histogram_and_a_figure_per_epoch(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    outcome = fit(tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"), {"histograms": 0, "scalars": 0}).Reload()
    tags = events.Tags()
    assert {"train/loss", "val/loss", "val/rank_ic_5d", "train/learning_rate"} <= set(tags["scalars"])
    weights = [tag for tag in tags["histograms"] if tag.startswith("weights/")]
    assert {f"weights/{name}" for name, _ in network().named_parameters()} == set(weights)
    for tag in (*weights, "spread/1d", "spread/5d"):
        assert [event.step for event in events.Histograms(tag)] == [0, 1]
    spread = events.Histograms("spread/5d")[1].histogram_value
    assert spread.num == DAYS - 30
    assert spread.sum / spread.num == pytest.approx(outcome["history"][1]["val/spread_5d"], rel=1e-5)
    assert [step for step, _ in pictures(tmp_path / "tensorboard")["validation/rank_ic"]] == [0, 1]
    assert fit(None)["history"] == outcome["history"], "loggers do not change the training"


def test_the_line_of_a_horizon_is_its_cumulative_rank_ic() -> None:
    dates = np.repeat(np.array(["2024-01-04", "2024-01-05"], dtype="datetime64[D]"), 3)
    predictions = np.array([[1.0], [2.0], [3.0], [1.0], [2.0], [3.0]])
    targets = np.array([[0.1], [0.2], [0.3], [0.3], [0.2], [0.1]])
    line, _ = rank_ic_figure(predictions, targets, dates, (1,)).axes[0].lines
    assert line.get_ydata().tolist() == [1.0, 0.0]
    assert line.get_label() == "1d"


def test_explanation_figures_are_written_to_tensorboard(tmp_path: Path) -> None:
    codes = ["A", "B", "C"]
    explained = Explanations(
        features=pl.DataFrame({"feature": ["ret_1d", "rsi_14"], "horizon": 1, "importance": [0.7, 0.3]}),
        attention=pl.DataFrame({"layer": 0, "head": 0, "lag": [0, 1, 2], "attention": [0.5, 0.3, 0.2]}),
        neighbours=pl.DataFrame(),
        edges=pl.DataFrame(
            {
                "receiver": ["A", "B"],
                "source": ["B", "B"],
                "correlation": [-0.6, 1.0],
                "attention": [0.4, 0.2],
            }
        ),
        embeddings=pl.DataFrame(
            {"code": codes, "x": [0.0, 1.0, 2.0], "y": [0.0, 1.0, 0.0], "prediction": [0.1, 0.0, -0.1]}
        ),
    )
    write_explanation_figures(tmp_path, explained, epoch=3)
    drawn = pictures(tmp_path)
    names = ("importance", "attention", "graph", "embeddings")
    assert set(drawn) == {f"explanations/{name}" for name in names}
    assert all(step == 3 and size > 2_000 for ((step, size),) in drawn.values())
    # The only edge between two stocks, in the colour of negative correlation.
    assert [line.get_color() for line in explanation_figures(explained)["graph"].axes[0].lines] == [
        "tab:orange"
    ]
    assert explanation_figures(explained)["attention"].axes[0].lines[0].get_ydata().tolist() == [
        0.5,
        0.3,
        0.2,
    ]


def pictures(folder: Path) -> dict[str, list[tuple[int, int]]]:
    """Step and size in bytes of every image, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), {"images": 0}).Reload()
    return {
        tag: [(event.step, len(event.encoded_image_string)) for event in events.Images(tag)]
        for tag in events.Tags()["images"]
    }


def test_wandb_writes_one_run_per_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for fold in ("fold_0", "fold_1"):
        fit(tmp_path / fold, wandb=True)
        (kept,) = (tmp_path / fold / "wandb").glob("offline-run-*/*.wandb")
        # A separate process writes the file.
        until = time.monotonic() + 20
        while b"val/rank_ic_5d" not in kept.read_bytes() and time.monotonic() < until:
            time.sleep(0.1)
        assert b"val/rank_ic_5d" in kept.read_bytes() and b"train/learning_rate" in kept.read_bytes()


def test_wandb_without_an_api_key_is_refused_with_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")

    class Refused:
        """W&B's client would keep the settings of an earlier test in this process."""

        def __init__(self, **_: Any) -> None: ...

        @property
        def experiment(self) -> None:
            raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(loggers, "WandbLogger", Refused)
    with pytest.raises(
        ConfigError, match=r"W&B does not start a run \(No API key.*WANDB_API_KEY, or WANDB_MODE"
    ):
        fit(tmp_path, wandb=True)


def test_mlflow_keeps_the_curves_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    uri = (tmp_path / "tracked").as_uri()
    outcome = fit(tmp_path / "one" / "fold_0", mlflow=True, mlflow_uri=uri)
    fit(tmp_path / "two" / "fold_0", mlflow=True)
    client = mlflow.tracking.MlflowClient(uri)
    experiment = client.get_experiment_by_name("gogooku3")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("one/fold_0", "FINISHED")
    losses = [point.value for point in client.get_metric_history(run.info.run_id, "val/loss")]
    assert losses == pytest.approx([epoch["val/loss"] for epoch in outcome["history"]])
    assert (tmp_path / "two/fold_0/mlruns").is_dir()


@pytest.mark.parametrize("client", ["wandb", "mlflow"])
def test_a_missing_client_is_refused_by_its_extra(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf"logging\.{client} is true .* 'gogooku3\[{client}\]'"):
        loggers.require_clients(LoggingConfig(**json.loads(f'{{"{client}": true}}')))
    loggers.require_clients(LoggingConfig())
