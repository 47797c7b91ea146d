"""The built data set as a file: how it is written, and what its metadata account for."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gogooku3.data.panel_reader import BLOCK_ROWS
from gogooku3.errors import DataError
from gogooku3.schema import CODE, DATE, SECTOR

METADATA_KEY = "gogooku3"
"""Where the Parquet file's key-value metadata keeps the build's account, as JSON."""


def write_dataset(frame: pl.DataFrame, path: Path, account: Mapping[str, Any]) -> None:
    """Write rows with the account of the build that made them."""
    frame.write_parquet(
        path,
        # Decoded three times as fast as zstd, for an eighth more bytes.
        compression="lz4",
        row_group_size=BLOCK_ROWS,
        metadata={METADATA_KEY: json.dumps(account)},
    )


def read_account(path: Path | str) -> dict[str, Any] | None:
    """The account `build_dataset` left in a data set's metadata; None in a file made elsewhere.

    Raises:
        DataError: something is there that no build has written.
    """
    text = pl.read_parquet_metadata(path).get(METADATA_KEY)
    try:
        return None if text is None else dict(json.loads(text))
    except (ValueError, TypeError):
        raise DataError(
            f"{path}: its metadata '{METADATA_KEY}' are no account of a build; build it again"
        ) from None


def prices_digest(prices: pl.DataFrame) -> str:
    """A number, as text, that changes with any value of any row, whatever the rows' order.

    The sum over rows of a mix (Vigna's splitmix64) of each one's values; no guard against someone who
    looks for two tables of the same digest.

    Args:
        prices: as `read_prices` returns them.
    """
    mixed = np.zeros(prices.height, np.uint64)
    for name in sorted(prices.columns):
        values = prices[name]
        if name in (CODE, SECTOR):
            bits = _text_bits(values)
        elif name == DATE:
            bits = values.to_physical().cast(pl.Int64).to_numpy().view(np.uint64)
        else:
            bits = values.cast(pl.Float64).fill_null(np.nan).to_numpy().view(np.uint64)
        mixed = _mix(mixed + bits + np.uint64(len(name)))
    return f"{int(mixed.sum(dtype=np.uint64)):016x}"


def _text_bits(values: pl.Series) -> np.ndarray:
    """Each text's own number, the same on every machine."""
    texts = values.cast(pl.String).fill_null("")
    known = texts.unique().sort()
    numbers = [int.from_bytes(hashlib.blake2b(t.encode(), digest_size=8).digest(), "little") for t in known]
    return np.array(numbers, np.uint64)[known.search_sorted(texts).to_numpy()]


def _mix(values: np.ndarray) -> np.ndarray:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
