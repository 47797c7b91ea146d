"""TensorBoard: learning rate, weights and daily scores during training; explanation figures after it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import polars
from lightning.pytorch.loggers import TensorBoardLogger

from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.training.callbacks import FinancialMetricsCallback
from gogooku3.training.explanations import Explanations
from gogooku3.training.module import ATFTModule
from gogooku3.training.prediction_collapse import spread_by_day

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOP_FEATURES = 20
"""Features drawn: those with the largest mean importance."""
TOP_EDGES = 200
"""Edges drawn: those with the largest attention."""


class TensorBoardCallback(pl.Callback):
    """Log the learning rate, and to TensorBoard once per epoch the weights and the validation predictions.

    Every logger gets `train/learning_rate`. TensorBoard also gets histograms `weights/{parameter}` and
    `spread/{h}d` (standard deviation of a validation day's predictions, one value per day), and the figure
    `validation/rank_ic` (cumulative daily rank IC). The callback draws no random number and changes no state.

    Args:
        metrics: scores the same validation passes; must come earlier in the list of callbacks.
    """

    def __init__(self, metrics: FinancialMetricsCallback) -> None:
        self._metrics = metrics

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *rest: Any
    ) -> None:
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        pl_module.log("train/learning_rate", rate, on_step=True, on_epoch=False, batch_size=1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, ATFTModule)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                self._write_epoch(logger.experiment, pl_module, trainer.current_epoch)

    def _write_epoch(self, writer: Any, module: ATFTModule, epoch: int) -> None:
        for name, weight in module.model.named_parameters():
            # TensorBoard refuses a histogram without a single finite value.
            if bool(weight.isfinite().any()):
                writer.add_histogram(f"weights/{name}", weight.detach().float().cpu(), epoch)
        assert self._metrics.validated is not None
        predictions, day, stock = self._metrics.validated
        panel = module.panel
        figure = rank_ic_figure(predictions, panel.targets[day, stock], panel.dates[day], panel.horizons)
        writer.add_figure("validation/rank_ic", figure, epoch)
        for position, horizon in enumerate(panel.horizons):
            spread = spread_by_day(predictions[:, position], day)
            if np.isfinite(spread).any():
                writer.add_histogram(f"spread/{horizon}d", spread, epoch)


def rank_ic_figure(
    predictions: np.ndarray, targets: np.ndarray, dates: np.ndarray, horizons: tuple[int, ...]
) -> "Figure":
    """Cumulative daily rank IC over the validation days, one line per horizon.

    Args:
        predictions, targets: `[samples, horizons]`; a NaN target is unknown.
        dates: datetime64[D] `[samples]`.
    """
    figure, axes = _canvas("validation days", "sum of daily rank ICs")
    for position, horizon in enumerate(horizons):
        table = polars.DataFrame(
            {
                "model": "",
                "horizon": horizon,
                "fold": 0,
                "date": dates,
                "prediction": predictions[:, position],
                "target": targets[:, position],
            }
        )
        daily = daily_ic(table).drop_nulls("rank_ic")
        axes.plot(daily["date"].to_numpy(), daily["rank_ic"].cum_sum().to_numpy(), label=f"{horizon}d")
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.legend(frameon=False)
    figure.autofmt_xdate()
    return figure


def explanation_figures(explained: Explanations) -> dict[str, "Figure"]:
    """Figures by name: `importance`, `attention`, `graph` and `embeddings`; empty tables are skipped."""
    figures = {"importance": _importance(explained.features)}
    if len(explained.attention):
        figures["attention"] = _attention(explained.attention)
    if len(explained.edges) and len(explained.embeddings):
        figures["graph"] = _graph(explained.edges, explained.embeddings)
    if len(explained.embeddings):
        figures["embeddings"] = _embeddings(explained.embeddings)
    return figures


def write_explanation_figures(folder: Path, explained: Explanations, epoch: int) -> None:
    """Add a trained network's figures as `explanations/{name}` to the TensorBoard events in a folder.

    Args:
        folder: holds the training's events; created if missing.
        epoch: epoch of the explained weights, the position on TensorBoard's slider.
    """
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, figure in explanation_figures(explained).items():
            writer.add_figure(f"explanations/{name}", figure, epoch)


def _canvas(x: str, y: str, height: float = 4.0) -> "tuple[Figure, Axes]":
    # Not pyplot, which keeps every figure and needs a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _importance(features: polars.DataFrame) -> "Figure":
    mean = features.group_by("feature").agg(polars.col("importance").mean()).sort("importance", "feature")
    top = mean.tail(TOP_FEATURES)
    figure, axes = _canvas("share, mean over horizons", "", height=1.0 + 0.22 * len(top))
    places = range(len(top))
    axes.barh(places, top["importance"].to_list())
    # Two dollar signs in a name are not a formula.
    axes.set_yticks(places, top["feature"].to_list(), parse_math=False)
    return figure


def _attention(attention: polars.DataFrame) -> "Figure":
    figure, axes = _canvas("trading days back", "attention, mean over heads")
    mean = attention.group_by("layer", "lag").agg(polars.col("attention").mean()).sort("layer", "lag")
    for (layer,), own in mean.group_by("layer", maintain_order=True):
        axes.plot(own["lag"].to_numpy(), own["attention"].to_numpy(), label=f"layer {layer}")
    axes.axhline(1 / attention["lag"].n_unique(), color="grey", linestyle=":", label="uniform")
    axes.legend(frameon=False)
    return figure


def _graph(edges: polars.DataFrame, embeddings: polars.DataFrame) -> "Figure":
    position = {code: (x, y) for code, x, y in embeddings.select("code", "x", "y").iter_rows()}
    figure, axes = _canvas("first principal component", "second", height=6.0)
    strongest = edges.filter(polars.col("receiver") != polars.col("source")).sort("attention").tail(TOP_EDGES)
    for receiver, source, correlation in strongest.select("receiver", "source", "correlation").iter_rows():
        (x0, y0), (x1, y1) = position[receiver], position[source]
        colour = "tab:orange" if correlation < 0 else "tab:blue"
        axes.plot([x0, x1], [y0, y1], color=colour, alpha=0.3, linewidth=0.8)
    axes.scatter(embeddings["x"].to_numpy(), embeddings["y"].to_numpy(), s=6, color="black")
    return figure


def _embeddings(embeddings: polars.DataFrame) -> "Figure":
    figure, axes = _canvas("first principal component", "second", height=5.0)
    values = embeddings["prediction"].to_numpy()
    points = axes.scatter(embeddings["x"].to_numpy(), embeddings["y"].to_numpy(), c=values, s=12, cmap="RdBu")
    figure.colorbar(points, label="prediction, mean over horizons")
    return figure
