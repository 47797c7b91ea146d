"""Batch samplers: training steps that mix many months, and whole months in calendar order for scoring."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from gogooku3.schema import MONTH_DAYS
from gogooku3.training.batches import Block, PanelBatches

MONTHS_PER_STEP = 11
"""Blocks of a training step, if the batch size allows: a day's labels share its factor returns, so a step
needs many days."""
LEAST_STOCKS = 6
"""Stocks of a block, if the batch size allows: linked stocks must meet for the graph attention to learn."""


class BlockSampler(Sampler[list[Block]]):
    """Shuffled training steps of several blocks, each a month and a few linked stocks.

    Within an epoch every sample is served once. The order and the cut of the market into blocks derive from
    (seed, epoch) only, and every epoch has the same number of steps, as the learning-rate schedule and
    Lightning's loop require. Links between two blocks are left out of the step (Chiang et al., 2019,
    "Cluster-GCN", sec. 3.2); every epoch cuts other ones.

    Args:
        batches: gathers the blocks; its graphs link the stocks.
        days: days to serve; days without samples are skipped.
        batch_size: most samples per step, at least one stock's month.
        seed: of the order.
    """

    def __init__(self, batches: PanelBatches, days: range, batch_size: int, seed: int) -> None:
        self.batches = batches
        self.days = days
        self.seed = seed
        self.epoch = 0
        self._skipped = (0, 0)
        self._blocks = [batches.block(month) for month in batches.months(days)]
        series = max(1, batch_size // MONTH_DAYS)
        self.stocks_per_block = min(series, max(LEAST_STOCKS, series // MONTHS_PER_STEP))
        self.blocks_per_step = max(1, series // self.stocks_per_block)

    def set_epoch(self, epoch: int) -> None:
        """Select the order of an epoch; called by Lightning's loop."""
        self.epoch = epoch

    def steps(self) -> list[list[Block]]:
        """Steps of the current epoch."""
        generator = np.random.default_rng((self.seed, self.epoch))
        size = self.stocks_per_block
        blocks = []
        for days, stocks in self._blocks:
            order = self._linked_order(days, stocks, generator)
            # Ascending within a block, so that rows are read in order.
            blocks += [
                Block(days, np.sort(order[start : start + size])) for start in range(0, len(order), size)
            ]
        shuffled = [blocks[position] for position in generator.permutation(len(blocks))]
        size = self.blocks_per_step
        return [shuffled[start : start + size] for start in range(0, len(shuffled), size)]

    def skip(self, epoch: int, batches: int) -> None:
        """Skip the first steps of one epoch, which a resumed training has already seen."""
        self._skipped = (epoch, batches)

    def __iter__(self) -> Iterator[list[Block]]:
        epoch, skipped = self._skipped
        return iter(self.steps()[skipped if self.epoch == epoch else 0 :])

    def __len__(self) -> int:
        blocks = sum(-(-len(stocks) // self.stocks_per_block) for _, stocks in self._blocks)
        return -(-blocks // self.blocks_per_step)

    def _linked_order(self, days: range, stocks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The stocks in an order in which linked ones are close: breadth first from random stocks."""
        order = generator.permutation(stocks)
        graphs = self.batches.graphs
        snapshot = -1 if graphs is None else int(graphs.snapshot_index[days.start])
        if graphs is None or snapshot < 0:
            return order
        waiting = np.zeros(self.batches.n_stocks, dtype=bool)
        waiting[stocks] = True
        valid, neighbours = graphs.valid[snapshot], graphs.neighbours[snapshot]
        ordered: list[int] = []
        for first in order.tolist():
            reached = [first] if waiting[first] else []
            waiting[first] = False
            while reached:
                ordered += reached
                around = neighbours[reached][valid[reached]]
                # In the order of appearance: the strongest links of the first stocks first.
                around = around[waiting[around]]
                _, position = np.unique(around, return_index=True)
                reached = around[np.sort(position)].tolist()
                waiting[reached] = False
        return np.array(ordered, dtype=np.int64)


class MonthSampler(Sampler[list[Block]]):
    """Whole months in the order of the calendar, every stock with a sample, for validation and prediction.

    Args:
        batches: gathers the blocks.
        days: days to serve; days without samples are skipped.
    """

    def __init__(self, batches: PanelBatches, days: range) -> None:
        self._blocks = [batches.block(month) for month in batches.months(days)]

    def __iter__(self) -> Iterator[list[Block]]:
        return iter([block] for block in self._blocks)

    def __len__(self) -> int:
        return len(self._blocks)
