"""Reads a data set file into a panel some rows at a time: the whole frame never lies beside the cube."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from gogooku3.data.dataset import ROW, ProductionDatasetV3
from gogooku3.data.panel import BLOCK_ROWS, Panel, fill, lay_out
from gogooku3.data.target_leaks import find_target_copies
from gogooku3.schema import DATE

_READ_ROWS = 2 * BLOCK_ROWS
"""Rows read at a time: two row groups are decoded side by side, a single one is not."""


def read_panel(
    loader: ProductionDatasetV3,
    index: pl.DataFrame,
    horizons: Sequence[int],
    reserve: Sequence[str] = (),
    storage: Path | None = None,
    block_rows: int = _READ_ROWS,
) -> Panel:
    """The panel of a data set file: bit for bit `Panel.from_frame(loader.load_data(), ...)`.

    Args:
        loader: the file.
        index: its `load_index()`.
        horizons: targets to take.
        reserve: names of further features to leave room for (NaN).
        storage: file for a memory-mapped cube; None keeps it in memory.
        block_rows: rows read at a time; any number gives the same panel.

    Raises:
        DataError: the file changed or cannot be read, or a feature follows a target.
    """
    features = loader.feature_names
    panel, place = lay_out(index, features, horizons, reserve, storage)
    rows = index[ROW].to_numpy().astype(np.int64)
    day, stock = np.divmod(place, panel.n_stocks)
    if not (rows[1:] > rows[:-1]).all():
        order = np.argsort(rows)
        place, rows = place[order], rows[order]

    def blocks() -> Iterator[tuple[pl.DataFrame, np.ndarray]]:
        for first, block in loader.feature_blocks(block_rows):
            begin, end = np.searchsorted(rows, (first, first + block.height))
            kept = rows[begin:end] - first
            yield block if len(kept) == block.height else block[kept], place[begin:end]

    fill(panel, blocks())

    def take(wanted: np.ndarray, names: Sequence[str]) -> pl.DataFrame:
        at = day[wanted], stock[wanted]
        labels = [name for name in names if name in loader.target_names]
        read = {name: panel.values[*at, features.index(name)] for name in names if name not in labels}
        return pl.DataFrame(read).with_columns(index.select(labels)[wanted])

    loader.refuse_copies(find_target_copies(index[DATE], take, features, loader.target_names))
    return panel
