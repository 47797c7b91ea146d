"""Time of ten epochs over 606,127 samples with the default network on one GPU.

    python benchmarks/gpu_training.py [--epochs 10] [--batch 4096] [--peak-tflops 989] [--json]

`ATFTTrainer` on a random market of 632 stocks x 959 training days: stretches of a month and the 60 days
before it, 145 features, monthly graphs, bfloat16 where it is fast, a validation of 20 days after each epoch.
The panel is on the device, and batches are gathered there. Epochs are of windows and graph; the stages before
them are timed separately. The note gives the share of the device's peak rate, and what three steps spend
their time on (`torch.profiler`). The loss of one step in float32 is compared with a CPU's. The limits are the
project's, for one H200; the time of 50 epochs is extrapolated from the epochs after the first. Nothing is
measured without a GPU; --tiny runs a small network anywhere.
"""

import argparse
import time
from statistics import median
from typing import Any

import torch
from harness import Figure, main
from random_market import random_graphs, random_panel
from torch.profiler import ProfilerActivity, profile

from gogooku3.data.panel import PanelSlice
from gogooku3.models.atft_gat_fan import ATFTGATFANModel
from gogooku3.training.batches import Block
from gogooku3.training.block_sampler import BlockSampler
from gogooku3.training.callbacks import FinancialMetricsCallback
from gogooku3.training.losses import MultiHorizonFinancialLoss
from gogooku3.training.progress import USUAL_MONTH_DAYS
from gogooku3.training.reproducibility import seed_everything
from gogooku3.training.trainer import ATFTTrainer

STOCKS, DAYS, STEPS, FEATURES = 632, 959, 60, 145
VALIDATION_DAYS, EMBARGO_DAYS = 20, 20
LIMIT_S, LIMIT_GB = 20.0, 8.0
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0, "L40S": 362.0, "RTX 4090": 165.0}
"""Dense bfloat16, from the vendors' data sheets."""


class Clock(FinancialMetricsCallback):
    """Records the times at which epochs end."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = [time.perf_counter()]

    def on_train_epoch_start(self, trainer, pl_module) -> None:  # type: ignore[no-untyped-def]
        if len(self.ends) == 1:
            self.ends[0] = time.perf_counter()

    def on_train_batch_end(self, *arguments, **options) -> None:  # type: ignore[no-untyped-def]
        """Compute no scores; the trainer's own callback does."""

    on_validation_epoch_start = on_validation_batch_end = on_validation_epoch_end = on_train_batch_end

    def on_validation_end(self, trainer, pl_module) -> None:  # type: ignore[no-untyped-def]
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def flops_per_sample(model: ATFTGATFANModel, steps: int) -> float:
    """Floating-point operations of a training step per sample: 6 per weight and use (forward 2, backward 4).

    The FAN's gate, the input projection, the LSTM, keys and values are used at every step of a stretch, the
    rest of windows and graph once a sample. A stretch serves a month.
    """
    by_step, by_sample = 0, 0
    for name, parameter in model.named_parameters():
        if name.startswith("frequency.") or any(
            part in name for part in (".lstm.", "projection", ".key.", ".value.")
        ):
            by_step += parameter.numel()
        elif not name.startswith("snapshot."):
            by_sample += parameter.numel()
    return 6.0 * (by_step * (steps / USUAL_MONTH_DAYS + 1) + by_sample)


