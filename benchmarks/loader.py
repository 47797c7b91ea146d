"""Samples a second out of the loader: windows of 60 days x 145 features, gathered from the panel.

    python benchmarks/loader.py [--rounds 5] [--batch 512] [--json]

Ours is what a training step gets: windows, masks, labels, neighbours and market state of whole days in
random order, from a panel of 632 stocks x 959 days; and of a market in which every eighth stock is not
listed, whose windows are not copied as blocks but row by row. The limit is a plain copy of as many bytes out
of the panel, into memory that lies ready. All run on one thread; processor time is compared. The peers are
pytorch-forecasting's loader and Qlib's window sampler, asked for whole batches (`peer_tft.py`,
`peer_qlib.py`).
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import harness
import torch
from harness import Figure
from made_up_market import made_up_batches, made_up_panel

from gogooku3.training.batches import DayBatchSampler, PanelBatches

HERE = Path(__file__).resolve().parent
FEATURES, STEPS = 145, 60
STOCKS, DAYS = 632, 959
"""The reference size; a batch is one day."""
PEERS = {
    "pytorch-forecasting": ("pytorch_forecasting", ["peer_tft.py", "loader", "--batch", "512"], 60),
    "Qlib": ("qlib", ["peer_qlib.py"], 8),
}
"""Name -> (package, command, times that ours is to be faster)."""


def our_rate(batches: PanelBatches, packs: list[list[int]]) -> float:
    """Samples a processor second over some batches."""

    def serve() -> None:
        for days in packs:
            batches.gather(days)

    samples = sum(int(batches.samples_by_day[days].sum()) for days in packs)
    return samples / harness.processor_seconds(serve)


def copy_rate(values: torch.Tensor, packs: list[list[int]], stocks: int) -> float:
    """Samples a processor second of plain copies: the windows of a day's stocks as they lie in the panel."""
    size = STEPS * stocks
    out = torch.zeros(size, FEATURES)

    def serve() -> None:
        for days in packs:
            last = (days[0] + 1) * stocks
            out.copy_(values[last - size : last])

    return stocks * len(packs) / harness.processor_seconds(serve)


def ours(given: argparse.Namespace) -> dict[str, float]:
    """The arm that is weighed: a panel and its batches."""
    batches, packs, _ = _ready(given)
    return {"samples_per_s": our_rate(batches, packs)}


def figures(given: argparse.Namespace) -> list[Figure]:
    """Ours beside a plain copy and both peers."""
    batches, packs, values = _ready(given)
    gappy = _ready(given, every_eighth_listed=False)
    arms: dict[str, Callable[[], float]] = {
        "ours": lambda: our_rate(batches, packs),
        "with gaps": lambda: our_rate(*gappy[:2]),
        "plain copy": lambda: copy_rate(values, packs, batches.n_stocks),
    }
    missing = {}
    for name, (package, command, _) in PEERS.items():
        python = None if given.tiny else harness.peer_python(package)
        if python is None:
            missing[name] = "left out of a tiny run" if given.tiny else harness.not_installed(package)
        else:
            arms[name] = partial(_peer_rate, [python, str(HERE / command[0]), *command[1:]])
    turns = harness.in_turns(arms, given.rounds)
    weighed = harness.run_arm(__file__, "ours", f"--batch={given.batch}", *(["--tiny"] if given.tiny else []))

    def beside(
        name: str, line: str, bar: float | None, peak_mb: float | None = None, arm: str = "ours"
    ) -> Figure:
        rate = median(turns[arm])
        theirs = None if name in missing else rate / harness.median_ratio(turns[arm], turns[name])
        note = missing.get(name, "")
        return Figure(line, rate, "samples/processor s", name, theirs, "higher", bar, peak_mb, note)

    return [
        beside("plain copy", "loader", None, weighed.peak_mb),
        *(beside(name, f"loader and {name}'s", bar) for name, (_, _, bar) in PEERS.items()),
        *(beside(name, f"loader with gaps and {name}'s", None, arm="with gaps") for name in PEERS),
    ]


def _ready(
    given: argparse.Namespace, every_eighth_listed: bool = True
) -> tuple[PanelBatches, list[list[int]], torch.Tensor]:
    """A panel's batches, some packs of days in random order, and the panel's rows."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    stocks, days = (8, 90) if given.tiny else (STOCKS, DAYS)
    panel = made_up_panel(stocks, days, FEATURES)
    panel.mask[:, ::8] = every_eighth_listed
    batches = made_up_batches(panel, STEPS, 2 * FEATURES)
    packs = DayBatchSampler(batches.samples_by_day, range(days), given.batch, seed=0).batches()[:20]
    batches.gather(packs[0])
    return batches, packs, torch.from_numpy(panel.values).view(-1, FEATURES)


def _peer_rate(command: list[str]) -> float:
    return float(harness.run_process(command).result["samples_per_s"])


def add_batch(parser: argparse.ArgumentParser) -> None:
    """The size of a batch."""
    parser.add_argument("--batch", type=int, default=512, help="samples a batch")


if __name__ == "__main__":
    harness.main(figures, __doc__, {"ours": ours}, extend=add_batch)
