"""Training steps mix months, keep linked stocks together, and serve every sample once per epoch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import make_panel

from gogooku3.schema import MONTH_DAYS
from gogooku3.training.batches import Block, PanelBatches, StackedGraphs
from gogooku3.training.block_sampler import BlockSampler, MonthSampler

STEPS = 5


def pairs(days: int, stocks: int, first: int = 0) -> StackedGraphs:
    """Each stock of the first half has one neighbour, in the second half, and the reverse."""
    half = stocks // 2
    neighbours = np.roll(np.arange(2 * half), half)[:, None]
    own = np.full((1, stocks, 1), stocks - 1)
    own[0, : 2 * half] = neighbours
    valid = (np.arange(stocks) < 2 * half)[None, :, None]
    return StackedGraphs(np.where(np.arange(days) < first, -1, 0), own, valid.astype(np.float32), valid)


def batches(
    days: int, stocks: int, present: float = 1.0, graphs: StackedGraphs | None = None
) -> PanelBatches:
    rng = np.random.default_rng(0)
    mask = rng.random((days, stocks)) < present
    panel = make_panel(np.zeros((days, stocks, 1)), np.zeros((days, stocks, 2)), mask, first_day="2024-01-22")
    return PanelBatches(panel, panel.targets, STEPS, graphs)


def served(steps: list[list[Block]], samples: np.ndarray) -> list[tuple[int, int]]:
    """Day and stock of every sample."""
    return [
        (day, stock)
        for step in steps
        for block in step
        for day in block.days
        for stock in block.stocks.tolist()
        if samples[day, stock]
    ]


def as_lists(steps: list[list[Block]]) -> list[list[tuple[int, int, list[int]]]]:
    return [[(block.days.start, block.days.stop, block.stocks.tolist()) for block in step] for step in steps]


@settings(max_examples=30, deadline=None)
@given(
    days=st.integers(STEPS, 120),
    stocks=st.integers(1, 30),
    present=st.floats(0.05, 1),
    batch_size=st.integers(1, 3000),
    linked_from=st.none() | st.integers(0, 60),
    epoch=st.integers(0, 3),
)
def test_every_sample_is_served_once_per_epoch_in_the_same_number_of_steps(
    days: int, stocks: int, present: float, batch_size: int, linked_from: int | None, epoch: int
) -> None:
    graphs = None if linked_from is None else pairs(days, stocks, linked_from)
    gathers = batches(days, stocks, present, graphs)
    sampler = BlockSampler(gathers, range(2, days - 1), batch_size, seed=1)
    count = len(sampler)
    sampler.set_epoch(epoch)
    steps = sampler.steps()
    assert len(steps) == len(sampler) == count, "the loop and the learning-rate schedule rely on it"
    expected = [(int(d), int(s)) for d, s in np.argwhere(gathers.samples) if 2 <= d < days - 1]
    assert sorted(served(steps, gathers.samples)) == expected
    months = gathers.months(range(2, days - 1))
    for step in steps:
        assert all(block.days in months and (np.diff(block.stocks) > 0).all() for block in step)
        # Each block of the market here has up to 31 days, a trading month at most 23.
        assert sum(len(block.stocks) for block in step) <= max(1, batch_size // MONTH_DAYS)


def test_the_steps_follow_from_seed_and_epoch_only() -> None:
    gathers = batches(90, 24)

    def steps(seed: int, epoch: int) -> list[list[tuple[int, int, list[int]]]]:
        sampler = BlockSampler(gathers, range(90), 512, seed)
        sampler.set_epoch(epoch)
        torch.rand(3), np.random.random()
        return as_lists(sampler.steps())

    assert steps(1, 0) == steps(1, 0)
    assert steps(1, 0) != steps(1, 1)
    assert steps(1, 0) != steps(2, 0)


@pytest.mark.parametrize(
    ("batch_size", "shape"), [(1, (1, 1)), (2208, (8, 12)), (4416, (17, 11)), (230, (6, 1))]
)
def test_a_step_mixes_many_months_if_the_batch_size_allows(batch_size: int, shape: tuple[int, int]) -> None:
    sampler = BlockSampler(batches(300, 24), range(300), batch_size, seed=0)
    assert (sampler.stocks_per_block, sampler.blocks_per_step) == shape
    if shape == (8, 12):
        months = [{block.days.start for block in step} for step in sampler.steps()[:-1]]
        assert min(len(own) for own in months) >= 5


def test_linked_stocks_meet_in_a_block() -> None:
    stocks = 60
    linked = BlockSampler(
        batches(70, stocks, graphs=pairs(70, stocks, first=10)), range(70), 6 * MONTH_DAYS, 0
    )
    for step in linked.steps():
        for block in step:
            together = sum(stock + stocks // 2 in block.stocks for stock in block.stocks)
            # January has no graph, so pairs meet there by chance only.
            assert together == 3 if block.days.start >= 10 else together < 3


def test_a_resumed_epoch_skips_the_steps_already_seen() -> None:
    sampler = BlockSampler(batches(90, 24), range(90), 256, seed=0)
    sampler.skip(epoch=1, batches=2)
    for epoch, skipped in ((0, 0), (1, 2), (2, 0)):
        sampler.set_epoch(epoch)
        assert as_lists(list(sampler)) == as_lists(sampler.steps()[skipped:])


def test_whole_months_are_served_in_the_order_of_the_calendar() -> None:
    gathers = batches(60, 6, present=0.6)
    sampler = MonthSampler(gathers, range(20, 50))
    found = list(sampler)
    assert [(block.days.start, block.days.stop) for (block,) in found] == [(20, 39), (39, 50)]
    assert len(sampler) == 2 and len(MonthSampler(gathers, range(STEPS - 1))) == 0
    expected = [(int(d), int(s)) for d, s in np.argwhere(gathers.samples) if 20 <= d < 50]
    assert sorted(served(found, gathers.samples)) == expected
