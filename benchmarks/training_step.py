"""Rate of one training step at the default size, against a minimal network and a published peer.

    python benchmarks/training_step.py [--rounds 5] [--batch 512] [--json]

Ours is the whole step: gather windows, network, loss, gradients, clipping, AdamW. The minimal network has a
projection, a two-layer LSTM and four layers of single-query attention with folded key and value projections,
5.5M parameters, on a prepared batch. Both run in one process, in turns, on one thread, in the CPU's native
precision; processor time is compared. The peer is pytorch-forecasting's TFT of the same size (`peer_tft.py`),
on one thread in float32.
"""

import argparse
import contextlib
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import harness
import torch
from harness import Figure
from random_market import random_batches, random_panel
from torch import Tensor, nn
from torch.nn import functional

from gogooku3.models import ATFTGATFANModel
from gogooku3.system import freed_memory_kept
from gogooku3.training.losses import MultiHorizonFinancialLoss
from gogooku3.training.module import parameter_groups
from gogooku3.training.reproducibility import bfloat16_runs_fast

HERE = Path(__file__).resolve().parent
FEATURES, STEPS, HORIZONS = 145, 60, 4
WIDTH, HEADS, LAYERS, INSIDE = 256, 8, 4, 1664
MARKET_DIM = 2 * FEATURES
"""The market's state: each feature's mean and deviation on the day."""
PARTS = {
    "FAN": ["frequency"],
    "input projection": ["temporal.input_projection"],
    "LSTM": ["temporal.lstm"],
    "attention": [f"temporal.temporal_attention.{number}" for number in range(LAYERS)],
    "regime and fusion": ["temporal.regime", "temporal.feature_fusion"],
    "direct path": ["snapshot"],
    "graph": ["graph"],
    "heads": [f"heads.{horizon}d" for horizon in (1, 5, 10, 20)],
}
"""Modules of each part of the network."""


