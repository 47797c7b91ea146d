"""pytorch-forecasting's Temporal Fusion Transformer on our job. Run by `training_step.py` and `loader.py`.

    python benchmarks/peer_tft.py --arm step|loader [--rounds 3] [--batch 32]

Needs an interpreter with pytorch-forecasting; imports nothing of gogooku3. Prints samples per second of
processor time, on one thread: 145 features x 60 steps.
"""

import argparse
from typing import Any

from harness import main, processor_seconds

STOCKS, DAYS, FEATURES, STEPS = 64, 150, 145, 60
WIDTH = 256
"""Hidden size with which the network is as large as ours."""


def random_data_set() -> Any:
    """Random numbers as a `TimeSeriesDataSet`: every feature known up to today, one step ahead to predict."""
    import numpy as np
    import pandas as pd
    import torch
    from pytorch_forecasting import TimeSeriesDataSet
    from pytorch_forecasting.data import TorchNormalizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
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
        # The default fits one normaliser per sample; our labels are normalised beforehand.
        target_normalizer=TorchNormalizer(method="identity"),
    )


def step(given: argparse.Namespace) -> dict[str, float]:
    """Rate of one training step, without the loader."""
    import torch
    from pytorch_forecasting import RMSE, TemporalFusionTransformer

    data = random_data_set()
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
    inputs, target = next(iter(data.to_dataloader(train=True, batch_size=given.batch, num_workers=0)))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def train() -> None:
        optimizer.zero_grad()
        network.loss(network(inputs)["prediction"], target).backward()
        optimizer.step()

    train()
    rate = given.batch / processor_seconds(train, given.rounds)
    return {"samples_per_s": rate, "parameters": sum(p.numel() for p in network.parameters())}


def loader(given: argparse.Namespace) -> dict[str, float]:
    """Rate of its own loader, in this process."""
    batches = iter(random_data_set().to_dataloader(train=True, batch_size=given.batch, num_workers=0))
    next(batches)
    return {"samples_per_s": given.batch / processor_seconds(lambda: next(batches), given.rounds)}


def add_batch(parser: argparse.ArgumentParser) -> None:
    """Add `--batch`."""
    parser.add_argument("--batch", type=int, default=32, help="samples per batch")


if __name__ == "__main__":
    main(None, __doc__, {"step": step, "loader": loader}, extend=add_batch)
