"""Explanation tables of a trained network: features, attention, neighbours, edges and embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.nn import functional

from gogooku3.data.panel import Panel
from gogooku3.errors import DataError
from gogooku3.files.atomic import atomic_path
from gogooku3.models.atft_gat_fan import ATFTGATFANModel, ModelOutput
from gogooku3.models.graph_attention import Neighbours
from gogooku3.schema import DATE, MIN_STOCKS
from gogooku3.training.batches import Batch, PanelBatches

MAX_DAYS = 20
"""Most days explained."""
MAX_SAMPLES = 5_000
"""Most samples explained, unless a single day has more; enough for a mean."""
ITSELF = "itself"
_BANDS = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Lower ends of the bands of |correlation| in the table of neighbours."""


@dataclass(frozen=True)
class Explanations:
    """Tables over the explained days; edges and embeddings are of the last day."""

    features: pl.DataFrame
    """`feature, horizon, importance`: mean absolute contribution of a feature to the predictions of a
    horizon, after subtracting the day's mean contribution, as a share of the horizon's sum; largest first."""
    attention: pl.DataFrame
    """`layer, head, lag, attention`: mean over samples; lag 0 is the current day."""
    neighbours: pl.DataFrame
    """`heard, links, attention, even`: mean attention per link over heads, by band of |correlation|, and the
    attention per link if it were uniform over the stock and its neighbours."""
    edges: pl.DataFrame
    """`date, receiver, source, correlation, attention`: mean over heads; largest first."""
    embeddings: pl.DataFrame
    """`date, code, x, y, sector, prediction`: the graph embedding's two principal components, and the mean
    prediction over horizons; sector null if unknown."""

    def write(self, folder: Path) -> None:
        """Write one `<name>.parquet` per table, atomically."""
        for name, table in vars(self).items():
            with atomic_path(folder / f"{name}.parquet") as temporary:
                table.write_parquet(temporary, compression="zstd")


def explain_days(
    model: ATFTGATFANModel,
    batches: PanelBatches,
    panel: Panel,
    days: range,
    sectors: Mapping[str, str] | None = None,
    max_days: int = MAX_DAYS,
    max_samples: int = MAX_SAMPLES,
) -> Explanations:
    """Explain the predictions of some days; of many days, an evenly spread selection.

    Args:
        model: trained; its device, mode and gradients are unchanged.
        batches: gathers the samples of `panel`, with the graphs and market states used for prediction.
        panel: names days, stocks and features.
        days: days of the panel, usually the test days; each uses only its own past.
        sectors: sector by code, for the table of embeddings.
        max_days: most days explained.
        max_samples: most samples explained; at least one day is.

    Raises:
        DataError: none of the days has a sample.
    """
    served = [day for day in days if batches.samples_by_day[day]]
    if not served:
        raise DataError(f"no day from {days.start} to {days.stop - 1} has a sample to explain")
    # A day with a handful of stocks says little; explain such days only if there are no others.
    served = [day for day in served if batches.samples_by_day[day] >= MIN_STOCKS] or served
    affordable = int(max_samples / batches.samples_by_day[served].mean())
    chosen = _evenly_spread(served, max(1, min(max_days, affordable)))
    home = next(model.parameters()).device
    contributions: list[Tensor] = []
    attention: list[Tensor] = []
    links: list[np.ndarray] = []
    try:
        for day in chosen:
            batch = batches.gather([batches.block(range(day, day + 1))])
            model.to(batch.labels.device)
            output = model.explain(*batch.inputs[:-1])
            contributions.append(_relative_size(output.contributions))
            attention.append(output.temporal_attention.mean(dim=0, dtype=torch.float64).cpu())
            heard = None if model.graph is None else batch.inputs.neighbours
            neighbours = heard or Neighbours.none(len(batch.day), batch.labels.device)
            links.append(_links(output, neighbours))
    finally:
        model.to(home)
    weights = torch.tensor(batches.samples_by_day[chosen] / batches.samples_by_day[chosen].sum())
    return Explanations(
        features=_features(_weighted(contributions, weights), panel.features, model.prediction_horizons),
        attention=_attention(_weighted(attention, weights)),
        neighbours=_neighbours(np.concatenate(links)),
        edges=_edges(batch, neighbours, output, panel),
        embeddings=_embeddings(batch, output, panel, sectors or {}),
    )


def _evenly_spread(days: list[int], most: int) -> list[int]:
    """At most `most` of the days, evenly spread, including the last."""
    if len(days) <= most:
        return days
    indices = np.linspace(0, len(days) - 1, most).round().astype(int) if most > 1 else [len(days) - 1]
    return [days[index] for index in indices]


def _relative_size(contributions: Tensor) -> Tensor:
    """Mean absolute contribution `[horizons, features]`, after subtracting the mean over the day's stocks.

    Predictions are compared within a day, so an equal shift of all stocks (a calendar feature) ranks nothing.
    """
    relative = contributions.double() - contributions.mean(dim=0, dtype=torch.float64)
    return relative.abs().mean(dim=0).cpu()


def _weighted(by_day: list[Tensor], weights: Tensor) -> np.ndarray:
    mean: np.ndarray = torch.tensordot(weights, torch.stack(by_day), dims=1).numpy()
    return mean


