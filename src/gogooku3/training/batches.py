"""Batches of blocks (some stocks over some days of a month), gathered from a panel on the device.

The loader yields blocks; their stretches are gathered on the panel's device.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gogooku3.data.panel import Panel
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.graph.stock_graph import StockGraph
from gogooku3.models.atft_gat_fan import ATFTGATFANModel, ModelInputs
from gogooku3.models.chunked_inference import predict_in_chunks
from gogooku3.models.graph_attention import Neighbours
from gogooku3.preprocessing.day_ranks import TOP_RANK, day_ranks


class Block(NamedTuple):
    """Some stocks over some consecutive days of one calendar month.

    Attributes:
        days: days of the panel.
        stocks: int64, positions of stocks in the panel.
    """

    days: range
    stocks: np.ndarray


class StackedGraphs(NamedTuple):
    """Graph snapshots of a calendar `[snapshots, stocks, K]`, and the snapshot number of each day `[days]`.

    The number is -1 for a day without a graph. A `GraphSchedule` has the same arrays.
    """

    snapshot_index: np.ndarray
    neighbours: np.ndarray
    weights: np.ndarray
    valid: np.ndarray


def standing_graph(graph: StockGraph, panel: Panel) -> StackedGraphs:
    """One graph for all months that start on its as-of day or later; earlier days have none.

    A month has one graph, as in a `GraphSchedule`, so that a prediction does not depend on the days predicted
    with it. Stocks of the panel that are missing from the graph have no neighbours.
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
    months = panel.dates.astype("datetime64[M]")
    starts = panel.dates[np.searchsorted(months, months)]
    served = starts >= np.datetime64(graph.as_of, "D") if graph.as_of else np.zeros(panel.n_days, bool)
    return StackedGraphs(np.where(served, 0, -1), neighbours[None], weights[None], valid[None])


class Batch(NamedTuple):
    """The samples of some blocks, day by day within each stock, with gaps.

    A gap is a day of a stock without a sample: it is computed, because stretches are as long as the longest
    one, and has no labels.

    Shapes:
        inputs: of the network, `[series, steps, features]` and so on, with `series x days` places;
        sample bool `[places]`, false for a gap; labels `[places, horizons]`, NaN unknown; base `[places,
        horizons]`, the part of the predictions that reads only today's features, 0 unless it was set; day
        and stock int `[places]`: position in the panel; day_index int `[places]`, counting the days of the
        batch; n_days: number of these.
    """

    inputs: ModelInputs
    sample: Tensor
    labels: Tensor
    base: Tensor
    day: Tensor
    stock: Tensor
    day_index: Tensor
    n_days: int


def predict_batch(model: ATFTGATFANModel, batch: Batch) -> Tensor:
    """Predictions `[places, horizons]` of a network in evaluation mode, without gradients.

    On a CPU they are bit-identical for any number of threads.
    """
    if batch.labels.is_cuda:
        with torch.inference_mode():
            predictions: Tensor = model(*batch.inputs)
            return predictions
    return predict_in_chunks(model, batch.inputs)


