"""Memory and time of a step with gradient checkpointing, and with half batches and accumulation.

Measures one optimiser step over the same blocks, each a month of a few stocks: the peak memory above that of
model, optimiser and panel, and the time per row, against a plain step. Each arm is a separate process.
Gradients are equal up to rounding, as tests/training/test_memory_switches.py verifies.

    python benchmarks/memory_switches.py [--rows 512] [--json]
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from harness import Figure, main, run_arm
from random_market import random_batches, random_panel

from gogooku3.models import ATFTGATFANModel
from gogooku3.schema import MONTH_DAYS
from gogooku3.training.batches import Block
from gogooku3.training.losses import MultiHorizonFinancialLoss

BLOCKS_PER_STEP = 4
ARMS = {
    "plain": (False, 1),
    "checkpointing": (True, 1),
    "half batch x 2": (False, 2),
    "both": (True, 2),
}
"""Name -> (gradient checkpointing, batches per optimiser step)."""


def measure(
    arm: str, rows: int = 512, hidden: int = 128, steps: int = 60, features: int = 145, repeats: int = 3
) -> dict[str, Any]:
    """Peak memory above the baseline (MB, 10^6 bytes) and milliseconds per row, the least of the repeats."""
    checkpointing, parts = ARMS[arm]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    per_block = max(1, rows // (MONTH_DAYS * BLOCKS_PER_STEP))
    panel = random_panel(per_block * BLOCKS_PER_STEP, steps + 2 * MONTH_DAYS, features)
    batches = random_batches(panel, steps).to(device)
    month = max(batches.months(range(panel.n_days)), key=len)
    stocks = np.arange(panel.n_stocks).reshape(BLOCKS_PER_STEP, per_block)
    blocks = [Block(month, own) for own in stocks]
    model = ATFTGATFANModel(features, hidden, sequence_length=steps, gradient_checkpointing=checkpointing).to(
        device
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loss = MultiHorizonFinancialLoss().to(device)

    def step(blocks: list[Block], size: int) -> None:
        for start in range(0, len(blocks), size):
            batch = batches.gather(blocks[start : start + size])
            predictions = batch.base + model.windows(batch.inputs)
            (loss(predictions, batch.labels) * size / len(blocks)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    # A small step first loads kernels and creates gradients and the optimiser's state.
    step([Block(month, np.arange(1))], 1)
    baseline = _reset_peak(device)
    seconds = []
    for _ in range(repeats):
        started = _clock(device)
        step(blocks, BLOCKS_PER_STEP // parts)
        seconds.append(_clock(device) - started)
    return {
        "arm": arm,
        "peak_mb": (_peak(device) - baseline) / 1e6,
        "ms_per_row": 1000 * min(seconds) / (len(month) * panel.n_stocks),
    }


def _clock(device: torch.device) -> float:
    """Wall seconds on a GPU, processor seconds on a CPU, which other processes do not disturb."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _reset_peak(device: torch.device) -> int:
    """Reset the peak; returns the bytes in use: allocated on a GPU, else resident."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return int(psutil.Process().memory_info().rss)


def _peak(device: torch.device) -> int:
    """Peak of the bytes in use since the last reset."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def figures(given: argparse.Namespace) -> list[Figure]:
    """Memory and time of every other arm against the plain one."""
    size = f"--rows={given.rows}", f"--hidden={given.hidden}"
    results = {arm: run_arm(__file__, arm, *size).result for arm in ARMS}
    return [
        Figure(f"{arm}, {name}", results[arm][key], unit, "plain", results["plain"][key], bar=None)
        for arm in list(ARMS)[1:]
        for name, key, unit in (("peak memory", "peak_mb", "MB"), ("time per row", "ms_per_row", "ms"))
    ]


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """Add the options of this script."""
    parser.add_argument("--rows", type=int, default=512, help="most rows per optimiser step")
    parser.add_argument("--hidden", type=int, default=128, help="width of the network")


if __name__ == "__main__":
    arms = {arm: lambda given, arm=arm: measure(arm, given.rows, given.hidden) for arm in ARMS}
    main(figures, __doc__, arms, extend=add_sizes)
