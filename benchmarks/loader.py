"""Samples per second from the loader: a month and the 60 days before it x 145 features, from the panel.

    python benchmarks/loader.py [--rounds 5] [--batch 2048] [--json]

Ours are the batches of a training step: stretches, masks, labels, ranks, neighbours and market state of
blocks in random order, from a panel of 632 stocks x 959 days. A second market lacks every eighth stock. The
limit is a plain copy of as many bytes from the panel into allocated memory. All run on one thread; processor
time is compared. The peers serve a window of 60 days for each sample: pytorch-forecasting's
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

from gogooku3.training.batches import Block, PanelBatches
from gogooku3.training.block_sampler import BlockSampler

HERE = Path(__file__).resolve().parent
FEATURES, STEPS = 145, 60
STOCKS, DAYS = 632, 959
"""The reference size."""
PEERS = {
    "pytorch-forecasting": ("pytorch_forecasting", "peer_tft.py", 60),
    "Qlib": ("qlib", "peer_qlib.py", 8),
}
"""Name -> (package, script, required ratio)."""


def our_rate(batches: PanelBatches, steps: list[list[Block]]) -> float:
    """Samples per processor second over some batches."""

    def gather() -> None:
        for blocks in steps:
            batches.gather(blocks)

    return _samples(steps) / harness.processor_seconds(gather)


def copy_rate(values: torch.Tensor, steps: list[list[Block]]) -> float:
    """Samples per processor second of plain copies of as many rows of the panel."""
    sizes = [sum(len(block.stocks) * (STEPS + len(block.days)) for block in blocks) for blocks in steps]
    out = torch.zeros(max(sizes), FEATURES)

    def copy() -> None:
        for number, size in enumerate(sizes):
            size = min(size, len(values))
            first = number * max(sizes) % (len(values) - size + 1)
            out[:size].copy_(values[first : first + size])

    return _samples(steps) / harness.processor_seconds(copy)


def _samples(steps: list[list[Block]]) -> int:
    return sum(len(block.stocks) * len(block.days) for blocks in steps for block in blocks)


def ours(given: argparse.Namespace) -> dict[str, float]:
    """The arm whose memory is measured: a panel and its batches."""
    batches, steps, _ = _batches(given)
    return {"samples_per_s": our_rate(batches, steps)}


def figures(given: argparse.Namespace) -> list[Figure]:
    """Ours against a plain copy and both peers."""
    batches, steps, values = _batches(given)
    gappy = _batches(given, every_eighth_listed=False)
    arms: dict[str, Callable[[], float]] = {
        "ours": lambda: our_rate(batches, steps),
        "with gaps": lambda: our_rate(*gappy[:2]),
        "plain copy": lambda: copy_rate(values, steps),
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
) -> tuple[PanelBatches, list[list[Block]], torch.Tensor]:
    """A panel's batches, the blocks of some steps in random order, and the panel's rows."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stocks, days = (40, 120) if given.tiny else (STOCKS, DAYS)
    panel = random_panel(stocks, days, FEATURES)
    panel.mask[:, ::8] = every_eighth_listed
    batches = random_batches(panel, STEPS, 2 * FEATURES)
    steps = BlockSampler(batches, range(days), given.batch, seed=0).steps()[:20]
    batches.gather(steps[0])
    return batches, steps, torch.from_numpy(panel.values).view(-1, FEATURES)


def _peer_rate(script: str, python: str) -> float:
    run = harness.run_arm(HERE / script, "loader", "--batch=512", "--rounds=3", python=python)
    return float(run.result["samples_per_s"])


def add_batch(parser: argparse.ArgumentParser) -> None:
    """Add `--batch`."""
    parser.add_argument("--batch", type=int, default=2048, help="samples per batch")


if __name__ == "__main__":
    harness.main(figures, __doc__, {"ours": ours}, extend=add_batch)
