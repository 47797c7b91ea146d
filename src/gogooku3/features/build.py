"""From a price file to the data set file: read, compute the catalogue, add the targets, write whole."""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gogooku3 import __version__
from gogooku3.atomic import atomic_path, check_output
from gogooku3.data.panel_reader import BLOCK_ROWS
from gogooku3.data.sources import PricesReport, price_files, read_prices
from gogooku3.data.targets import add_targets
from gogooku3.errors import DataError
from gogooku3.features.catalog import FEATURE_NAMES
from gogooku3.features.compute import Progress, compute_features
from gogooku3.features.extra import compute_extra, extra_features
from gogooku3.schema import CODE, DATE, HORIZONS, KEYS, target_column

METADATA_KEY = "gogooku3"
"""Where the Parquet file's key-value metadata keeps the build's account, as JSON."""

ORACLE_SUFFIXES = (".oracle.parquet", ".oracle.json")
"""What lies beside a synthetic market's prices: the best forecast there could be."""


@dataclass(frozen=True)
class BuildReport:
    """What a build read, dropped and wrote; `seconds` by step."""

    out_path: Path
    rows: int
    n_stocks: int
    n_days: int
    n_features: int
    prices: PricesReport
    fingerprint: str
    """SHA-256 of the price files' bytes, in the order of their names."""
    seconds: dict[str, float]
    copied: tuple[Path, ...]
    """Oracle files now beside the data set."""


def build_dataset(
    prices_path: Path | str,
    out_path: Path | str,
    horizons: Sequence[int] = HORIZONS,
    progress: Progress | None = None,
    extra: Sequence[str] = (),
) -> BuildReport:
    """Write the data set of a price file or folder: keys, a target a horizon, 139 features; by (date, code).

    The file appears whole or not at all. Its metadata tells version, features, rows dropped and why, and the
    source's fingerprint. The oracle files of a synthetic market are copied beside it.

    Args:
        prices_path: what `read_prices` takes.
        out_path: a `.parquet` file; its folder is created.
        horizons: trading days ahead, as in `add_targets`.
        progress: told the step and the share of it done.
        extra: families of features beyond the 139, out of `features.extra.FAMILIES`; they follow the 139.

    Raises:
        DataError: the prices can't be read, or `out_path` is no place for a Parquet file, or one of the
            price files.
    """
    out = check_output(out_path, ".parquet")
    sources = price_files(prices_path)
    if out.resolve() in {path.resolve() for path in sources}:
        raise DataError(f"'{out}' is one of the price files; write the data set elsewhere")
    clock = _Clock(progress)
    table = read_prices(prices_path)
    fingerprint = fingerprint_files(sources)
    clock.done("read")
    added = [feature.name for feature in extra_features(extra)]
    more = compute_extra(table.frame, extra) if extra else None
    features = compute_features(table.frame, progress)
    if more is not None:
        features = features.hstack(more.drop(KEYS))
    clock.done("features")
    targets = add_targets(table.frame.select(*KEYS, "close").sort(KEYS), horizons).drop("close")
    if not targets.select(KEYS).equals(features.select(KEYS)):
        raise AssertionError("features and targets disagree about the rows")
    dataset = targets.hstack(features.drop(KEYS).get_columns())
    del features
    clock.done("targets")
    account = {
        "version": __version__,
        "features": [*FEATURE_NAMES, *added],
        "targets": [target_column(h) for h in horizons],
        "rows": dataset.height,
        "prices": table.report.to_dict(),
        "source": [path.name for path in sources],
        "fingerprint": fingerprint,
    }
    with atomic_path(out) as temporary:
        dataset.write_parquet(
            temporary,
            # Decoded three times as fast as zstd, for an eighth more bytes.
            compression="lz4",
            row_group_size=BLOCK_ROWS,
            metadata={METADATA_KEY: json.dumps(account)},
        )
    copied = tuple(_copy_oracle(Path(prices_path), out))
    clock.done("write")
    return BuildReport(
        out_path=out,
        rows=dataset.height,
        n_stocks=dataset[CODE].n_unique(),
        n_days=dataset[DATE].n_unique(),
        n_features=len(FEATURE_NAMES) + len(added),
        prices=table.report,
        fingerprint=fingerprint,
        seconds=clock.seconds,
        copied=copied,
    )


class _Clock:
    """Times steps and tells when each is done."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def done(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step], self._last = now - self._last, now
        if self.progress:
            self.progress(step, 1.0)


def fingerprint_files(paths: Sequence[Path]) -> str:
    """SHA-256 over the files' names and bytes, in the given order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def read_account(path: Path | str) -> dict[str, object] | None:
    """The account `build_dataset` left in a data set's metadata; None in a file made elsewhere."""
    text = pl.read_parquet_metadata(path).get(METADATA_KEY)
    return None if text is None else dict(json.loads(text))


def _copy_oracle(prices: Path, out: Path) -> list[Path]:
    copied = []
    for suffix in ORACLE_SUFFIXES:
        source = prices.with_name(prices.stem + suffix)
        target = out.with_name(out.stem + suffix)
        if source.is_file():
            if source.resolve() != target.resolve():
                with atomic_path(target) as temporary:
                    shutil.copyfile(source, temporary)
            copied.append(target)
    return copied
