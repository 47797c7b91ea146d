"""From a price file to the data set file: read, compute the catalogue, add the targets, write whole."""

import hashlib
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gogooku3._version import __version__
from gogooku3.data.prices import PricesReport, price_files, read_prices
from gogooku3.data.synthetic.oracle_files import oracle_paths
from gogooku3.data.targets import add_targets
from gogooku3.errors import DataError, file_error
from gogooku3.features.append import Appendix
from gogooku3.features.catalog import FEATURE_NAMES
from gogooku3.features.compute import Progress, compute_features
from gogooku3.features.dataset_metadata import PRICES_DIGEST, PricesDigest, write_dataset
from gogooku3.features.extra import compute_extra, extra_features
from gogooku3.files.atomic import atomic_path, check_output, remove_leftovers_of
from gogooku3.files.locks import exclusive
from gogooku3.schema import HORIZONS, KEYS, target_column


@dataclass(frozen=True)
class BuildReport:
    """What a build read, dropped and wrote; `seconds` by step."""

    out_path: Path
    rows: int
    n_stocks: int
    n_days: int
    added_days: int
    """Trading days written now: all of them, unless they were appended."""
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
    append: bool = False,
) -> BuildReport:
    """Write the data set of a price file or folder: keys, a target a horizon, 139 features; by (date, code).

    The file appears whole or not at all, and no other build writes to it meanwhile. Its metadata tells
    version, features, rows dropped and why, and the source's fingerprint. The oracle files of a synthetic
    market are copied beside it.

    Args:
        prices_path: what `read_prices` takes.
        out_path: a `.parquet` file; its folder is created.
        horizons: trading days ahead, as in `add_targets`.
        progress: told the step and the share of it done.
        extra: families of features beyond the 139, out of `features.extra.FAMILIES`; they follow the 139.
        append: compute only the days that a data set already at `out_path` lacks, and the targets that have
            become known; the values are those of a whole build, bit for bit.

    Raises:
        DataError: the prices can't be read, or `out_path` is no place for a Parquet file, or one of the
            price files or in their folder, or another build is writing there.
        CannotAppend: what is there was built otherwise, or from other prices.
    """
    out = check_output(out_path, ".parquet")
    sources = price_files(prices_path)
    if out.resolve() in {path.resolve() for path in sources}:
        raise DataError(f"'{out}' is one of the price files; write the data set elsewhere")
    if out.resolve().parent == Path(prices_path).resolve():
        raise DataError(
            f"'{out}' lies in the folder of the prices and would be read as prices the next time; write the "
            "data set elsewhere"
        )
    clock = _Clock(progress)
    table = read_prices(prices_path)
    clock.done("read")
    digest = PricesDigest(table.frame)
    names = [*FEATURE_NAMES, *(feature.name for feature in extra_features(extra))]
    account = {
        "version": __version__,
        "features": names,
        "targets": [target_column(h) for h in horizons],
        "rows": table.frame.height,
        "prices": table.report.to_dict(),
        PRICES_DIGEST: str(digest),
        "source": [path.name for path in sources],
        "fingerprint": fingerprint_files(sources),
    }
    clock.done("digest")
    with _only_writer(out):
        there = Appendix.of(out, table.frame, digest, account, horizons) if append and out.is_file() else None
        if there is None:
            frame = _dataset(table.frame, horizons, extra, clock, progress)
            with atomic_path(out) as temporary:
                write_dataset(frame, temporary, account)
        elif there.n_days:
            with atomic_path(out) as temporary, there.writing(temporary) as put_rows:
                frame = there.rows(extra, progress)
                clock.done("features")
                put_rows(frame, account)
        copied = tuple(_copy_oracle(Path(prices_path).absolute(), out))
    clock.done("write")
    return BuildReport(
        out_path=out,
        rows=table.frame.height,
        n_stocks=table.report.n_stocks,
        n_days=table.report.n_days,
        added_days=there.n_days if there else table.report.n_days,
        n_features=len(names),
        prices=table.report,
        fingerprint=str(account["fingerprint"]),
        seconds=clock.seconds,
        copied=copied,
    )


@contextmanager
def _only_writer(out: Path) -> Iterator[None]:
    """Keep every other build from the same file, and remove what killed ones left of it.

    The hidden file of the lock is left beside it.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_error(error, out.parent) or error from error
    with exclusive(out.with_name(f".{out.name}.lock"), f"another build is writing {out}"):
        for written in (out, *oracle_paths(out)):
            remove_leftovers_of(written)
        yield


def _dataset(
    prices: pl.DataFrame,
    horizons: Sequence[int],
    extra: Sequence[str],
    clock: "_Clock",
    progress: Progress | None,
) -> pl.DataFrame:
    """Keys, targets and features of every row."""
    more = compute_extra(prices, extra) if extra else None
    features = compute_features(prices, progress)
    if more is not None:
        features = features.hstack(more.drop(KEYS))
    clock.done("features")
    targets = add_targets(prices.select(*KEYS, "close").sort(KEYS), horizons).drop("close")
    if not targets.select(KEYS).equals(features.select(KEYS)):
        raise AssertionError("features and targets disagree about the rows")
    dataset = targets.hstack(features.drop(KEYS).get_columns())
    clock.done("targets")
    return dataset


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


def _copy_oracle(prices: Path, out: Path) -> list[Path]:
    copied = []
    for source, target in zip(oracle_paths(prices), oracle_paths(out), strict=True):
        if source.is_file():
            if source.resolve() != target.resolve():
                with atomic_path(target) as temporary:
                    shutil.copyfile(source, temporary)
            copied.append(target)
    return copied
