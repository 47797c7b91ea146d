"""Samples per second from the loader: windows of 60 days x 145 features, gathered from the panel.

    python benchmarks/loader.py [--rounds 5] [--batch 512] [--json]

Ours are the batches of a training step: windows, masks, labels, neighbours and market state of whole days in
random order, from a panel of 632 stocks x 959 days. A second market lacks every eighth stock, so that its
windows are copied row by row instead of as blocks. The limit is a plain copy of as many bytes from the panel
into allocated memory. All run on one thread; processor time is compared. The peers are pytorch-forecasting's
loader and Qlib's window sampler, indexed by whole batches (`peer_tft.py`, `peer_qlib.py`).
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import harness
import torch
from harness import Figure
from random_market import random_batches, random_panel

from gogooku3.training.batches import DayBatchSampler, PanelBatches

HERE = Path(__file__).resolve().parent
FEATURES, STEPS = 145, 60
STOCKS, DAYS = 632, 959
"""The reference size; a batch is one day."""
PEERS = {
    "pytorch-forecasting": ("pytorch_forecasting", "peer_tft.py", 60),
    "Qlib": ("qlib", "peer_qlib.py", 8),
}
"""Name -> (package, script, required ratio)."""


def our_rate(batches: PanelBatches, packs: list[list[int]]) -> float:
    """Samples per processor second over some batches."""

    def gather() -> None:
        for days in packs:
            batches.gather(days)

    samples = sum(int(batches.samples_by_day[days].sum()) for days in packs)
    return samples / harness.processor_seconds(gather)


def copy_rate(values: torch.Tensor, packs: list[list[int]], stocks: int) -> float:
    """Samples per processor second of plain copies of a day's windows from the panel."""
    size = STEPS * stocks
    out = torch.zeros(size, FEATURES)

    def copy() -> None:
        for days in packs:
            last = (days[0] + 1) * stocks
            out.copy_(values[last - size : last])

    return stocks * len(packs) / harness.processor_seconds(copy)


def ours(given: argparse.Namespace) -> dict[str, float]:
    """The arm whose memory is measured: a panel and its batches."""
    batches, packs, _ = _batches(given)
    return {"samples_per_s": our_rate(batches, packs)}


def figures(given: argparse.Namespace) -> list[Figure]:
    """Ours against a plain copy and both peers."""
    batches, packs, values = _batches(given)
    gappy = _batches(given, every_eighth_listed=False)
    arms: dict[str, Callable[[], float]] = {
        "ours": lambda: our_rate(batches, packs),
        "with gaps": lambda: our_rate(*gappy[:2]),
        "plain copy": lambda: copy_rate(values, packs, batches.n_stocks),
    }
    missing = {}
    for name, (package, peer, _) in PEERS.items():
        python = None if given.tiny else harness.peer_python(package)
        if python is None:
            missing[name] = "left out of a tiny run" if given.tiny else harness.not_installed(package)
        else:
            arms[name] = partial(_peer_rate, peer, python)
    rates = harness.in_turns(arms, given.rounds)
    memory_arm = harness.run_arm(
        __file__, "ours", f"--batch={given.batch}", *(["--tiny"] if given.tiny else [])
    )

    def against(
        name: str, row: str, bar: float | None, peak_mb: float | None = None, arm: str = "ours"
    ) -> Figure:
        rate = median(rates[arm])
        theirs = None if name in missing else rate / harness.median_ratio(rates[arm], rates[name])
        note = missing.get(name, "")
        return Figure(row, rate, "samples/processor s", name, theirs, "higher", bar, peak_mb, note)

    return [
        against("plain copy", "loader", None, memory_arm.peak_mb),
        *(against(name, f"loader and {name}'s", bar) for name, (_, _, bar) in PEERS.items()),
        *(against(name, f"loader with gaps and {name}'s", None, arm="with gaps") for name in PEERS),
    ]


def _batches(
    given: argparse.Namespace, every_eighth_listed: bool = True
) -> tuple[PanelBatches, list[list[int]], torch.Tensor]:
    """A panel's batches, some lists of days in random order, and the panel's rows."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stocks, days = (8, 90) if given.tiny else (STOCKS, DAYS)
    panel = random_panel(stocks, days, FEATURES)
    panel.mask[:, ::8] = every_eighth_listed
    batches = random_batches(panel, STEPS, 2 * FEATURES)
    packs = DayBatchSampler(batches.samples_by_day, range(days), given.batch, seed=0).batches()[:20]
    batches.gather(packs[0])
    return batches, packs, torch.from_numpy(panel.values).view(-1, FEATURES)


def _peer_rate(script: str, python: str) -> float:
    run = harness.run_arm(HERE / script, "loader", "--batch=512", "--rounds=3", python=python)
    return float(run.result["samples_per_s"])


def add_batch(parser: argparse.ArgumentParser) -> None:
    """Add `--batch`."""
    parser.add_argument("--batch", type=int, default=512, help="samples per batch")


if __name__ == "__main__":
    harness.main(figures, __doc__, {"ours": ours}, extend=add_batch)