def _features(size: np.ndarray, features: tuple[str, ...], horizons: tuple[int, ...]) -> pl.DataFrame:
    """Absolute contributions `[horizons, features]` as shares of each horizon."""
    total = size.sum(axis=1, keepdims=True)
    shares = np.divide(size, total, out=np.zeros_like(size), where=total > 0)
    return pl.DataFrame(
        {
            "feature": list(features) * len(horizons),
            "horizon": pl.Series(np.repeat(horizons, len(features)), dtype=pl.Int32),
            "importance": shares.ravel(),
        }
    ).sort("horizon", "importance", descending=[False, True], maintain_order=True)


def _attention(weights: np.ndarray) -> pl.DataFrame:
    """Mean attention `[layers, heads, steps]` as rows, the current day first."""
    layer, head, lag = (axis.ravel() for axis in np.indices(weights.shape))
    return pl.DataFrame(
        {
            "layer": pl.Series(layer, dtype=pl.Int32),
            "head": pl.Series(head, dtype=pl.Int32),
            "lag": pl.Series(lag, dtype=pl.Int32),
            "attention": weights[:, :, ::-1].ravel(),
        }
    )


def _links(output: ModelOutput, neighbours: Neighbours) -> np.ndarray:
    """Links of a day `[links, 3]`: |correlation| (NaN: the stock itself), attention, uniform attention."""
    attention = output.graph_attention.mean(dim=1)
    even = 1.0 / (1 + neighbours.valid.sum(dim=1).to(attention))
    strength = torch.cat([torch.full_like(attention[:, :1], torch.nan), neighbours.weight.abs()], dim=1)
    present = functional.pad(neighbours.valid, (1, 0), value=True)
    links = torch.stack([strength, attention, even[:, None].expand_as(attention)], dim=2)[present]
    return links.double().cpu().numpy()


def _neighbours(links: np.ndarray) -> pl.DataFrame:
    """Mean attention and uniform attention per link: the stock itself, then neighbours by |correlation|."""
    strength = links[:, 0]
    itself = np.isnan(strength)
    band = np.searchsorted(_BANDS, strength, side="right") - 1
    groups = {ITSELF: itself} | {
        f"{low:.1f} to {high:.1f}": ~itself & (band == number)
        for number, (low, high) in enumerate(pairwise((*_BANDS, 1.0)))
    }
    rows = [
        {
            "heard": name,
            "links": int(member.sum()),
            "attention": links[member, 1].mean(),
            "even": links[member, 2].mean(),
        }
        for name, member in groups.items()
        if member.any()
    ]
    schema = {"heard": pl.String, "links": pl.Int64, "attention": pl.Float64, "even": pl.Float64}
    return pl.DataFrame(rows, schema=schema)


def _edges(batch: Batch, neighbours: Neighbours, output: ModelOutput, panel: Panel) -> pl.DataFrame:
    """Edges on the day of a batch."""
    valid = neighbours.valid.cpu().numpy()
    attention = output.graph_attention.mean(dim=1)[:, 1:].cpu().numpy()
    receiver, slot = np.nonzero(valid)
    codes = np.array(panel.codes)[batch.stock.cpu().numpy()]
    source = neighbours.index.cpu().numpy()[receiver, slot]
    return _with_date(
        panel,
        batch,
        {
            "receiver": codes[receiver],
            "source": codes[source],
            "correlation": neighbours.weight.cpu().numpy()[receiver, slot].astype(np.float64),
            "attention": attention[receiver, slot].astype(np.float64),
        },
    ).sort("attention", descending=True, maintain_order=True)


def _embeddings(batch: Batch, output: ModelOutput, panel: Panel, sectors: Mapping[str, str]) -> pl.DataFrame:
    components = principal_components(output.graph_embeddings.double().cpu().numpy())
    codes = [panel.codes[stock] for stock in batch.stock.tolist()]
    return _with_date(
        panel,
        batch,
        {
            "code": codes,
            "x": components[:, 0],
            "y": components[:, 1],
            "sector": pl.Series([sectors.get(code) for code in codes], dtype=pl.String),
            "prediction": output.predictions.mean(dim=1).double().cpu().numpy(),
        },
    )


def _with_date(panel: Panel, batch: Batch, columns: dict[str, Any]) -> pl.DataFrame:
    day = panel.dates[int(batch.day[0])].astype("datetime64[D]").item()
    return pl.DataFrame(columns).select(pl.lit(day, pl.Date).alias(DATE), pl.all())


def principal_components(points: np.ndarray) -> np.ndarray:
    """Two principal components `[points, 2]` by SVD, each signed so that its largest loading is positive.

    Points of lower rank get zeros for the missing components.

    >>> principal_components(np.array([[0.0, 0.0], [3.0, 4.0]])).round(6).tolist()
    [[-2.5, 0.0], [2.5, 0.0]]
    """
    centred = points - points.mean(axis=0)
    left, scale, right = np.linalg.svd(centred, full_matrices=False)
    kept = scale[:2] > 1e-12 * max(scale[0], 1e-300)
    largest = np.take_along_axis(right, np.abs(right).argmax(axis=1)[:, None], axis=1)[:2, 0]
    components = np.zeros((len(points), 2))
    components[:, : len(kept)] = left[:, :2] * scale[:2] * np.where(kept, np.sign(largest), 0.0)
    return components
