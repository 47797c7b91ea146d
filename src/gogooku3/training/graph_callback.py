"""Callback that keeps the monthly graphs current during training and logs their size and turnover."""

import logging

import lightning.pytorch as pl
import numpy as np
import polars

from gogooku3.data.panel import Panel
from gogooku3.errors import ConfigError, DataError
from gogooku3.graph.builder import FinancialGraphBuilder
from gogooku3.graph.schedule import GraphSchedule
from gogooku3.training.module import ATFTModule

logger = logging.getLogger(__name__)


class DynamicGraphCallback(pl.Callback):
    """Serve one graph snapshot per month; rebuild them when the builder or the returns change.

    A day's snapshot uses returns before its month only. The model's standing graph becomes the snapshot of
    the last training day. Every `every_n_epochs` the callback checks `graph_builder` and `data`, and rebuilds
    the snapshots if either was replaced.

    Logs `graph/edges`, `graph/turnover`, `graph/negative_share`, `graph/mean_abs_correlation` and
    `graph/isolated`, means over the training months with edges (`GraphSchedule.means`), and `graph/rebuilt`,
    the share of edges changed since the previous schedule.

    Args:
        graph_builder: rules for edges.
        data: daily returns, as a data set frame with `ret_1d` (or the builder's `return_column`), or
            float `[days, stocks]` on the panel's calendar and stocks.
        every_n_epochs: epochs between two checks.
        schedule: initial snapshots, built by `graph_builder` from `data` for the panel; None builds them.

    Attributes:
        schedule: the snapshots in use.

    Raises:
        ConfigError: `schedule` was built by other rules than `graph_builder`.
        DataError: at the start of training, if `schedule` does not match the panel's days and stocks.
    """

    def __init__(
        self,
        graph_builder: FinancialGraphBuilder,
        data: polars.DataFrame | np.ndarray,
        every_n_epochs: int = 10,
        schedule: GraphSchedule | None = None,
    ) -> None:
        if schedule is not None and schedule.builder != graph_builder:
            raise ConfigError(
                f"the schedule was built by {schedule.builder}, not by {graph_builder}; pass the builder "
                "that built it, or no schedule"
            )
        self.graph_builder = graph_builder
        self.data = data
        self.every_n_epochs = every_n_epochs
        self.schedule = schedule
        self._given = schedule
        self._built_from = data
        self._metrics: dict[str, float] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule)
        panel = pl_module.panel
        if self.schedule is None or self._is_outdated():
            self.schedule = self._build(panel)
        elif not _matches(panel, self.schedule):
            if self.schedule is self._given:
                raise DataError(
                    f"the schedule is for {self.schedule.graphs[0].n_nodes} stocks on "
                    f"{len(self.schedule.snapshot_index)} days, not for the panel's {panel.n_stocks} stocks "
                    f"on {panel.n_days} days; build it from the panel's dates, codes and returns"
                )
            self.schedule = self._build(panel)
        self._serve(pl_module, self.schedule, changed=0.0)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch and trainer.current_epoch % self.every_n_epochs == 0:
            self._refresh(trainer.current_epoch, pl_module)
        pl_module.log_dict(self._metrics, on_step=False, on_epoch=True, batch_size=1)

    def _refresh(self, epoch: int, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule) and self.schedule is not None
        if not self._is_outdated():
            logger.info("epoch %d: the graphs stay; rules and returns are unchanged", epoch)
            self._metrics["graph/rebuilt"] = 0.0
            return
        previous, self.schedule = self.schedule, self._build(pl_module.panel)
        changed = self.schedule.edge_turnover(previous)
        logger.info("epoch %d: %s; %.0f%% changed", epoch, self.schedule, 100 * changed)
        self._serve(pl_module, self.schedule, changed)

    def _is_outdated(self) -> bool:
        assert self.schedule is not None
        return self.schedule.builder != self.graph_builder or self._built_from is not self.data

    def _build(self, panel: Panel) -> GraphSchedule:
        returns = self.data
        if isinstance(returns, polars.DataFrame):
            returns = returns_on(panel, returns, self.graph_builder.return_column or "ret_1d")
        self._built_from = self.data
        return GraphSchedule.build(panel.dates, panel.codes, returns, self.graph_builder)

    def _serve(self, module: ATFTModule, schedule: GraphSchedule, changed: float) -> None:
        module.batches.set_graphs(schedule)
        last_day = module.train_days.stop - 1
        module.model.update_graph(schedule.graphs[schedule.snapshot_index[last_day]])
        means = schedule.means(module.train_days)
        self._metrics = {f"graph/{name}": mean for name, mean in means.items() if name != "snapshots"}
        self._metrics["graph/rebuilt"] = changed


def _matches(panel: Panel, schedule: GraphSchedule) -> bool:
    """Return True if the schedule covers the panel's stocks and months."""
    months = schedule.months[schedule.snapshot_index]
    same_days = np.array_equal(months, panel.dates.astype("datetime64[M]"))
    return same_days and schedule.graphs[0].codes == tuple(panel.codes)


def returns_on(panel: Panel, frame: polars.DataFrame, column: str) -> np.ndarray:
    """Daily returns of a frame aligned to a panel's days and stocks, `[days, stocks]`, NaN where missing.

    Raises:
        DataError: the frame lacks the column, or none of its rows is in the panel.
    """
    own = Panel.from_frame(frame, [column], horizons=())
    days = np.isin(panel.dates, own.dates)
    stocks = np.isin(np.array(panel.codes), np.array(own.codes))
    if not days.any() or not stocks.any():
        raise DataError("the returns for the graph share no day or no stock with the panel")
    returns = np.full((panel.n_days, panel.n_stocks), np.nan, dtype=np.float32)
    own_days = np.searchsorted(own.dates, panel.dates[days])
    own_stocks = np.searchsorted(np.array(own.codes), np.array(panel.codes)[stocks])
    returns[np.ix_(days, stocks)] = own.values[np.ix_(own_days, own_stocks)][:, :, 0]
    return returns