def figures(given: argparse.Namespace) -> list[Figure]:
    """Time, rate, memory, and share of the device's peak rate."""
    if not torch.cuda.is_available() and not given.tiny:
        note = "no GPU here; run this on a machine with one, or check with --tiny that it runs"
        return [Figure("GPU training, 10 epochs", None, "s", "limit", LIMIT_S, note=note)]
    stocks, days, features, epochs = (12, 40, 9, 2) if given.tiny else (STOCKS, DAYS, FEATURES, given.epochs)
    steps = 8 if given.tiny else STEPS
    seed_everything(0)
    first = steps - 1
    start = first + days + EMBARGO_DAYS
    panel = random_panel(stocks, start + VALIDATION_DAYS, features)
    size = {"hidden_dim": 8, "num_heads": 2, "num_layers": 1} if given.tiny else {}
    model = ATFTGATFANModel(features, sequence_length=steps, **size)
    clock = Clock()
    trainer = ATFTTrainer(
        model,
        PanelSlice(panel, range(first, first + days)),
        PanelSlice(panel, range(start, start + VALIDATION_DAYS)),
        {
            "epochs": epochs,
            "batch_size": 64 if given.tiny else given.batch,
            "progress_bar": False,
            "logging": {"tensorboard": False},
            "early_stopping": {"enabled": False},
        },
        graphs=random_graphs(panel),
        callbacks=[clock],
    )
    outcome = trainer.fit()
    seconds = [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)]
    steady = median(seconds[1:] or seconds)
    rate = stocks * days / steady
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    data_sheet = next((tflops for device, tflops in PEAK_TFLOPS.items() if device in name), None)
    peak = given.peak_tflops or data_sheet
    share = "" if peak is None else f"; {rate * flops_per_sample(model, steps) / 1e12 / peak:.1%} of its peak"
    memory = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None

    def limit(value: float) -> float | None:
        return None if given.tiny else value

    before = outcome["duration_s"] - sum(seconds)
    note = (
        f"{name}, {outcome['precision']}; {rate:,.0f} samples/s after the first epoch{share}; "
        f"stages before and after the epochs {before:.1f} s; {_where_time_goes(trainer)}"
    )
    return [
        Figure(f"training, {epochs} epochs", sum(seconds), "s", "limit", limit(LIMIT_S), note=note),
        Figure(
            "training, 50 epochs", seconds[0] + 49 * steady, "s", "limit", limit(300.0), note="extrapolated"
        ),
        Figure("device memory", memory, "GB", "limit", limit(LIMIT_GB), note="" if memory else "no GPU here"),
        Figure(
            "loss of a step, difference from a CPU's", _loss_difference(trainer), "of the loss", "", bar=None
        ),
    ]


def _blocks(trainer: ATFTTrainer) -> list[list[Block]]:
    """Three training steps."""
    training = trainer.config.training
    return BlockSampler(trainer.batches, trainer.train_data.days, training.batch_size, seed=1).steps()[:3]


def _loss(trainer: ATFTTrainer, blocks: list[Block], device: torch.device) -> torch.Tensor:
    trainer.batches.to(device)
    batch = trainer.batches.gather(blocks)
    return MultiHorizonFinancialLoss().to(device)(trainer.model.to(device)(*batch.inputs), batch.labels)


def _loss_difference(trainer: ATFTTrainer) -> float | None:
    """Relative difference between a GPU's and a CPU's loss in evaluation mode; None without a GPU."""
    if not torch.cuda.is_available():
        return None
    trainer.model.eval()
    with torch.no_grad():
        on_cpu, on_gpu = (
            float(_loss(trainer, _blocks(trainer)[0], torch.device(d))) for d in ("cpu", "cuda")
        )
    return abs(on_gpu - on_cpu) / abs(on_cpu)


def _where_time_goes(trainer: ATFTTrainer, kinds: int = 6) -> str:
    """Shares of the operations that three training steps spend most time in, and the device's idle share."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    trainer.model.train()
    started = time.perf_counter()
    with profile(activities=activities) as profiler:
        for blocks in _blocks(trainer):
            with torch.autocast(device.type, dtype=torch.bfloat16):
                _loss(trainer, blocks, device).backward()
        if on_gpu:
            torch.cuda.synchronize()
    elapsed_us = 1e6 * (time.perf_counter() - started)

    def spent(event: Any) -> float:
        return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)

    events = sorted(profiler.key_averages(), key=spent, reverse=True)
    total = sum(map(spent, events)) or 1.0
    top = ", ".join(f"{event.key[:40]} {spent(event) / total:.0%}" for event in events[:kinds])
    return f"{top}; idle {max(0.0, 1 - total / elapsed_us):.0%}"


def _extend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4096, help="samples per step")
    parser.add_argument("--peak-tflops", type=float, help="the device's dense bfloat16 rate, if unknown here")


if __name__ == "__main__":
    main(figures, __doc__, extend=_extend)
