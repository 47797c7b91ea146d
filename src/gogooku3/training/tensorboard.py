"""Figures for TensorBoard: daily scores of a training, what the trained network looks at. Decides nothing.

The report draws the same tables larger, for a browser; these are to be looked at while folds still train.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from gogooku3.evaluation.daily_ic import daily_ic
from gogooku3.training.explanations import Explanations

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOP_FEATURES = 20
"""Features drawn, those of the largest mean importance."""
TOP_EDGES = 200
"""Links drawn, those that get the most attention."""


def rank_ic_figure(
    predictions: np.ndarray, targets: np.ndarray, dates: np.ndarray, horizons: tuple[int, ...]
) -> "Figure":
    """Daily rank IC added up over the validation days, a line a horizon.

    Args:
        predictions, targets: `[samples, horizons]`; a NaN target is unknown.
        dates: datetime64[D] `[samples]`.
    """
    figure, axes = _canvas("validation days", "sum of daily rank ICs")
    for position, horizon in enumerate(horizons):
        table = pl.DataFrame(
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
    """Figures by name: `importance`, `attention`, `graph` and `embeddings`; an empty table has none."""
    drawn = {"importance": _importance(explained.features)}
    if len(explained.attention):
        drawn["attention"] = _attention(explained.attention)
    if len(explained.edges) and len(explained.embeddings):
        drawn["graph"] = _graph(explained.edges, explained.embeddings)
    if len(explained.embeddings):
        drawn["embeddings"] = _embeddings(explained.embeddings)
    return drawn


def write_explanation_figures(folder: Path, explained: Explanations, epoch: int) -> None:
    """Add a trained network's figures, as `explanations/{name}`, to the TensorBoard events in a folder.

    Args:
        folder: where the training's own events lie; it is created.
        epoch: whose weights are explained, the place on TensorBoard's slider.
    """
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, figure in explanation_figures(explained).items():
            writer.add_figure(f"explanations/{name}", figure, epoch)


def _canvas(x: str, y: str, height: float = 4.0) -> "tuple[Figure, Axes]":
    # Not pyplot, which keeps every figure and asks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _importance(features: pl.DataFrame) -> "Figure":
    mean = features.group_by("feature").agg(pl.col("importance").mean()).sort("importance", "feature")
    top = mean.tail(TOP_FEATURES)
    figure, axes = _canvas("share, mean over horizons", "", height=1.0 + 0.22 * len(top))
    axes.barh(top["feature"].to_list(), top["importance"].to_list())
    return figure


def _attention(attention: pl.DataFrame) -> "Figure":
    figure, axes = _canvas("trading days back", "attention, mean over heads")
    mean = attention.group_by("layer", "lag").agg(pl.col("attention").mean()).sort("layer", "lag")
    for (layer,), own in mean.group_by("layer", maintain_order=True):
        axes.plot(own["lag"].to_numpy(), own["attention"].to_numpy(), label=f"layer {layer}")
    axes.axhline(1 / attention["lag"].n_unique(), color="grey", linestyle=":", label="every day alike")
    axes.legend(frameon=False)
    return figure


def _graph(edges: pl.DataFrame, embeddings: pl.DataFrame) -> "Figure":
    place = {code: (x, y) for code, x, y in embeddings.select("code", "x", "y").iter_rows()}
    figure, axes = _canvas("first principal component", "second", height=6.0)
    strongest = edges.filter(pl.col("receiver") != pl.col("source")).sort("attention").tail(TOP_EDGES)
    for receiver, source, correlation in strongest.select("receiver", "source", "correlation").iter_rows():
        (x0, y0), (x1, y1) = place[receiver], place[source]
        colour = "tab:orange" if correlation < 0 else "tab:blue"
        axes.plot([x0, x1], [y0, y1], color=colour, alpha=0.3, linewidth=0.8)
    axes.scatter(embeddings["x"].to_numpy(), embeddings["y"].to_numpy(), s=6, color="black")
    return figure


def _embeddings(embeddings: pl.DataFrame) -> "Figure":
    figure, axes = _canvas("first principal component", "second", height=5.0)
    values = embeddings["prediction"].to_numpy()
    points = axes.scatter(embeddings["x"].to_numpy(), embeddings["y"].to_numpy(), c=values, s=12, cmap="RdBu")
    figure.colorbar(points, label="prediction, mean over horizons")
    return figure
