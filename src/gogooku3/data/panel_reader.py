"""Reads a data set into a panel in blocks of rows, without holding the whole frame in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from gogooku3.data.dataset import ROW, ProductionDatasetV3
from gogooku3.data.later_returns import later_returns, return_source
from gogooku3.data.panel import BLOCK_ROWS, Panel, allocate_panel, write_values
from gogooku3.data.target_leaks import find_target_copies
from gogooku3.schema import DATE


def read_panel(
    loader: ProductionDatasetV3,
    index: pl.DataFrame,
    horizons: Sequence[int],
    reserve: Sequence[str] = (),
    storage: Path | None = None,
    block_rows: int = 2 * BLOCK_ROWS,
) -> Panel:
    """Read the panel of a data set, bit-identical to `Panel.from_frame(loader.load_data(), ...)`.

    Args:
        loader: the data set.
        index: its `load_index()`.
        horizons: targets to take.
        reserve: names of further features to reserve columns for (NaN).
        storage: file for a memory-mapped cube; None keeps it in memory.
        block_rows: rows read at a time; any number gives the same panel. Two row groups are decoded in
            parallel.

    Raises:
        DataError: the file changed or cannot be read, or a feature follows a target.
    """
    features = loader.feature_names
    panel, cell = allocate_panel(index, features, horizons, reserve, storage)
    rows = index[ROW].to_numpy().astype(np.int64)
    day, stock = np.divmod(cell, panel.n_stocks)
    if not (rows[1:] > rows[:-1]).all():
        order = np.argsort(rows)
        cell, rows = cell[order], rows[order]

    def blocks() -> Iterator[tuple[pl.DataFrame, np.ndarray]]:
        for first, block in loader.feature_blocks(block_rows):
            begin, end = np.searchsorted(rows, (first, first + block.height))
            kept = rows[begin:end] - first
            yield block if len(kept) == block.height else block[kept], cell[begin:end]

    write_values(panel, blocks())

    def take(chosen: np.ndarray, names: Sequence[str]) -> pl.DataFrame:
        cells = day[chosen], stock[chosen]
        columns = {
            name: panel.values[(*cells, features.index(name))]
            if name in features
            else index[name].gather(chosen)
            for name in names
        }
        return pl.DataFrame(columns)

    source = return_source([*index.columns, *features])
    known = index if source is None else take(np.arange(index.height), [source])
    later = later_returns(index, known)
    copies = find_target_copies(index[DATE], take, features, loader.target_names, later)
    loader.refuse_copies(copies)
    return panel
