"""Monthly graphs: one snapshot per calendar month, from days before that month only."""

import datetime as dt
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gogooku3.errors import DataError
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.correlation import one_blas_thread
from gogooku3.graph.stock_graph import StockGraph

_WORKERS = 2


@dataclass(frozen=True, eq=False)
class GraphSchedule:
    """Monthly snapshots of the graph, each known before the first trading day that uses it.

    Days in month m use the snapshot built from returns up to the last trading day before m. So no
    day sees its own return, and data appended later changes no bit of an earlier snapshot.
    """

    months: NDArray[np.datetime64]
    """Calendar months with a trading day, datetime64[M] `[M]`, ascending."""
    graphs: list[StockGraph]
    """One snapshot per month, over the same codes in the same order, `[M]`."""
    snapshot_index: NDArray[np.int64]
    """Index in `graphs` of each day's snapshot, `[D]`."""
    builder: FinancialGraphBuilder
    """Rules for the edges."""

    @classmethod
    def build(
        cls,
        dates: NDArray[np.datetime64],
        codes: Sequence[str],
        returns: NDArray[np.floating],
        builder: FinancialGraphBuilder,
        days: range | None = None,
    ) -> "GraphSchedule":
        """Build a snapshot for each calendar month in `dates`, or of some of its days.

        The first months, with too few days before them for a correlation, get graphs without
        edges; the very first has `as_of` None.

        Args:
            dates: trading days, datetime64[D] `[D]`, ascending.
            codes: stocks, `[S]`.
            returns: one-day returns known at each day's close, `[D, S]`; NaN where missing.
            builder: window and rules for edges.
            days: indices in `dates` of the days that need a snapshot; the others only provide
                returns, and `snapshot_index` starts at the first of these. None: all.

        Raises:
            DataError: shapes differ, or the dates don't ascend.
        """
        if returns.shape != (len(dates), len(codes)):
            expected = f"[{len(dates)} days, {len(codes)} stocks]"
            raise DataError(f"returns are {list(returns.shape)}; expected {expected}")
        if len(dates) == 0 or (np.diff(dates) <= np.timedelta64(0, "D")).any():
            raise DataError("the schedule needs trading days in ascending order, each once; sort the dates")
        served = dates if days is None else dates[days.start : days.stop]
        months, snapshot_index = np.unique(served.astype("datetime64[M]"), return_inverse=True)
        first_days = np.searchsorted(dates, months.astype("datetime64[D]"))

        def graph_before(first: int) -> StockGraph:
            return builder.edges_from_returns(
                returns[max(0, first - builder.correlation_window) : first],
                codes,
                as_of=dates[first - 1].astype("datetime64[D]").item() if first else None,
            )

        with one_blas_thread(), ThreadPoolExecutor(_WORKERS) as pool:
            graphs = list(pool.map(graph_before, first_days.tolist()))
        return cls(
            months=months, graphs=graphs, snapshot_index=snapshot_index.astype(np.int64), builder=builder
        )

    @cached_property
    def neighbours(self) -> NDArray[np.int64]:
        """Sources of every snapshot, int64 `[M, S, K]`."""
        return np.stack([graph.neighbours for graph in self.graphs])

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """Signed correlations of every snapshot, float32 `[M, S, K]`; 0 at padding."""
        return np.stack([graph.weights for graph in self.graphs])

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """True at the edges of every snapshot, False at padding, bool `[M, S, K]`."""
        return np.stack([graph.valid for graph in self.graphs])

    def graph_for(self, date: dt.date | np.datetime64) -> StockGraph:
        """Return the snapshot for a day (any day of a month in the schedule).

        Raises:
            DataError: the schedule has no trading day in that month.
        """
        month = np.asarray(date, dtype="datetime64[D]").astype("datetime64[M]")
        index = int(np.searchsorted(self.months, month))
        if index == len(self.months) or self.months[index] != month:
            raise DataError(
                f"no graph for {date}: the schedule runs from {self.months[0]} to {self.months[-1]}; "
                "build it from data that includes that month"
            )
        return self.graphs[index]

    def edge_turnover(self, before: "GraphSchedule") -> float:
        """Mean share of edges changed since another schedule, over the months in both; 0 without any."""
        earlier = dict(zip(before.months.tolist(), before.graphs, strict=True))
        changed = [
            graph.edge_turnover(earlier[month])
            for month, graph in zip(self.months.tolist(), self.graphs, strict=True)
            if month in earlier
        ]
        return float(np.mean(changed)) if changed else 0.0

    def summary(self) -> pl.DataFrame:
        """Summarise the snapshots, one row per month.

        Returns:
            `month`, `as_of`, `days` (trading days that use it), `n_edges`, `turnover` (share of edges
            changed since the snapshot before, null for the first), `n_stocks_with_edges` (stocks that
            receive an edge), and over the edges `negative_share` and `mean_abs_correlation` (null without).
        """
        n_months = len(self.graphs)
        turnover = [now.edge_turnover(before) for before, now in pairwise(self.graphs)]
        weights = [graph.edge_weight for graph in self.graphs]
        n_stocks = [int(graph.valid.any(axis=1).sum()) for graph in self.graphs]
        negative = [float((w < 0).mean()) if len(w) else None for w in weights]
        strength = [float(np.abs(w).mean()) if len(w) else None for w in weights]
        return pl.DataFrame(
            [
                pl.Series("month", [str(month) for month in self.months], pl.String),
                pl.Series("as_of", [graph.as_of for graph in self.graphs], pl.Date),
                pl.Series("days", np.bincount(self.snapshot_index, minlength=n_months), pl.Int64),
                pl.Series("n_edges", [graph.n_edges for graph in self.graphs], pl.Int64),
                pl.Series("turnover", [None, *turnover], pl.Float64),
                pl.Series("n_stocks_with_edges", n_stocks, pl.Int64),
                pl.Series("negative_share", negative, pl.Float64),
                pl.Series("mean_abs_correlation", strength, pl.Float64),
            ]
        )

    def means(self, days: range | None = None) -> dict[str, float]:
        """Average the summary over the snapshots with edges.

        Args:
            days: indices in the calendar; only their snapshots count. None: all.

        Returns:
            `snapshots` (number with edges), `edges`, `turnover` (from one of them to the next),
            `negative_share`, `mean_abs_correlation`, `isolated` (stocks that receive no edge); all 0 if
            no snapshot has edges.
        """
        served = self.snapshot_index if days is None else self.snapshot_index[days.start : days.stop]
        table = self.summary()[np.unique(served)].filter(pl.col("n_edges") > 0)
        n_stocks = self.graphs[0].n_nodes
        # The first snapshot's turnover is null or, after a month without edges, always 1: not informative.
        averages = {
            "edges": table["n_edges"].mean(),
            "turnover": table["turnover"][1:].mean(),
            "negative_share": table["negative_share"].mean(),
            "mean_abs_correlation": table["mean_abs_correlation"].mean(),
            "isolated": (n_stocks - table["n_stocks_with_edges"]).mean(),
        }
        known = {name: mean if isinstance(mean, float) else 0.0 for name, mean in averages.items()}
        return {"snapshots": table.height, **known}

    def __str__(self) -> str:
        """One-sentence summary."""
        means = self.means()
        return (
            f"{len(self.graphs)} monthly graphs of {self.graphs[0].n_nodes:,} stocks, "
            f"{means['snapshots']} with edges: {means['edges']:,.0f} edges on average, "
            f"{means['negative_share']:.0%} negative, |correlation| {means['mean_abs_correlation']:.2f}, "
            f"{means['isolated']:.1f} stocks without edges, {means['turnover']:.0%} of edges new each month"
        )
