"""A normalised market of random numbers with graphs, for the speed benchmarks."""

import numpy as np

from gogooku3.data.panel import Panel
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.schema import HORIZONS
from gogooku3.training.batches import PanelBatches


def random_panel(stocks: int, days: int, features: int) -> Panel:
    """A panel in which every stock trades every day."""
    rng = np.random.default_rng(0)
    return Panel(
        dates=np.busday_offset(np.datetime64("2020-01-01"), np.arange(days), roll="forward"),
        codes=tuple(f"{stock:04}" for stock in range(stocks)),
        features=tuple(f"f{number}" for number in range(features)),
        values=rng.standard_normal((days, stocks, features), dtype=np.float32),
        mask=np.ones((days, stocks), dtype=bool),
        targets=rng.standard_normal((days, stocks, len(HORIZONS)), dtype=np.float32),
        horizons=HORIZONS,
    )


def random_graphs(panel: Panel) -> GraphSchedule:
    """Monthly graphs from the correlations of the first feature."""
    builder = FinancialGraphBuilder(correlation_window=20)
    return GraphSchedule.build(panel.dates, panel.codes, panel.values[:, :, 0], builder)


def random_batches(panel: Panel, steps: int, market_dim: int | None = None) -> PanelBatches:
    """Batches of the panel's windows, with monthly graphs and a random market state."""
    market = None
    if market_dim is not None:
        market = np.random.default_rng(1).standard_normal((panel.n_days, market_dim), dtype=np.float32)
    return PanelBatches(panel, panel.targets, steps, random_graphs(panel), market=market)
