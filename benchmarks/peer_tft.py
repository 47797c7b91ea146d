"""pytorch-forecasting's Temporal Fusion Transformer on our job: 145 features x 60 steps.

Run by `training_step.py` and `loader.py` with an interpreter that has pytorch-forecasting; imports nothing of
ours. Prints JSON: samples a second of processor time.

    python benchmarks/peer_tft.py step|loader [--batch 32] [--repeats 3]
"""

import argparse
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

STOCKS, DAYS, FEATURES, STEPS = 64, 150, 145, 60
WIDTH = 256
"""Of the network, which makes it as large as ours."""


def data_set() -> Any:
    """Noise as a `TimeSeriesDataSet`: every feature known up to today, one step ahead to predict."""
    import numpy as np
    import pandas as pd
    from pytorch_forecasting import TimeSeriesDataSet
    from pytorch_forecasting.data import TorchNormalizer

    rng = np.random.default_rng(0)
    features = [f"f{number}" for number in range(FEATURES)]
    frame = pd.DataFrame(rng.normal(size=(STOCKS * DAYS, FEATURES)).astype("float32"), columns=features)
    frame["stock"] = np.repeat([f"{stock:04}" for stock in range(STOCKS)], DAYS)
    frame["day"] = np.tile(np.arange(DAYS), STOCKS)
    frame["target"] = rng.normal(size=len(frame)).astype("float32")
    return TimeSeriesDataSet(
        frame,
        time_idx="day",
        target="target",
        group_ids=["stock"],
        min_encoder_length=STEPS,
        max_encoder_length=STEPS,
        max_prediction_length=1,
        time_varying_known_reals=["day"],
        time_varying_unknown_reals=features,
        # Its default looks at every sample's own target; ours are treated beforehand.
        target_normalizer=TorchNormalizer(method="identity"),
    )


def rate(work: Callable[[], Any], samples: int, repeats: int) -> float:
    """Samples a second of processor time; the median of some repeats after one to warm up."""
    work()
    found = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        found.append(samples / (time.process_time() - started))
    return statistics.median(found)


def step_rate(batch: int, repeats: int) -> dict[str, float]:
    """One step of training, without the loader."""
    import torch
    from pytorch_forecasting import RMSE, TemporalFusionTransformer

    data = data_set()
    network = TemporalFusionTransformer.from_dataset(
        data,
        hidden_size=WIDTH,
        lstm_layers=2,
        attention_head_size=8,
        dropout=0.1,
        output_size=1,
        loss=RMSE(),
        log_interval=-1,
    )
    inputs, target = next(iter(data.to_dataloader(train=True, batch_size=batch, num_workers=0)))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        network.loss(network(inputs)["prediction"], target).backward()
        optimizer.step()

    parameters = sum(p.numel() for p in network.parameters())
    return {"samples_per_s": rate(step, batch, repeats), "parameters": parameters}


def loader_rate(batch: int, repeats: int) -> dict[str, float]:
    """Batches out of its own loader, in this process."""
    batches = iter(data_set().to_dataloader(train=True, batch_size=batch, num_workers=0))
    return {"samples_per_s": rate(lambda: next(batches), batch, repeats)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["step", "loader"])
    parser.add_argument("--batch", type=int, default=32, help="samples a batch")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    measure = step_rate if given.what == "step" else loader_rate
    print(json.dumps(measure(given.batch, given.repeats)))
