"""A raw store's prices as one file, which `data build` takes: what the exchange gave, as it was known."""

from dataclasses import dataclass
from pathlib import Path

from gogooku3.data.fetch.known_facts import add_known_facts
from gogooku3.data.fetch.point_in_time import tokyo_prices
from gogooku3.data.fetch.store import RawStore
from gogooku3.files.atomic import atomic_path
from gogooku3.schema import CODE, DATE


@dataclass(frozen=True)
class RawMarket:
    """A price file, and what it holds and leaves out."""

    path: Path
    rows: int
    n_stocks: int
    n_days: int
    dropped: dict[str, int]


def write_tokyo_prices(store: RawStore, path: Path | str) -> RawMarket:
    """Write the prices of a J-Quants store, with the facts known at each close, as one Parquet file.

    Raises:
        DataError: the store lacks bars or listings, or a file in it can't be read.
    """
    made = tokyo_prices(store)
    frame = add_known_facts(made.frame, store)
    with atomic_path(path) as temporary:
        frame.write_parquet(temporary, compression="zstd")
    return RawMarket(Path(path), frame.height, frame[CODE].n_unique(), frame[DATE].n_unique(), made.dropped)
