"""Batches of whole trading days, gathered from a panel on the device.

The loader yields day numbers; windows are gathered on the panel's device. The order derives from
(seed, epoch) only.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from gogooku3.data.panel import Panel
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.models.atft_gat_fan import ATFTGATFANModel, ModelInputs
from gogooku3.models.chunked_inference import predict_in_chunks
from gogooku3.models.graph_attention import Neighbours

LONG_RUN = 16
"""Mean length of contiguous stocks from which on windows are copied as blocks, not row by row."""


class StackedGraphs(NamedTuple):
    """Graph snapshots of a calendar `[snapshots, stocks, K]`, and the snapshot number of each day `[days]`.

    The number is -1 for a day without a graph. A `GraphSchedule` has the same arrays.
    """

    snapshot_index: np.ndarray
    neighbours: np.ndarray
    weights: np.ndarray
    valid: np.ndarray


def standing_graph(graph: StockGraph, panel: Panel) -> StackedGraphs:
    """One graph for all days from its as-of day on; earlier days have none.

    Stocks of the panel that are missing from the graph have no neighbours.
    """
    codes = set(panel.codes)
    inside = graph.subset([code for code in graph.codes if code in codes])
    index = np.array([panel.codes.index(code) for code in inside.codes], dtype=np.int64)
    width = inside.neighbours.shape[1]
    neighbours = np.repeat(np.arange(panel.n_stocks, dtype=np.int64)[:, None], width, axis=1)
    weights = np.zeros((panel.n_stocks, width), dtype=np.float32)
    valid = np.zeros((panel.n_stocks, width), dtype=bool)
    neighbours[index] = index[inside.neighbours]
    weights[index], valid[index] = inside.weights, inside.valid
    served = panel.dates >= np.datetime64(graph.as_of, "D") if graph.as_of else np.zeros(panel.n_days, bool)
    return StackedGraphs(np.where(served, 0, -1), neighbours[None], weights[None], valid[None])


class Batch(NamedTuple):
    """The samples of some days.

    Shapes:
        x `[samples, steps, features]`; step_mask bool `[samples, steps]`; day_index int
        `[samples]` counting the days of this batch; neighbours index the samples; labels
        `[samples, horizons]`, NaN unknown; day and stock int `[samples]`: position in the panel;
        market float `[days of the batch, market_dim]` or None.
    """

    x: Tensor
    step_mask: Tensor
    day_index: Tensor
    neighbours: Neighbours
    labels: Tensor
    day: Tensor
    stock: Tensor
    n_days: int
    market: Tensor | None

    @property
    def inputs(self) -> ModelInputs:
        """Inputs of the network."""
        return ModelInputs(self.x, self.step_mask, self.day_index, self.neighbours, self.n_days, self.market)


def predict_batch(model: ATFTGATFANModel, batch: Batch) -> Tensor:
    """Predictions `[samples, horizons]` of a network in evaluation mode, without gradients.

    On a CPU they are bit-identical for any number of threads.
    """
    if batch.x.is_cuda:
        with torch.inference_mode():
            predictions: Tensor = model(*batch.inputs)
            return predictions
    return predict_in_chunks(model, batch.inputs)


class DayBatchSampler(Sampler[list[int]]):
    """Batch sampler over whole trading days, at most `batch_size` samples, at least one day.

    Every batch has the same number of days, the number that fits for the largest days. So every epoch has the
    same number of batches in any order, as the learning-rate schedule and Lightning's loop require.

    Args:
        samples_by_day: number of samples of each day of the calendar, `[days]`.
        days: days to serve; days without samples are skipped.
        batch_size: most samples per batch.
        seed: of the order; None keeps the calendar's order.
    """

    def __init__(
        self, samples_by_day: np.ndarray, days: range, batch_size: int, seed: int | None = None
    ) -> None:
        self.samples_by_day = samples_by_day
        self.days = np.array([day for day in days if samples_by_day[day]], dtype=np.int64)
        self.seed = seed
        self.epoch = 0
        self._skipped = (0, 0)
        largest = int(samples_by_day[self.days].max(initial=1))
        self.days_per_batch = max(1, batch_size // largest)

    def set_epoch(self, epoch: int) -> None:
        """Select the order of an epoch; called by Lightning's loop."""
        self.epoch = epoch

    def batches(self) -> list[list[int]]:
        """Batches of the current epoch, as lists of days."""
        days = self.days
        if self.seed is not None:
            days = np.random.default_rng((self.seed, self.epoch)).permutation(days)
        size = self.days_per_batch
        return [days[start : start + size].tolist() for start in range(0, len(days), size)]

    def skip(self, epoch: int, batches: int) -> None:
        """Skip the first batches of one epoch, which a resumed training has already seen."""
        self._skipped = (epoch, batches)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, skipped = self._skipped
        return iter(self.batches()[skipped if self.epoch == epoch else 0 :])

    def __len__(self) -> int:
        return -(-len(self.days) // self.days_per_batch)


class PanelBatches:
    """Gather the samples of any days from a normalised panel.

    Args:
        panel: normalised; its values are shared, not copied, while they stay on the CPU.
        labels: treated targets, float32 `[days, stocks, horizons]`.
        sequence_length: steps of a window.
        graphs: as-of snapshots; None: no neighbours.
        samples: bool `[days, stocks]`, rows to serve; None: every row with a full window.
        market: float32 `[days, market_dim]`, the market's state by day; None: unknown.
    """

    def __init__(
        self,
        panel: Panel,
        labels: np.ndarray,
        sequence_length: int,
        graphs: GraphSchedule | StackedGraphs | None = None,
        samples: np.ndarray | None = None,
        market: np.ndarray | None = None,
    ) -> None:
        self.n_stocks = panel.n_stocks
        self.n_features = len(panel.features)
        self.sequence_length = sequence_length
        if samples is None:
            samples = panel.sample_mask(sequence_length)
        self.samples_by_day = samples.sum(axis=1)
        self._stocks = torch.from_numpy(np.nonzero(samples)[1]).split(self.samples_by_day.tolist())
        self._values = torch.from_numpy(panel.values).view(-1, self.n_features)
        self._mask = torch.from_numpy(panel.mask).view(-1)
        self._labels = torch.from_numpy(labels).view(-1, labels.shape[-1])
        self._market = None if market is None else torch.from_numpy(market)
        self._step_offsets = torch.arange(1 - sequence_length, 1) * self.n_stocks
        self._graphs: tuple[Tensor, Tensor, Tensor] | None = None
        self.set_graphs(graphs)

    def set_graphs(self, graphs: GraphSchedule | StackedGraphs | None) -> None:
        """Replace the graph snapshots."""
        self._graphs = None
        if graphs is not None and graphs.neighbours.shape[0]:
            # Index `n_stocks` is padding (no neighbour); the last snapshot, all padding, serves days without
            # a graph.
            padding = np.full((1, *graphs.neighbours.shape[1:]), self.n_stocks)
            index = np.concatenate([np.where(graphs.valid, graphs.neighbours, self.n_stocks), padding])
            weights = np.concatenate([graphs.weights, np.zeros(padding.shape, np.float32)])
            snapshot = graphs.snapshot_index.astype(np.int64) % len(index)
            self._graphs = (
                torch.from_numpy(snapshot).to(self.device),
                torch.from_numpy(index.astype(np.int64)).to(self.device).flatten(0, 1),
                torch.from_numpy(weights).to(self.device).flatten(0, 1),
            )

    def to(self, device: torch.device) -> "PanelBatches":
        """Move the panel and the graphs to a device, in place."""
        for name in ("_values", "_mask", "_labels", "_step_offsets"):
            setattr(self, name, getattr(self, name).to(device))
        self._stocks = torch.cat(self._stocks).to(device).split(self.samples_by_day.tolist())
        if self._market is not None:
            self._market = self._market.to(device)
        if self._graphs is not None:
            snapshot, index, weights = self._graphs
            self._graphs = snapshot.to(device), index.to(device), weights.to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Device of the panel."""
        return self._values.device

    def today(self, day: int) -> tuple[Tensor, Tensor]:
        """Features `[samples, features]` and labels `[samples, horizons]` of one day, without the windows."""
        rows = day * self.n_stocks + self._stocks[day]
        return self._values.index_select(0, rows), self._labels.index_select(0, rows)

    def gather(self, days: Sequence[int]) -> Batch:
        """The samples of some days, ordered by day as given, then by stock.

        On a GPU the host sends the day numbers and waits for nothing.
        """
        day_numbers = np.repeat(np.arange(len(days)), self.samples_by_day[list(days)])
        numbers, day_index = (_to_device(part, self.device) for part in (np.asarray(days), day_numbers))
        day = numbers.index_select(0, day_index)
        stock = torch.cat([self._stocks[day] for day in days])
        today = day * self.n_stocks + stock
        neighbours = self._neighbours(len(days), day_index, day, stock)
        labels = self._labels.index_select(0, today)
        # Windows come last, because they evict everything else from the CPU's caches.
        x, step_mask = self._windows(days, today)
        return Batch(
            x=x.transpose(0, 1),
            step_mask=step_mask.t(),
            day_index=day_index,
            neighbours=neighbours,
            labels=labels,
            day=day,
            stock=stock,
            n_days=len(days),
            market=None if self._market is None else self._market.index_select(0, numbers),
        )

    def _windows(self, days: Sequence[int], today: Tensor) -> tuple[Tensor, Tensor]:
        """Features `[steps, samples, features]` and mask `[steps, samples]` of the samples of some days.

        Args:
            days: as `gather` takes them.
            today: index of each sample's last row in the flattened panel.
        """
        runs = [] if today.is_cuda else self._contiguous_runs(days)
        if not 0 < len(runs) * LONG_RUN <= len(today):
            rows = self._step_offsets[:, None] + today
            x, step_mask = (part.index_select(0, rows.flatten()) for part in (self._values, self._mask))
            return x.view(*rows.shape, self.n_features), step_mask.view(rows.shape)
        values = self._values.view(-1, self.n_stocks, self.n_features)
        traded = self._mask.view(-1, self.n_stocks)
        windows = [
            (slice(day - self.sequence_length + 1, day + 1), slice(first, first + n))
            for day, first, n in runs
        ]
        x, step_mask = (torch.cat([part[window] for window in windows], dim=1) for part in (values, traded))
        return x, step_mask

    def _contiguous_runs(self, days: Sequence[int]) -> list[tuple[int, int, int]]:
        """Runs of samples with consecutive stock numbers, in order: day, first stock, length."""
        runs = []
        for day in days:
            stocks = self._stocks[day].numpy()
            edges = [0, *(np.flatnonzero(np.diff(stocks) != 1) + 1).tolist(), len(stocks)]
            runs += [(day, int(stocks[first]), end - first) for first, end in pairwise(edges) if end > first]
        return runs

    def _neighbours(self, n_days: int, day_index: Tensor, day: Tensor, stock: Tensor) -> Neighbours:
        """Each sample's neighbours as indices of samples of the same day."""
        if self._graphs is None:
            return Neighbours.none(len(stock), stock.device)
        snapshots, indices, weights = self._graphs
        rows = snapshots.index_select(0, day) * self.n_stocks + stock
        # Sample number by day and stock, -1 where absent; the last column of a day is the padding.
        first = day_index * (self.n_stocks + 1)
        position = stock.new_full((n_days * (self.n_stocks + 1),), -1)
        position.index_copy_(0, first + stock, torch.arange(len(stock), device=stock.device))
        index = position.take(first[:, None] + indices.index_select(0, rows))
        present = index >= 0
        return Neighbours(index.clamp_(min=0), weights.index_select(0, rows) * present, present)


def _to_device(numbers: np.ndarray, device: torch.device) -> Tensor:
    """Copy to a device; to a GPU from pinned memory, so that the host does not wait."""
    tensor = torch.from_numpy(numbers)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
