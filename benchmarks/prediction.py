"""How long `gogooku3 predict` takes for one new day of about 4,000 stocks with the default network.

    python benchmarks/prediction.py [--rounds 3] [--run RUN --data FILE] [--json]

All is included: a new process reads what the day needs out of a data set of 150 days x 139 features, builds
the graph, runs the network and LightGBM, explains both ends of the ranking, looks for drift, and writes the
list. The limits: four seconds by the clock on two quiet cores; and, for the network alone, as many
multiplications as its projection and its LSTM need, as bare matrix products on as many cores, in the same
precision, in the same minute. The weights come from a short training on a small market: their values cost
nothing. With `--run` and `--data` it measures a run of yours.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import harness
from harness import Figure, in_turns, run_process

GOGOOKU3 = (sys.executable, "-m", "gogooku3")
STOCKS, DAYS, TRAINING_STOCKS = 4_400, 150, 16
"""Stocks ever listed, of which about 4,200 trade on the last day."""
QUICK = (
    *("split.n_splits=1", "training.epochs=1", "scheduler.T_max=1", "split.min_train_days=160"),
    *("lightgbm.min_data_in_leaf=20", "training.progress_bar=false", "logging.tensorboard=false"),
)
TINY = (
    *("model.hidden_dim=8", "model.num_heads=2", "model.num_layers=1", "lightgbm.num_boost_round=2"),
    "time_series.sequence_length=10",
)
LIMIT_S = 4.0


def figures(given: argparse.Namespace) -> list[Figure]:
    """The command by the clock and by processor time, and the network beside bare matrix products."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        data, run = (given.data, given.run) if given.run and given.data else _ready(folder, given.tiny)
        command = [
            *GOGOOKU3,
            "predict",
            "--run",
            str(run),
            "--data",
            str(data),
            "--out",
            str(folder / "o.csv"),
        ]
        parts = [sys.executable, __file__, "--arm", "parts", "--run", str(run), "--data", str(data)]
        found = in_turns(
            {"predict": lambda: run_process(command), "parts": lambda: run_process(parts).result},
            given.rounds,
        )
    measured = found["parts"]
    said = {part: median(each["parts"][part] for each in measured) for part in measured[0]["parts"]}
    shown = ", ".join(f"{part} {seconds:.1f}" for part, seconds in said.items())
    stocks = measured[0]["stocks"]
    return [
        Figure(
            f"predict, {stocks:,} stocks, by the clock",
            median(run.wall_s for run in found["predict"]),
            "s",
            "limit",
            LIMIT_S,
            peak_mb=median(run.peak_mb for run in found["predict"]),
            note=f"{median(run.processor_s for run in found['predict']):.1f} s of processor time: {shown}",
        ),
        Figure(
            "predict, the network, by the clock",
            median(each["network_s"] for each in measured),
            "s",
            "bare products",
            median(each["products_s"] for each in measured),
            bar=None,
            note=f"{measured[0]['precision']}, {measured[0]['threads']} threads",
        ),
    ]


def parts(given: argparse.Namespace) -> dict[str, object]:
    """Processor seconds of each part of the command, and the network and its limit by the clock."""
    spent: dict[str, float] = {}
    since = 0.0

    def note(part: str) -> None:
        nonlocal since
        now = time.process_time()
        spent[part], since = now - since, now

    import lightgbm  # noqa: F401
    import numpy as np
    import torch

    from gogooku3.inference.drift import drift
    from gogooku3.inference.predict import network_output, predict_days, read_inputs
    from gogooku3.inference.ranking import day_ranking, with_reasons
    from gogooku3.inference.saved_fold import SavedFold

    note("imports")
    fold = SavedFold.load(given.run)
    note("load models")
    inputs = read_inputs(fold, given.data)
    note("read and prepare the data")
    table = day_ranking(predict_days(fold, inputs), fold.horizons)
    note("predict")
    with_reasons(table, fold, inputs, fold.horizons[0], np.arange(min(20, table.height)))
    note("reasons")
    if fold.feature_statistics is not None:
        drift(fold.feature_statistics, inputs.panel, inputs.statistics, inputs.days[-1])
    note("drift")
    model = next(iter(fold.networks.values()))
    batch = inputs.batches.gather([inputs.days[-1]])
    started = time.perf_counter()
    network_output(fold, model, batch)
    network_s = time.perf_counter() - started
    samples, steps, features = batch.x.shape
    width = model.settings["hidden_dim"]
    products = samples * steps * (features * width + 2 * 2 * width * 4 * width)
    threads = torch.get_num_threads()
    return {
        "parts": spent,
        "network_s": network_s,
        "products_s": products_s(products, threads, fold.half_precision),
        "stocks": table.height,
        "threads": threads,
        "precision": "bf16" if fold.half_precision else "fp32",
    }


def products_s(wanted: int, threads: int, half: bool, share: float = 0.2) -> float:
    """Seconds by the clock of so many multiply-adds as bare products of `[128, 512]` and `[512, 1024]`.

    Args:
        wanted: multiply-adds.
        threads: cores, each with products of its own.
        half: in bfloat16.
        share: of them that is done; the time is multiplied up.
    """
    import torch

    kind = torch.bfloat16 if half else torch.float32
    rounds = max(1, int(wanted * share / threads / (128 * 512 * 1024)))

    def work(_: int) -> None:
        torch.set_num_threads(1)
        first, second = torch.ones(128, 512, dtype=kind), torch.ones(512, 1024, dtype=kind)
        out = torch.empty(128, 1024, dtype=kind)
        for _ in range(rounds):
            torch.mm(first, second, out=out)

    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list(pool.map(work, range(threads)))
        spent = time.perf_counter() - started
    return spent * wanted / (rounds * threads * 128 * 512 * 1024)


def _ready(folder: Path, tiny: bool) -> tuple[Path, Path]:
    """A data set to predict from, and a run of a small market with the same features."""
    data = _data_set(folder / "day", 40 if tiny else STOCKS, DAYS)
    small = _data_set(folder / "training", TRAINING_STOCKS, 300)
    runs = folder / "runs"
    options = [*QUICK, *(TINY if tiny else ())]
    train = [*GOGOOKU3, "train", "--config", "model/atft/train", "--data", str(small), "--out", str(runs)]
    run_process([*train, *options], {"GOGOOKU3_DATA_DIR": str(folder)})
    return data, next(runs.glob("*/*/manifest.json")).parent


def _data_set(folder: Path, stocks: int, days: int) -> Path:
    folder.mkdir()
    prices, data = folder / "prices.parquet", folder / "data.parquet"
    size = ["--stocks", str(stocks), "--days", str(days)]
    run_process([*GOGOOKU3, "data", "synth", *size, "--out", str(prices)])
    run_process([*GOGOOKU3, "data", "build", "--prices", str(prices), "--out", str(data)])
    return data


def extend(parser: argparse.ArgumentParser) -> None:
    """A run and a data set that are there already."""
    parser.add_argument("--run", type=Path, help="a run of `gogooku3 train`; by default one is made")
    parser.add_argument("--data", type=Path, help="a data set with its features, given with --run")


if __name__ == "__main__":
    harness.main(figures, __doc__, {"parts": parts}, extend=extend)