def of_samples(predictions: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Predictions, days and stocks of a batch's samples, without the gaps."""
    kept = batch.sample
    return {"predictions": predictions[kept], "day": batch.day[kept], "stock": batch.stock[kept]}


class Predictions(NamedTuple):
    """Predictions `[samples, horizons]`, and each sample's `day` and `stock`."""

    predictions: np.ndarray
    day: np.ndarray
    stock: np.ndarray

    @classmethod
    def join(cls, outputs: Iterable[Mapping[str, Tensor]]) -> "Predictions":
        """Collect what `of_samples` returned for each batch, by day, then stock."""
        parts = zip(*([output[name] for name in cls._fields] for output in outputs), strict=True)
        predictions, day, stock = (torch.cat(part).cpu().numpy() for part in parts)
        order = np.lexsort((stock, day))
        return cls(predictions[order], day[order], stock[order])


def predict_days(model: ATFTGATFANModel, batches: "PanelBatches", days: range) -> np.ndarray:
    """Predictions float32 `[samples, horizons]` of every sample of some days, by day, then stock.

    Arguments and precision as of `predict_batch`.
    """
    months = (batches.gather([batches.block(month)]) for month in batches.months(days))
    return Predictions.join(of_samples(predict_batch(model, batch), batch) for batch in months).predictions


class PanelBatches:
    """Gather the samples of any blocks from a normalised panel.

    A stretch starts `sequence_length` trading days before the first day of its calendar month, whichever days
    of the month are asked for, so a prediction depends on the calendar, not on the batch. Days before the
    panel count as absent.

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
        self.n_days, self.n_stocks = panel.n_days, panel.n_stocks
        self.n_features = len(panel.features)
        self.sequence_length = sequence_length
        self.samples = panel.sample_mask(sequence_length) if samples is None else samples
        self.samples_by_day = self.samples.sum(axis=1)
        months = panel.dates.astype("datetime64[M]")
        self.month_start = np.searchsorted(months, months)
        """First day of each day's calendar month, `[days]`."""
        self._values = torch.from_numpy(panel.values).view(-1, self.n_features)
        self._mask = torch.from_numpy(panel.mask).view(-1)
        self._sample = torch.from_numpy(self.samples).view(-1)
        self._labels = torch.from_numpy(labels).view(-1, labels.shape[-1])
        self._base: Tensor | None = None
        self._market = None if market is None else torch.from_numpy(market)
        needed = np.flatnonzero(self.samples_by_day)
        self._first_ranked = int(needed[0]) if len(needed) else self.n_days
        ranked = range(self._first_ranked, int(needed[-1]) + 1 if len(needed) else self.n_days)
        ranks = day_ranks(panel.values, panel.mask, ranked)
        self._ranks = torch.from_numpy(ranks).view(-1, self.n_features)
        self.graphs: GraphSchedule | StackedGraphs | None = None
        self._links: tuple[Tensor, Tensor] | None = None
        self.set_graphs(graphs)

    def set_graphs(self, graphs: GraphSchedule | StackedGraphs | None) -> None:
        """Replace the graph snapshots."""
        self.graphs, self._links = None, None
        if graphs is not None and graphs.neighbours.shape[0]:
            self.graphs = graphs
            # Index `n_stocks` is padding (no neighbour); the last snapshot, all padding, serves days without
            # a graph.
            padding = np.full((1, *graphs.neighbours.shape[1:]), self.n_stocks)
            index = np.concatenate([np.where(graphs.valid, graphs.neighbours, self.n_stocks), padding])
            weights = np.concatenate([graphs.weights, np.zeros(padding.shape, np.float32)])
            self._links = (
                torch.from_numpy(index.astype(np.int64)).to(self.device).flatten(0, 1),
                torch.from_numpy(weights).to(self.device).flatten(0, 1),
            )

    def set_base(self, days: Sequence[int], base: Tensor) -> None:
        """Set `Batch.base` for all samples of some days.

        Args:
            base: `[samples, horizons]`, in the order of `rows(days)`.
        """
        if self._base is None:
            self._base = torch.zeros_like(self._labels)
        self._base.index_copy_(0, self.rows(days), base)

    def base_of(self, day: np.ndarray, stock: np.ndarray) -> np.ndarray:
        """What `set_base` set for some samples, float32 `[samples, horizons]`."""
        assert self._base is not None, "set_base comes first"
        rows = torch.from_numpy(day * self.n_stocks + stock).to(self.device)
        return self._base.index_select(0, rows).cpu().numpy()

    def to(self, device: torch.device) -> "PanelBatches":
        """Move the panel and the graphs to a device, in place."""
        for name in ("_values", "_mask", "_sample", "_labels", "_base", "_market", "_ranks"):
            tensor = getattr(self, name)
            setattr(self, name, None if tensor is None else tensor.to(device))
        if self._links is not None:
            self._links = self._links[0].to(device), self._links[1].to(device)
        return self

    @property
    def device(self) -> torch.device:
        """Device of the panel."""
        return self._values.device

    def rows(self, days: Sequence[int]) -> Tensor:
        """Numbers of the samples of some days for `today` and `labels`, by day, then stock."""
        day, stock = np.nonzero(self.samples[list(days)])
        return torch.from_numpy(np.asarray(days)[day] * self.n_stocks + stock).to(self.device)

    def features(self, rows: Tensor) -> Tensor:
        """Features `[rows, features]`, without the windows."""
        return self._values.index_select(0, rows)

    def today(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Features and their ranks from 0 to 1, `[rows, features]` each."""
        return self.features(rows), self._ranks_of(rows)

    def labels(self, rows: Tensor) -> Tensor:
        """Labels `[rows, horizons]`."""
        return self._labels.index_select(0, rows)

    def months(self, days: range) -> list[range]:
        """Days with samples, by calendar month."""
        served = np.array([day for day in days if self.samples_by_day[day]], dtype=np.int64)
        edges = np.flatnonzero(np.diff(self.month_start[served])) + 1
        return [range(int(part[0]), int(part[-1]) + 1) for part in np.split(served, edges) if len(part)]

    def block(self, days: range) -> Block:
        """All stocks with a sample on some days of one month."""
        return Block(days, np.flatnonzero(self.samples[days.start : days.stop].any(axis=0)))

    def gather(self, blocks: Sequence[Block]) -> Batch:
        """The samples of some blocks, block by block, stock by stock, day by day.

        On a GPU the host sends stocks and days, and waits for nothing.
        """
        sizes = [len(block.stocks) for block in blocks]
        month = np.array([self.month_start[block.days.start] for block in blocks])
        begin = min(block.days.start - first for block, first in zip(blocks, month, strict=True))
        end = max(block.days.stop - first for block, first in zip(blocks, month, strict=True))
        steps, days = self.sequence_length + end, end - begin
        # On the host: the days of a block and whether they belong to it; then one row per series.
        place = month[:, None] + np.arange(begin, end)
        last = np.array([block.days.stop for block in blocks])
        inside = (place >= np.array([block.days.start for block in blocks])[:, None]) & (
            place < last[:, None]
        )
        place = np.minimum(place, self.n_days - 1)
        distinct, day_index = np.unique(place, return_inverse=True)
        stocks = np.concatenate([block.stocks for block in blocks])
        per_series = [np.repeat(part, sizes, axis=0) for part in (month, last, place, inside)]
        per_series.append(np.repeat(day_index.reshape(place.shape), sizes, axis=0))
        first, stop, day, within, index = (_to_device(part, self.device) for part in per_series)
        stock, numbers = _to_device(stocks, self.device), _to_device(distinct, self.device)

        today = (day * self.n_stocks + stock[:, None]).flatten()
        sample = self._sample.index_select(0, today) & within.flatten()
        labels = torch.where(sample[:, None], self._labels.index_select(0, today), torch.nan)
        base = torch.zeros_like(labels) if self._base is None else self._base.index_select(0, today)
        neighbours = self._neighbours(blocks, stock, sample.view(-1, days))
        step = first - self.sequence_length + torch.arange(steps, device=self.device)[:, None]
        known = (step >= 0) & (step < stop)
        rows = (step.clamp(0, self.n_days - 1) * self.n_stocks + stock).flatten()
        x = self._values.index_select(0, rows).view(*step.shape, self.n_features)
        step_mask = self._mask.index_select(0, rows).view(step.shape) & known
        return Batch(
            inputs=ModelInputs(
                x=(x * known[:, :, None]).transpose(0, 1),
                step_mask=step_mask.t(),
                day_index=index.flatten(),
                neighbours=neighbours,
                market=None if self._market is None else self._market.index_select(0, numbers),
                ranks=self._ranks_of(today),
                days=days,
            ),
            sample=sample,
            labels=labels,
            base=base,
            day=day.flatten(),
            stock=stock[:, None].expand(-1, days).flatten(),
            day_index=index.flatten(),
            n_days=len(distinct),
        )

    def _ranks_of(self, rows: Tensor) -> Tensor:
        """Ranks from 0 to 1 of rows; those of days without samples are not known, and never used."""
        known = (rows - self._first_ranked * self.n_stocks).clamp(0, max(len(self._ranks) - 1, 0))
        return self._ranks.index_select(0, known).float() / TOP_RANK

    def _neighbours(self, blocks: Sequence[Block], stock: Tensor, sample: Tensor) -> Neighbours:
        """Each place's neighbours as indices of places of the same block and day.

        Args:
            stock: `[series]`.
            sample: `[series, days]`.
        """
        series, days = sample.shape
        if self.graphs is None or self._links is None:
            return Neighbours.none(series * days, stock.device)
        indices, weights = self._links
        snapshots = self.graphs.snapshot_index[[block.days.start for block in blocks]]
        snapshots = snapshots.astype(np.int64) % (len(indices) // self.n_stocks)
        sizes = [len(block.stocks) for block in blocks]
        per_series = np.repeat(snapshots, sizes), np.repeat(np.arange(len(blocks)), sizes)
        snapshot, own_block = (_to_device(part, self.device) for part in per_series)
        rows = snapshot * self.n_stocks + stock
        # Series by block and stock, -1 where absent; the last column of a block is the padding.
        first = own_block * (self.n_stocks + 1)
        position = stock.new_full((len(blocks) * (self.n_stocks + 1),), -1)
        position.index_copy_(0, first + stock, torch.arange(series, device=stock.device))
        index = position.take(first[:, None] + indices.index_select(0, rows))
        present = (index >= 0)[:, None, :]
        index = index.clamp(min=0)
        # From series to places: the same day of the neighbour's series.
        day = torch.arange(days, device=stock.device)
        places = index[:, None, :] * days + day[:, None]
        present = present & sample.flatten().take(places) & sample[:, :, None]
        weight = weights.index_select(0, rows)[:, None, :] * present
        return Neighbours(places.flatten(0, 1), weight.flatten(0, 1), present.flatten(0, 1))


def _to_device(numbers: np.ndarray, device: torch.device) -> Tensor:
    """Copy to a device; to a GPU from pinned memory, so that the host does not wait."""
    tensor = torch.from_numpy(numbers)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
