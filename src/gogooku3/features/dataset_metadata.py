"""The built data set as a file: how it is written, and what its metadata account for."""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from gogooku3.data.panel import BLOCK_ROWS
from gogooku3.errors import DataError
from gogooku3.files.tables import unreadable_file
from gogooku3.schema import CODE, DATE, SECTOR

PRICES_DIGEST = "prices_sum"
"""Where the account keeps the digest of the prices; named anew whenever it is computed otherwise."""
METADATA_KEY = "gogooku3"
"""Where the Parquet file's key-value metadata keeps the build's account, as JSON."""

_DIGEST_ROWS = 1 << 14


def write_dataset(frame: pl.DataFrame, path: Path, account: Mapping[str, Any]) -> None:
    """Write rows with the account of the build that made them."""
    frame.write_parquet(
        path,
        # Decoded three times as fast as zstd, for an eighth more bytes.
        compression="lz4",
        row_group_size=BLOCK_ROWS,
        metadata={METADATA_KEY: json.dumps(account)},
    )


def read_build_metadata(path: Path | str) -> dict[str, Any] | None:
    """The account `build_dataset` left in a data set's metadata; None in a file made elsewhere.

    Raises:
        DataError: it is no Parquet file, or something is there that no build has written.
    """
    try:
        text = pl.read_parquet_metadata(path).get(METADATA_KEY)
    except pl.exceptions.PolarsError as error:
        raise unreadable_file(Path(path), error) from None
    try:
        return None if text is None else dict(json.loads(text))
    except (ValueError, TypeError):
        raise DataError(
            f"{path}: its metadata '{METADATA_KEY}' are no account of a build; build it again"
        ) from None


class PricesDigest:
    """A number, as text, that changes with any value of any row, whatever the rows' order.

    The sum over rows of a mix of each one's values: a multiplication by the column's own number and a shift
    a value, Vigna's splitmix64 at the end. No guard against someone who looks for two tables of the same
    digest. It depends on no library's hash.

    Args:
        prices: as `read_prices` returns them.
    """

    def __init__(self, prices: pl.DataFrame) -> None:
        columns = [
            (np.uint64(_number(name) | 1), _bits(name, prices[name])) for name in sorted(prices.columns)
        ]
        self._dates = prices[DATE]
        self._mixed = np.zeros(prices.height, np.uint64)
        high = np.empty(_DIGEST_ROWS, np.uint64)
        # A block stays in the cache from column to column.
        for first in range(0, prices.height, _DIGEST_ROWS):
            mixed = self._mixed[first : first + _DIGEST_ROWS]
            for factor, bits in columns:
                mixed += bits[first : first + _DIGEST_ROWS]
                mixed *= factor
                mixed ^= np.right_shift(mixed, np.uint64(32), out=high[: len(mixed)])
            mixed[:] = _mix(mixed)

    def up_to(self, day: dt.date) -> str:
        """The digest of the rows up to a day, that day included."""
        return self._text(self._mixed[(self._dates <= day).to_numpy()])

    def __str__(self) -> str:
        return self._text(self._mixed)

    @staticmethod
    def _text(mixed: np.ndarray) -> str:
        return f"{int(mixed.sum(dtype=np.uint64)):016x}"


def _bits(name: str, values: pl.Series) -> np.ndarray:
    """A column's values as numbers, unsigned 64-bit."""
    if name in (CODE, SECTOR):
        return _text_bits(values)
    if name == DATE:
        return values.to_physical().cast(pl.Int64).to_numpy().view(np.uint64)
    return values.cast(pl.Float64).fill_null(np.nan).to_numpy().view(np.uint64)


def _text_bits(values: pl.Series) -> np.ndarray:
    """Each text's own number. Quick where equal ones stand together, as a stock's rows do."""
    runs = values.cast(pl.String).fill_null("").rle().struct.unnest()
    known = runs["value"].unique().sort()
    numbers = np.array([_number(text) for text in known], np.uint64)
    return np.repeat(numbers[known.search_sorted(runs["value"]).to_numpy()], runs["len"].to_numpy())


def _number(text: str) -> int:
    """A number of 64 bits, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(values: np.ndarray) -> np.ndarray:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
