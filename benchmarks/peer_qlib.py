"""Qlib on our jobs: its window sampler, and its path from a frame to samplers. Run by the other benchmarks.

    python benchmarks/peer_qlib.py --arm loader|data_path [--rounds 3] [--batch 512] [--tiny]

Needs an interpreter with pyqlib; imports nothing of gogooku3. `loader` prints samples per second of processor
time: 145 features x 60 steps of 632 stocks x 959 days, requested in whole batches. `data_path` prints the
seconds of its GATs recipe for Alpha158, from a frame of 139 features and 4 labels on: robust z-scores fitted
on the training days, missing values filled, labels ranked by day, samplers of 60-day windows.
"""

import argparse
import time
from typing import Any

from harness import main, processor_seconds

STOCKS, DAYS, STEPS = 632, 959, 60


def loader(given: argparse.Namespace) -> dict[str, float]:
    """Rate of `TSDataSampler`, indexed by batches of numbers as Qlib's own models do."""
    import numpy as np
    import pandas as pd
    from qlib.data.dataset import TSDataSampler

    rng = np.random.default_rng(0)
    features = 145
    days = pd.date_range("2020-01-01", periods=DAYS)
    index = pd.MultiIndex.from_product(
        [days, [f"{stock:04}" for stock in range(STOCKS)]], names=["datetime", "instrument"]
    )
    frame = pd.DataFrame(rng.standard_normal((len(index), features), "float32"), index=index)
    sampler = TSDataSampler(frame, days[STEPS], days[-1], step_len=STEPS)

    def sample() -> None:
        windows = sampler[rng.integers(len(sampler), size=given.batch)]
        assert windows.shape == (given.batch, STEPS, features)

    sample()
    return {"samples_per_s": given.batch / processor_seconds(sample, given.rounds)}


def data_path(given: argparse.Namespace) -> dict[str, Any]:
    """Wall and processor seconds, and the number of samples."""
    import numpy as np
    import pandas as pd
    from qlib.data.dataset import TSDatasetH
    from qlib.data.dataset.handler import DataHandlerLP
    from qlib.data.dataset.loader import StaticDataLoader
    from qlib.data.dataset.processor import CSRankNorm, DropnaLabel, Fillna, RobustZScoreNorm

    stocks, days = (40, 200) if given.tiny else (STOCKS, DAYS)
    dates = pd.bdate_range("2021-01-04", periods=days)
    names = [f"S{stock:04}" for stock in range(stocks)]
    index = pd.MultiIndex.from_product([dates, names], names=["datetime", "instrument"])
    columns = pd.MultiIndex.from_tuples(
        [("feature", f"F{number:03}") for number in range(139)]
        + [("label", f"LABEL{number}") for number in range(4)]
    )
    values = np.random.default_rng(7).standard_normal((len(index), len(columns)), dtype=np.float32)
    frame = pd.DataFrame(values, index=index, columns=columns, copy=False)
    last = int(days * 0.7)
    wall, processor = time.perf_counter(), time.process_time()
    handler = DataHandlerLP(
        data_loader=StaticDataLoader(frame),
        infer_processors=[
            RobustZScoreNorm(dates[0], dates[last], fields_group="feature"),
            Fillna(fields_group="feature"),
        ],
        learn_processors=[DropnaLabel(), CSRankNorm(fields_group="label")],
    )
    segments = {"train": (dates[0], dates[last]), "valid": (dates[last + 1], dates[-1])}
    dataset = TSDatasetH(step_len=STEPS, handler=handler, segments=segments)
    samplers = [
        dataset.prepare(name, col_set=["feature", "label"], data_key=DataHandlerLP.DK_L) for name in segments
    ]
    return {
        "wall_s": time.perf_counter() - wall,
        "processor_s": time.process_time() - processor,
        "samples": sum(map(len, samplers)),
    }


def add_batch(parser: argparse.ArgumentParser) -> None:
    """Add `--batch`."""
    parser.add_argument("--batch", type=int, default=512, help="samples per batch")


if __name__ == "__main__":
    main(None, __doc__, {"loader": loader, "data_path": data_path}, extend=add_batch)
