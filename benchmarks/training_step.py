"""Rate of one training step at the default size, against a minimal network and a published peer.

    python benchmarks/training_step.py [--rounds 5] [--batch 2048] [--json]

Ours is a step of windows and graph: gather blocks of a month and a few stocks, network, loss, gradients,
clipping, AdamW; each block's LSTM runs once over the month and the 60 days before it. The minimal network has
a projection, a two-layer LSTM and four layers of single-query attention with folded key and value
projections, 5.5M parameters, and runs over the 60 days of each sample, on a prepared batch of 512. Both run
in one process, in turns, on one thread, in the CPU's native precision; processor time a sample is compared.
The peer is pytorch-forecasting's TFT of the same size (`peer_tft.py`), on one thread in float32. A second
figure is the step of the snapshot, the stage before, in rows a second.
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
from gogooku3.training.batches import Block
from gogooku3.training.block_sampler import BlockSampler
from gogooku3.training.losses import MultiHorizonFinancialLoss
from gogooku3.training.module import parameter_groups
from gogooku3.training.reproducibility import bfloat16_runs_fast

HERE = Path(__file__).resolve().parent
FEATURES, STEPS, HORIZONS = 145, 60, 4
WIDTH, HEADS, LAYERS, INSIDE = 256, 8, 4, 1664
BARE_BATCH, SNAPSHOT_ROWS = 512, 2048
STOCKS, DAYS = 128, 250
"""Of the market that blocks are drawn from."""
MARKET_DIM = 2 * FEATURES
"""The market's state: each feature's mean and deviation on the day."""
PARTS = {
    "FAN": ["frequency"],
    "input projection": ["temporal.input_projection"],
    "LSTM": ["temporal.lstm"],
    "attention": [f"temporal.temporal_attention.{number}" for number in range(LAYERS)],
    "regime and fusion": ["temporal.regime", "temporal.feature_fusion"],
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
        batch: samples per step of ours.
        width: of the networks.
    """

    def __init__(self, batch: int, width: int = WIDTH) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.bfloat16 = bfloat16_runs_fast()
        self.panel = random_panel(STOCKS, DAYS, FEATURES)
        self.batches = random_batches(self.panel, STEPS, MARKET_DIM)
        sampler = BlockSampler(self.batches, range(STEPS - 1, DAYS), batch, seed=0)
        self.blocks = max(sampler.steps(), key=_samples)
        self.samples = _samples(self.blocks)
        self.model = ATFTGATFANModel(FEATURES, width, market_dim=MARKET_DIM)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model, 1e-3, 1e-4), fused=True)
        self.loss = MultiHorizonFinancialLoss()
        self.bare = BareNetwork(width, INSIDE * width // WIDTH)
        self.bare_optimizer = torch.optim.AdamW(self.bare.parameters(), lr=1e-3, fused=True)
        self.x, self.y = torch.randn(BARE_BATCH, STEPS, FEATURES), torch.randn(BARE_BATCH, HORIZONS)

    def our_step(self) -> None:
        """Gather, predict, update."""
        batch = self.batches.gather(self.blocks)
        self.optimizer.zero_grad()
        with self.precision():
            predictions = batch.base + self.model.windows(batch.inputs)
        self.loss(predictions, batch.labels, batch.day_index, batch.n_days).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def bare_step(self) -> None:
        """Predict and update with the minimal network."""
        self.bare_optimizer.zero_grad()
        with self.precision():
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
        seconds["gather"] = harness.processor_seconds(lambda: self.batches.gather(self.blocks), repeats)
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
            with self.precision():
                output = module(*map(fresh, inputs), **options)
            first = output[0] if isinstance(output, tuple) else output
            first.backward(torch.ones_like(first))

        return run

    def precision(self) -> Any:
        """The CPU's native precision."""
        return torch.autocast("cpu", dtype=torch.bfloat16) if self.bfloat16 else contextlib.nullcontext()


def _samples(blocks: list[Block]) -> int:
    return sum(len(block.stocks) * len(block.days) for block in blocks)


def snapshot_rate(job: Job) -> float:
    """Rows per processor second of a step of the snapshot, loss and optimiser included."""
    learner = job.model.snapshot.new_learner().train()
    optimizer = torch.optim.AdamW(parameter_groups(learner, 1e-3, 1e-2), fused=True)
    rows = job.batches.rows(range(STEPS - 1, DAYS))[:SNAPSHOT_ROWS]

    def step() -> None:
        optimizer.zero_grad()
        with job.precision():
            predictions = learner(*job.batches.today(rows))
        job.loss(predictions, job.batches.labels(rows)).backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()

    step()
    return len(rows) / harness.processor_seconds(step, 5)


def ours(given: argparse.Namespace) -> dict[str, float]:
    """The arm whose memory is measured: only our step."""
    job = Job(given.batch, 16 if given.tiny else WIDTH)
    return {"seconds": harness.processor_seconds(job.our_step, given.rounds)}


def figures(given: argparse.Namespace) -> list[Figure]:
    """Ours against the minimal network and the peer, and the snapshot's step."""
    job = Job(given.batch, 16 if given.tiny else WIDTH)
    job.our_step(), job.bare_step()
    arms = {
        "ours": lambda: harness.processor_seconds(job.our_step),
        "bare": lambda: harness.processor_seconds(job.bare_step),
    }
    turns = harness.in_turns(arms, given.rounds)
    shares = job.shares(min(3, given.rounds))
    sizes = {"ours": job.samples, "bare": BARE_BATCH}
    rates = {name: sizes[name] / median(seconds) for name, seconds in turns.items()}
    options = [f"--rounds={min(3, given.rounds)}", f"--batch={given.batch}"]
    arm = harness.run_arm(__file__, "ours", *options, *(["--tiny"] if given.tiny else []))
    precision = "bf16" if job.bfloat16 else "fp32"
    parts = ", ".join(f"{part} {share:.0%}" for part, share in shares.items())
    faster = harness.median_ratio(turns["bare"], turns["ours"]) * job.samples / BARE_BATCH
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
            7.0,
            arm.peak_mb,
            f"{job.model.n_parameters:,} parameters; shares of the step: {parts}",
        ),
        Figure("training step and a peer's", rates["ours"], unit, "TFT", peer, "higher", 300, None, note),
        Figure("snapshot step", snapshot_rate(job), "rows/processor s", "", None, "higher", None),
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
    parser.add_argument("--batch", type=int, default=2048, help="samples per step")


if __name__ == "__main__":
    harness.main(figures, __doc__, {"ours": ours}, extend=add_batch)
