"""Time of `gogooku3 predict` for one new day of about 4,000 stocks with the default network.

    python benchmarks/prediction.py [--rounds 3] [--run RUN --data FILE] [--json]

Covers the whole command in a new process: read the day's inputs from a data set of 150 days x 139 features,
build the graph, run the network and LightGBM, explain both ends of the ranking, detect drift, write the list.
Two limits: four seconds of wall time on two quiet cores; and, for the network, its projection's and LSTM's
multiplications as bare matrix products, on as many cores, in the same precision and minute. The weights come
from a short training on a small market: their values do not affect the speed. `--run` and `--data` measure a
run of yours.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import harness
from harness import GOGOOKU3, Figure, build_data, in_turns, run_process

STOCKS, DAYS, TRAINING_STOCKS = 4_400, 150, 16
"""Stocks ever listed; about 4,200 trade on the last day."""
QUICK = (
    *("split.n_splits=1", "training.epochs=1", "scheduler.T_max=1", "split.min_train_days=160"),
    *("lightgbm.min_data_in_leaf=20", "training.progress_bar=false", "logging.tensorboard=false"),
)
TINY = (
    *("model.hidden_dim=8", "model.num_heads=2", "model.num_layers=1", "lightgbm.num_boost_round=2"),
    "time_series.sequence_length=10",
)
LIMIT_S = 4.0
PRODUCT = (128, 512, 1024)
"""Sizes of a bare matrix product, `[128, 512]` times `[512, 1024]`."""


def figures(given: argparse.Namespace) -> list[Figure]:
    """Wall time of the command, and of the network against bare matrix products."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        data, run = (given.data, given.run) if given.run and given.data else _train(folder, given.tiny)
        source = ["--run", str(run), "--data", str(data)]
        results = in_turns(
            {
                "predict": lambda: run_process([*GOGOOKU3, "predict", *source, "--out", f"{folder}/o.csv"]),
                "parts": lambda: harness.run_arm(__file__, "parts", *source).result,
            },
            given.rounds,
        )
    commands, parts = results["predict"], results["parts"]
    first = parts[0]
    steps = ", ".join(
        f"{part} {median(each['parts'][part] for each in parts):.1f}" for part in first["parts"]
    )
    return [
        Figure(
            f"predict, {first['stocks']:,} stocks, wall time",
            median(run.wall_s for run in commands),
            "s",
            "limit",
            LIMIT_S,
            peak_mb=median(run.peak_mb for run in commands),
            note=f"{median(run.processor_s for run in commands):.1f} s of processor time: {steps}",
        ),
        Figure(
            "predict, only the network, wall time",
            median(each["network_s"] for each in parts),
            "s",
            "bare products",
            median(each["products_s"] for each in parts),
            bar=None,
            note=f"{first['precision']}, {first['threads']} threads",
        ),
    ]


def parts(given: argparse.Namespace) -> dict[str, object]:
    """Processor seconds of each part of the command, and wall seconds of the network and its limit."""
    seconds: dict[str, float] = {}
    since = 0.0

    def note(part: str) -> None:
        nonlocal since
        now = time.process_time()
        seconds[part], since = now - since, now

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
    batch = inputs.batch(inputs.days[-1])
    started = time.perf_counter()
    network_output(fold, model, batch)
    network_s = time.perf_counter() - started
    samples, steps, features = batch.inputs.x.shape
    width = model.settings["hidden_dim"]
    multiplications = samples * steps * (features * width + 2 * 2 * width * 4 * width)
    threads = torch.get_num_threads()
    return {
        "parts": seconds,
        "network_s": network_s,
        "products_s": products_s(multiplications, threads, fold.half_precision),
        "stocks": table.height,
        "threads": threads,
        "precision": "bf16" if fold.half_precision else "fp32",
    }


def products_s(multiplications: int, threads: int, half: bool, share: float = 0.2) -> float:
    """Wall seconds of a number of multiply-adds as bare products of the sizes in `PRODUCT`.

    Args:
        multiplications: multiply-adds.
        threads: cores, each with its own products.
        half: in bfloat16.
        share: part of them that is run; the time is scaled up.
    """
    import torch

    kind = torch.bfloat16 if half else torch.float32
    rows, inner, columns = PRODUCT
    size = rows * inner * columns
    rounds = max(1, int(multiplications * share / threads / size))

    def work(_: int) -> None:
        torch.set_num_threads(1)
        first, second = torch.ones(rows, inner, dtype=kind), torch.ones(inner, columns, dtype=kind)
        out = torch.empty(rows, columns, dtype=kind)
        for _ in range(rounds):
            torch.mm(first, second, out=out)

    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        list(pool.map(work, range(threads)))
        spent = time.perf_counter() - started
    return spent * multiplications / (rounds * threads * size)


def _train(folder: Path, tiny: bool) -> tuple[Path, Path]:
    """A data set to predict from, and a run on a small market with the same features."""
    data = build_data(folder / "day", "--stocks", str(40 if tiny else STOCKS), "--days", str(DAYS))
    small = build_data(folder / "training", "--stocks", str(TRAINING_STOCKS), "--days", "300")
    runs = folder / "runs"
    train = [*GOGOOKU3, "train", "--config", "model/atft/train", "--data", str(small), "--out", str(runs)]
    run_process([*train, *QUICK, *(TINY if tiny else ())], {"GOGOOKU3_DATA_DIR": str(folder)})
    return data, next(runs.glob("*/*/manifest.json")).parent


def extend(parser: argparse.ArgumentParser) -> None:
    """Add the options of this script."""
    parser.add_argument("--run", type=Path, help="a run of `gogooku3 train`; by default a new one is trained")
    parser.add_argument("--data", type=Path, help="a data set with the run's features; needs --run")


if __name__ == "__main__":
    harness.main(figures, __doc__, {"parts": parts}, extend=extend)
