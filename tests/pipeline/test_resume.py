"""A run that is killed or stopped at any moment can be resumed to the results of an unbroken one.

GOGOOKU3_KILLS=50 kills that many runs; a handful otherwise.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gogooku3.data.synthetic.market import SyntheticMarketConfig, generate_market, write_market
from gogooku3.features.build import build_dataset

KILLS = int(os.environ.get("GOGOOKU3_KILLS", "2"))
MARKET = SyntheticMarketConfig(n_stocks=12, n_days=150, seed=5, n_sectors=3)
SETTINGS = [
    "dataset.feature_columns=[ret_1d,ret_5d,vol_20d]",
    "model.input_dim=9",
    "model.hidden_dim=8",
    "model.num_heads=2",
    "model.num_layers=1",
    "training.epochs=2",
    "training.batch_size=128",
    "training.seeds=[0,1]",
    "training.ema_decay=0.9",
    "training.accumulate_grad_batches=2",
    "training.checkpoint_minutes=0.0005",
    "training.progress_bar=false",
    "training.accelerator=cpu",
    "scheduler.warmup_steps=3",
    "time_series.sequence_length=10",
    "split.min_train_days=80",
    "split.n_splits=2",
    "lightgbm.num_boost_round=10",
    "lightgbm.min_data_in_leaf=10",
    "performance.threads=1",
]


class Zygote:
    """Starts runs in forks of one process."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("killable.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.read() == "ready"

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def run(self, arguments: list[str], log: Path, stop: tuple[signal.Signals, float] | None = None) -> int:
        """Exit code of a command; with `stop` it gets that signal after so many seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"arguments": arguments, "log": str(log)}) + "\n")
        self.process.stdin.flush()
        child = int(self.read())
        if stop is not None:
            time.sleep(stop[1])
            # A zombie can be signalled too: the zygote reaps it, and the number is not given away that soon.
            with suppress(ProcessLookupError):
                os.kill(child, stop[0])
        return int(self.read())


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    assert started.process.stdin is not None
    started.process.stdin.close()
    started.process.wait()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prices = tmp_path_factory.mktemp("market") / "prices.parquet"
    write_market(generate_market(MARKET), prices)
    build_dataset(prices, prices.with_name("data.parquet"))
    return prices.with_name("data.parquet")


def begin(dataset: Path, out: Path, tensorboard: bool) -> list[str]:
    settings = [*SETTINGS, f"logging.tensorboard={str(tensorboard).lower()}"]
    return ["train", "--data", str(dataset), "--out", str(out), "--experiment", "x", *settings]


def run_of(out: Path) -> Path | None:
    """The run that was started last below a folder, once it can be resumed."""
    started = sorted(out.glob("x/*/config.yaml"), key=lambda path: path.stat().st_mtime)
    return started[-1].parent if started else None


def outcome(run: Path) -> dict[str, Any]:
    """All that must come out the same, to the bit."""
    names = [*run.rglob("*.safetensors"), *run.rglob("lightgbm_*d.txt"), *run.rglob("explanations/*.parquet")]
    found: dict[str, Any] = {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in names
    }
    found["metrics"] = (run / "metrics.json").read_text()
    found["predictions"] = pl.read_parquet(run / "predictions.parquet").serialize()
    manifest = json.loads((run / "manifest.json").read_text())
    found["manifest"] = {
        name: manifest[name] for name in ("status", "folds", "seeds", "data", "warnings", "dropped")
    }
    for path in run.rglob("training.json"):
        training = json.loads(path.read_text())
        del training["duration_s"], training["samples_per_s"]
        found[str(path.relative_to(run))] = json.dumps(training)
    found["files"] = sorted(
        str(path.relative_to(run)) for path in run.rglob("*") if "tensorboard" not in path.parts
    )
    return found


@pytest.fixture(scope="module")
def unbroken(
    zygote: Zygote, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], float]:
    """What an unbroken run without TensorBoard leaves, and the seconds it takes."""
    out = tmp_path_factory.mktemp("unbroken")
    started = time.monotonic()
    assert zygote.run(begin(dataset, out, tensorboard=False), out / "log") == 0, (out / "log").read_text()
    seconds = time.monotonic() - started
    run = run_of(out)
    assert run is not None
    return outcome(run), seconds


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_run_killed_at_random_moments_ends_like_an_unbroken_one(
    seed: int, zygote: Zygote, dataset: Path, unbroken: tuple[dict[str, Any], float], tmp_path: Path
) -> None:
    """Every other one writes TensorBoard's events too, which changes nothing else."""
    expected, seconds = unbroken
    chance, log = random.Random(seed), tmp_path / "log"
    signals = [signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
    codes = []
    # The last attempt is left in peace, so that a slow machine ends too.
    for attempt in range(3):
        run = run_of(tmp_path)
        command = ["train", "--resume", str(run)] if run else begin(dataset, tmp_path, seed % 2 == 0)
        stop = (chance.choice(signals), chance.uniform(0, seconds)) if attempt < 2 else None
        codes.append(zygote.run(command, log, stop))
        assert codes[-1] in (0, -signal.SIGKILL, -signal.SIGTERM, 130, 143), log.read_text()
        if codes[-1] in (130, 143) and run_of(tmp_path):
            assert "go on with: gogooku3 train --resume" in log.read_text()
        if codes[-1] == 0:
            break
    assert codes[-1] == 0, log.read_text()
    run = run_of(tmp_path)
    assert run is not None
    found = outcome(run)
    for name, value in expected.items():
        assert found[name] == value, f"{name} differs after {codes}"
