"""What the memory switches save and cost: gradient checkpointing, and half batches with accumulation.

Prints, for one step of the optimiser over the same rows, the peak memory above what stands before the step
(model, optimiser and panel), and the time a row. Each arm runs in a process of its own. Gradients
are the same to rounding, which tests/training/test_memory_switches.py holds.

    python benchmarks/memory_switches.py [--rows 512] [--json]
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from made_up_market import made_up_batches, made_up_panel

from gogooku3.models import ATFTGATFANModel
from gogooku3.training.batches import PanelBatches
from gogooku3.training.losses import MultiHorizonFinancialLoss

DAYS_A_STEP = 4
ARMS = {
    "plain": (False, 1),
    "checkpointing": (True, 1),
    "half batch x 2": (False, 2),
    "both": (True, 2),
}
"""Name -> (gradient checkpointing, batches a step of the optimiser)."""


def measure(
    arm: str, rows: int = 512, hidden: int = 128, steps: int = 60, features: int = 145, repeats: int = 3
) -> dict[str, Any]:
    """Peak memory above the baseline (MB, 10^6 bytes) and milliseconds a row, the best of some repeats."""
    checkpointing, parts = ARMS[arm]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    panel = made_up_panel(rows // DAYS_A_STEP, steps + DAYS_A_STEP, features)
    batches = made_up_batches(panel, steps).to(device)
    model = ATFTGATFANModel(features, hidden, sequence_length=steps, gradient_checkpointing=checkpointing).to(
        device
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loss = MultiHorizonFinancialLoss().to(device)

    def step(batches: PanelBatches, days: list[int], size: int) -> None:
        for start in range(0, len(days), size):
            batch = batches.gather(days[start : start + size])
            predicted = model(batch.x, batch.step_mask, batch.day_index, batch.neighbours, batch.n_days)
            (loss(predicted, batch.labels) * size / len(days)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    days = list(range(steps, steps + DAYS_A_STEP))
    few = np.zeros(panel.mask.shape, dtype=bool)
    few[days, :8] = True
    # A small step first: afterwards kernels are loaded, and gradients and the optimiser's state exist.
    step(PanelBatches(panel, panel.targets, steps, samples=few).to(device), days, DAYS_A_STEP)
    baseline = _reset_peak(device)
    seconds = []
    for _ in range(repeats):
        started = _clock(device)
        step(batches, days, DAYS_A_STEP // parts)
        seconds.append(_clock(device) - started)
    return {
        "arm": arm,
        "peak_mb": (_peak(device) - baseline) / 1e6,
        "ms_per_row": 1000 * min(seconds) / rows,
    }


def _clock(device: torch.device) -> float:
    """Seconds: of the wall on a GPU, of this process on a CPU, where other work would blur the wall's."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def _reset_peak(device: torch.device) -> int:
    """Let the peak mark start anew; returns the bytes in use: allocated on a GPU, else resident."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return int(psutil.Process().memory_info().rss)


def _peak(device: torch.device) -> int:
    """Bytes in use at most since the last reset."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def main() -> None:
    """Measure every arm and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=512, help="rows a step of the optimiser")
    parser.add_argument("--hidden", type=int, default=128, help="width of the network")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--arm", choices=ARMS, help="measure one arm in this process, as JSON")
    given = parser.parse_args()
    if given.arm:
        print(json.dumps(measure(given.arm, given.rows, given.hidden)))
        return
    command = [sys.executable, __file__, "--rows", str(given.rows), "--hidden", str(given.hidden), "--arm"]
    results = [
        json.loads(subprocess.run([*command, arm], check=True, capture_output=True, text=True).stdout)
        for arm in ARMS
    ]
    plain = results[0]
    for result in results:
        result["memory_ratio"] = result["peak_mb"] / plain["peak_mb"]
        result["time_ratio"] = result["ms_per_row"] / plain["ms_per_row"]
    if given.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'':16} {'peak memory':>12} {'to plain':>9} {'time a row':>11} {'to plain':>9}")
    for result in results:
        print(
            f"{result['arm']:16} {result['peak_mb']:9.0f} MB {result['memory_ratio']:8.2f}x "
            f"{result['ms_per_row']:8.2f} ms {result['time_ratio']:8.2f}x"
        )


if __name__ == "__main__":
    main()
