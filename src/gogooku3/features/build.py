"""From prices to a data set: read, compute the catalogue, add the targets, write."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from gogooku3._version import __version__
from gogooku3.data.book_returns import add_book_returns
from gogooku3.data.labels import label_counts
from gogooku3.data.price_files import price_files
from gogooku3.data.prices import PricesReport, read_prices
from gogooku3.data.quality.findings import price_findings
from gogooku3.data.synthetic.oracle_files import oracle_paths
from gogooku3.data.targets import add_targets
from gogooku3.errors import DataError, file_error
from gogooku3.features.append import MissingDays
from gogooku3.features.catalog import FEATURE_NAMES, FORMULAS
from gogooku3.features.compute import Progress, compute_features
from gogooku3.features.dataset_metadata import write_dataset
from gogooku3.features.extra import compute_extra, extra_features
from gogooku3.files.atomic import atomic_path, remove_leftovers_of
from gogooku3.files.fingerprint import fingerprint_files
from gogooku3.files.locks import exclusive
from gogooku3.files.year_folder import check_table_output, is_year_folder, table_files
from gogooku3.schema import BOOK_RETURN, HORIZONS, KEYS, target_column


@dataclass(frozen=True)
class BuildReport:
    """Counts, paths and times of a build; `seconds` by step."""

    out_path: Path
    rows: int
    n_stocks: int
    n_days: int
    added_days: int
    """Trading days written now: all of them, unless they were appended."""
    n_features: int
    prices: PricesReport
    fingerprint: str
    """Of the price files, in the order of their names."""
    labels: dict[str, dict[str, int]]
    """Rows whose target has no close of its own, by horizon and reason; see `label_counts`."""
    seconds: dict[str, float]
    copied: tuple[Path, ...]
    """Oracle files, now next to the data set."""
    written: tuple[Path, ...]
    """Files of the data set that were written now."""
    findings: tuple[str, ...]
    """Suspicious facts of the prices, in words."""


def build_dataset(
    prices_path: Path | str,
    out_path: Path | str,
    horizons: Sequence[int] = HORIZONS,
    progress: Progress | None = None,
    extra: Sequence[str] = (),
    append: bool = False,
    adjust: bool = False,
    date_format: str | None = None,
) -> BuildReport:
    """Write the data set of prices: keys, a target per horizon, 139 features, `book_return`; by (date, code).

    A name ending in `.parquet` gives one file, any other a folder with one file per year
    (`year=2024/part.parquet`). Either appears whole or not at all, and one build writes at a time. The
    metadata records version, features, dropped rows with the reason, and the prices' fingerprint. The oracle
    files of a synthetic market are copied next to the data set.

    Args:
        prices_path: as for `read_prices`.
        out_path: a `.parquet` file or a folder; parent folders are created.
        horizons: trading days ahead, as in `add_targets`.
        progress: called with each step and its share done.
        extra: families of features beyond the 139, out of `features.extra.FAMILIES`; they follow the 139.
        append: compute only the days that an existing data set lacks, and the targets that have become known.
            The values are bit-identical to a full rebuild. A file is rewritten whole; of a folder only the
            years with changes.

    Raises:
        DataError: the prices can't be read, `out_path` can't be written, is one of the price files or in
            their folder, or another build is writing there.
        CannotAppend: the data set was built differently or from other prices.
    """
    out = check_table_output(out_path)
    sources = price_files(prices_path)
    if out.resolve() in {path.resolve() for path in sources}:
        raise DataError(f"'{out}' is one of the price files; write the data set elsewhere")
    if out.suffix == ".parquet" and out.resolve().parent == Path(prices_path).resolve():
        raise DataError(
            f"'{out}' is in the folder of the prices and would be read as prices the next time; write the "
            "data set elsewhere"
        )
    clock = _Clock(progress)
    table = read_prices(prices_path, adjust, date_format)
    clock.done("read")
    names = [*FEATURE_NAMES, *(feature.name for feature in extra_features(extra))]
    metadata = {
        "version": __version__,
        "formulas": FORMULAS,
        "features": names,
        "targets": [target_column(h) for h in horizons],
        "prices": table.report.to_dict(),
        "source": [path.name for path in sources],
        "fingerprint": fingerprint_files(sources),
    }
    missing, written = None, []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_error(error, out.parent) or error from error
    # The hidden lock file stays next to the data set.
    with exclusive(out.with_name(f".{out.name}.lock"), f"another build is writing {out}"):
        for path in (out, *oracle_paths(out)):
            remove_leftovers_of(path)
        if append and (out.is_file() or is_year_folder(out)):
            missing = MissingDays.find(out, table.frame, metadata, horizons)
        clock.done("digest")
        if missing is None:
            frame = _dataset(table.frame, horizons, extra, clock, progress)
            write_dataset(frame, out, table.frame, metadata)
            written = table_files(out)
        elif missing.n_days or missing.interrupted:
            features = missing.features(extra, progress)
            clock.done("features")
            written = missing.write(features, metadata)
        copied = _copy_oracle(Path(prices_path).absolute(), out)
    clock.done("write")
    return BuildReport(
        out_path=out,
        rows=table.frame.height,
        n_stocks=table.report.n_stocks,
        n_days=table.report.n_days,
        added_days=missing.n_days if missing else table.report.n_days,
        n_features=len(names),
        prices=table.report,
        fingerprint=str(metadata["fingerprint"]),
        labels=label_counts(table.frame, horizons),
        seconds=clock.seconds,
        copied=tuple(copied),
        written=tuple(written),
        findings=tuple(price_findings(table.frame)),
    )


def _dataset(
    prices: pl.DataFrame,
    horizons: Sequence[int],
    extra: Sequence[str],
    clock: "_Clock",
    progress: Progress | None,
) -> pl.DataFrame:
    """Keys, targets and features of every row."""
    more = compute_extra(prices, extra).drop(KEYS).get_columns() if extra else []
    features = compute_features(prices, progress).hstack(more)
    clock.done("features")
    targets = add_targets(prices.select(*KEYS, "close").sort(KEYS), horizons).drop("close")
    books = add_book_returns(prices)
    if not targets.select(KEYS).equals(features.select(KEYS)) or not books.select(KEYS).equals(
        targets.select(KEYS)
    ):
        raise AssertionError("features, targets and returns disagree about the rows")
    dataset = targets.hstack([books[BOOK_RETURN], *features.drop(KEYS).get_columns()])
    clock.done("targets")
    return dataset


class _Clock:
    """Times each step and reports it as done."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def done(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step], self._last = now - self._last, now
        if self.progress:
            self.progress(step, 1.0)


def _copy_oracle(prices: Path, out: Path) -> list[Path]:
    copied = []
    for source, target in zip(oracle_paths(prices), oracle_paths(out), strict=True):
        if source.is_file():
            if source.resolve() != target.resolve():
                with atomic_path(target) as temporary:
                    shutil.copyfile(source, temporary)
            copied.append(target)
    return copied