class BareLayer(nn.Module):
    """Single-query attention: scores against the raw history; the value projection follows the sum."""

    def __init__(self, width: int, inside: int) -> None:
        super().__init__()
        self.width = width
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix = nn.Sequential(nn.Linear(width, inside), nn.GELU(), nn.Linear(inside, width))

    def forward(self, state: Tensor, history: Tensor) -> Tensor:
        by_head = (HEADS, self.width // HEADS, self.width)
        query = self.query(self.first_norm(state)).view(-1, *by_head[:2])
        folded = torch.einsum("nhd,hde->nhe", query, self.key.weight.view(by_head))
        scores = folded @ history.transpose(1, 2) * by_head[1] ** -0.5
        attended = torch.einsum("nhe,hde->nhd", scores.softmax(-1) @ history, self.value.weight.view(by_head))
        state = state + self.out(attended.flatten(1) + self.value.bias)
        return state + self.mix(self.second_norm(state))


class BareNetwork(nn.Module):
    """The minimal network: `[samples, steps, features]` to `[samples, horizons]`."""

    def __init__(self, width: int, inside: int) -> None:
        super().__init__()
        self.project = nn.Linear(FEATURES, width)
        self.lstm = nn.LSTM(width, width, num_layers=2, batch_first=True)
        self.layers = nn.ModuleList(BareLayer(width, inside) for _ in range(LAYERS))
        self.head = nn.Linear(width, HORIZONS)

    def forward(self, x: Tensor) -> Tensor:
        history, _ = self.lstm(self.project(x))
        state = history[:, -1]
        for layer in self.layers:
            state = layer(state, history)
        return self.head(state)


class Job:
    """Both networks with their optimisers.

    Args:
        batch: samples per step, one day's stocks.
        width: of the networks.
    """

    def __init__(self, batch: int, width: int = WIDTH) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.bfloat16 = bfloat16_runs_fast()
        self.panel = random_panel(batch, STEPS + 5, FEATURES)
        self.batches = random_batches(self.panel, STEPS, MARKET_DIM)
        self.model = ATFTGATFANModel(FEATURES, width, market_dim=MARKET_DIM)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model, 1e-3, 1e-4), fused=True)
        self.loss = MultiHorizonFinancialLoss()
        self.bare = BareNetwork(width, INSIDE * width // WIDTH)
        self.bare_optimizer = torch.optim.AdamW(self.bare.parameters(), lr=1e-3, fused=True)
        self.x, self.y = torch.randn(batch, STEPS, FEATURES), torch.randn(batch, HORIZONS)

    def our_step(self) -> None:
        """Gather, predict, update."""
        batch = self.batches.gather([STEPS])
        self.optimizer.zero_grad()
        with self._precision():
            predictions = self.model(*batch.inputs)
        self.loss(predictions.float(), batch.labels, batch.day_index, batch.n_days).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def bare_step(self) -> None:
        """Predict and update with the minimal network."""
        self.bare_optimizer.zero_grad()
        with self._precision():
            predictions = self.bare(self.x)
        functional.mse_loss(predictions.float(), self.y).backward()
        self.bare_optimizer.step()

    def shares(self, repeats: int) -> dict[str, float]:
        """Share of each part in a step's processor time; the remainder is "rest".

        Each part runs separately, forward and backward, on its inputs in a whole step.
        """
        inputs = self._inputs_of_parts()
        seconds = {
            part: sum(harness.processor_seconds(self._pass(name, *inputs[name]), repeats) for name in names)
            for part, names in PARTS.items()
        }
        seconds["gather"] = harness.processor_seconds(lambda: self.batches.gather([STEPS]), repeats)
        seconds["optimiser"] = harness.processor_seconds(self.optimizer.step, repeats)
        whole = harness.processor_seconds(self.our_step, repeats)
        seconds["rest"] = max(0.0, whole - sum(seconds.values()))
        return {part: spent / sum(seconds.values()) for part, spent in seconds.items()}

    def _inputs_of_parts(self) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
        """Arguments of each module of `PARTS` in one step."""
        inputs: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        hooks = [
            self.model.get_submodule(name).register_forward_pre_hook(
                lambda module, positional, named, name=name: inputs.update({name: (positional, named)}),
                with_kwargs=True,
            )
            for names in PARTS.values()
            for name in names
        ]
        self.our_step()
        for hook in hooks:
            hook.remove()
        return inputs

    def _pass(self, name: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> Callable[[], None]:
        """One module's forward and backward pass; its inputs get gradients where they did in the step."""
        module = self.model.get_submodule(name)

        def fresh(part: Any) -> Any:
            return part.detach().requires_grad_(part.requires_grad) if isinstance(part, Tensor) else part

        def run() -> None:
            with self._precision():
                output = module(*map(fresh, inputs), **options)
            first = output[0] if isinstance(output, tuple) else output
            first.backward(torch.ones_like(first))

        return run

    def _precision(self) -> Any:
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.bfloat16 else contextlib.nullcontext()


def ours(given: argparse.Namespace) -> dict[str, float]:
    """The arm whose memory is measured: only our step."""
    job = Job(given.batch, 16 if given.tiny else WIDTH)
    with freed_memory_kept():
        return {"seconds": harness.processor_seconds(job.our_step, given.rounds)}


def figures(given: argparse.Namespace) -> list[Figure]:
    """Ours against the minimal network, the peer, and ours without kept memory."""
    job = Job(given.batch, 16 if given.tiny else WIDTH)
    kept, usual = [], []
    with freed_memory_kept():
        job.our_step(), job.bare_step()
        arms = {
            "ours": lambda: harness.processor_seconds(job.our_step),
            "bare": lambda: harness.processor_seconds(job.bare_step),
        }
        turns = harness.in_turns(arms, given.rounds)
        shares = job.shares(min(3, given.rounds))
    for _ in range(given.rounds):
        with freed_memory_kept():
            job.our_step()
            kept.append(harness.processor_seconds(job.our_step))
        job.our_step()
        usual.append(harness.processor_seconds(job.our_step))
    rates = {name: given.batch / median(seconds) for name, seconds in turns.items()}
    options = [f"--rounds={min(3, given.rounds)}", f"--batch={given.batch}"]
    arm = harness.run_arm(__file__, "ours", *options, *(["--tiny"] if given.tiny else []))
    precision = "bf16" if job.bfloat16 else "fp32"
    parts = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
    faster = harness.median_ratio(turns["bare"], turns["ours"])
    peer, note = _peer_rate(given)
    unit = "samples/processor s"
    return [
        Figure(
            f"training step, {precision}",
            rates["ours"],
            unit,
            "minimal network",
            rates["ours"] / faster,
            "higher",
            0.75,
            arm.peak_mb,
            f"{job.model.n_parameters:,} parameters; shares of the step: {parts}",
        ),
        Figure("training step and a peer's", rates["ours"], unit, "TFT", peer, "higher", 40, None, note),
        Figure(
            "training step, freed memory kept",
            given.batch / median(kept),
            unit,
            "glibc's default",
            given.batch / median(kept) / harness.median_ratio(usual, kept),
            "higher",
            None,
        ),
    ]


def _peer_rate(given: argparse.Namespace) -> tuple[float | None, str]:
    """Samples per processor second of the peer's step, or None; and a note."""
    if given.tiny:
        return None, "the peer is left out of a tiny run"
    python = harness.peer_python("pytorch_forecasting")
    if python is None:
        return None, harness.not_installed("pytorch-forecasting")
    run = harness.run_arm(HERE / "peer_tft.py", "step", "--batch=32", "--rounds=3", python=python)
    note = f"TFT of pytorch-forecasting, {run.result['parameters']:,} parameters, {run.peak_mb:,.0f} MB"
    return run.result["samples_per_s"], note


def add_batch(parser: argparse.ArgumentParser) -> None:
    """Add `--batch`."""
    parser.add_argument("--batch", type=int, default=512, help="samples per step")


if __name__ == "__main__":
    harness.main(figures, __doc__, {"ours": ours}, extend=add_batch)
