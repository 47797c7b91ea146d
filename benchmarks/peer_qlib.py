"""Qlib's window sampler on our job: batches of 145 features x 60 steps from 632 stocks x 959 days.

Run by `loader.py` with an interpreter that has pyqlib; imports nothing of ours. Prints JSON: samples a
second of processor time.

    python benchmarks/peer_qlib.py [--batch 512] [--repeats 3]
"""

import argparse
import json
import statistics
import time
import warnings

STOCKS, DAYS, FEATURES, STEPS = 632, 959, 145, 60


def loader_rate(batch: int, repeats: int) -> float:
    """Samples a second out of `TSDataSampler`, asked for whole batches of numbers, as its models ask."""
    import numpy as np
    import pandas as pd
    from qlib.data.dataset import TSDataSampler

    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-01", periods=DAYS)
    index = pd.MultiIndex.from_product(
        [days, [f"{stock:04}" for stock in range(STOCKS)]], names=["datetime", "instrument"]
    )
    frame = pd.DataFrame(rng.standard_normal((len(index), FEATURES), "float32"), index=index)
    sampler = TSDataSampler(frame, days[STEPS], days[-1], step_len=STEPS)
    found = []
    for _ in range(repeats + 1):
        numbers = rng.integers(len(sampler), size=batch)
        started = time.process_time()
        windows = sampler[numbers]
        found.append(batch / (time.process_time() - started))
        assert windows.shape == (batch, STEPS, FEATURES)
    return statistics.median(found[1:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=512, help="samples a batch")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(json.dumps({"samples_per_s": loader_rate(given.batch, given.repeats)}))
