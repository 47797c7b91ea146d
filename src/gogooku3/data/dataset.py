"""Loads a data set file (keys, targets, features) as one Polars frame. It computes and fills nothing."""

import datetime as dt
import hashlib
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from gogooku3.data.parsing import read_keys
from gogooku3.data.prices import is_sorted_by, refuse_duplicate_keys
from gogooku3.data.target_leaks import TargetCopy, copies_in
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.tables import collect, scan_table
from gogooku3.schema import CODE, DATE, KEYS, is_target_column, map_columns, require_columns, target_column

logger = logging.getLogger(__name__)

ROW = "row number in the file"
"""Column of `load_index`: no data set calls a column so."""

BLOCKS = 64
BLOCK_BYTES = 1 << 16
"""A file beyond `BLOCKS * BLOCK_BYTES` (4 MiB) is fingerprinted from its ends and evenly spaced blocks."""


@dataclass(frozen=True)
class Columns:
    """Which column of a file is what, by the names in the file."""

    keys: dict[str, str]
    """Found name -> `date` or `code`."""
    targets: dict[int, str]
    """Horizon in trading days -> found name, shortest horizon first."""
    features: tuple[str, ...]
    ignored: tuple[str, ...]
    """Columns that are neither: text, and second spellings of a key."""

    @property
    def mapping(self) -> dict[str, str]:
        """Found name -> canonical name, for keys and targets."""
        return self.keys | {found: target_column(horizon) for horizon, found in self.targets.items()}


class ProductionDatasetV3:
    """A data set file as a frame: `date, code, target_{h}d..., features...`, sorted by (date, code).

    Columns are resolved at construction from the file's schema alone; `load_data` reads the rows.

    Args:
        data_path: a Parquet or CSV file with one row a stock and day.
        use_lazy_scan: let Polars scan the file rather than read it whole first.
        column_projection: with the scan, read only the columns needed. Every mode gives the same result.
        feature_columns: the features, in order; by default every numeric column that is neither key nor
            target.
        target_columns: `{horizon: column}` for targets that the file does not call `target_{horizon}d`.
        start_date: first day kept (inclusive), a date or its ISO text.
        end_date: last day kept (inclusive), likewise.

    Raises:
        DataError: the file is missing or unreadable, or its columns make no data set.
        ConfigError: a date setting cannot be read, or the first day lies after the last.
    """

    def __init__(
        self,
        data_path: Path | str,
        use_lazy_scan: bool = True,
        column_projection: bool = True,
        *,
        feature_columns: Sequence[str] | None = None,
        target_columns: Mapping[int, str] | None = None,
        start_date: dt.date | str | None = None,
        end_date: dt.date | str | None = None,
    ) -> None:
        self.data_path = Path(data_path)
        self.use_lazy_scan = use_lazy_scan
        self.column_projection = column_projection
        self.start_date = _day_setting("start_date", start_date)
        self.end_date = _day_setting("end_date", end_date)
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise ConfigError(f"start_date {self.start_date} lies after end_date {self.end_date}; swap them")
        require_file(self.data_path)
        self._scan = scan_table(self.data_path, typed=True)
        self._schema = self._scan.collect_schema()
        self.columns = resolve_columns(self._schema, feature_columns, target_columns)
        self._dropped: dict[str, int] = {}
        self._fingerprint: str | None = None

    @property
    def feature_names(self) -> list[str]:
        """Names of the features, in the order of the loaded frame."""
        return list(self.columns.features)

    @property
    def target_names(self) -> list[str]:
        """Canonical names of the targets, shortest horizon first."""
        return [target_column(horizon) for horizon in self.horizons]

    @property
    def horizons(self) -> tuple[int, ...]:
        """Horizons of the targets, in trading days."""
        return tuple(self.columns.targets)

    @property
    def mapping(self) -> dict[str, str]:
        """Column in the file -> canonical name, for keys and targets."""
        return self.columns.mapping

    @property
    def dropped(self) -> dict[str, int]:
        """Rows that the last `load_data` left out, by reason."""
        return dict(self._dropped)

    @property
    def fingerprint(self) -> str:
        """The file's `file_fingerprint`, computed once."""
        if self._fingerprint is None:
            self._fingerprint = file_fingerprint(self.data_path)
        return self._fingerprint

    def load_data(self) -> pl.DataFrame:
        """Read the rows: `date: Date, code: String`, then targets and features as Float32, NaN as null.

        Raises:
            DataError: keys are missing, unreadable or double, no row is left, or a feature follows a target.
        """
        frame = self._checked(collect(self._selection(self._source(), self.feature_names), self.data_path))
        self.refuse_copies(copies_in(frame, frame[DATE], self.feature_names, self.target_names))
        return frame

    def extent(self) -> tuple[int, int, int] | None:
        """Rows, trading days and stocks within the dates, counted from the keys' columns alone.

        None where that would take reading and checking them: days that are no dates or times.
        """
        found = {canonical: found for found, canonical in self.columns.keys.items()}
        day = pl.col(found[DATE])
        if not isinstance(self._schema[found[DATE]], pl.Date | pl.Datetime):
            return None
        days = day.dt.date()
        inside = [days >= self.start_date] if self.start_date else []
        inside += [days <= self.end_date] if self.end_date else []
        counts = self._scan.filter(*inside).select(
            pl.len(), days.n_unique().alias("days"), pl.col(found[CODE]).n_unique().alias("stocks")
        )
        return collect(counts, self.data_path).row(0)

    def load_index(self) -> pl.DataFrame:
        """Read all but the features: `date, code`, targets, and `ROW`, counted from 0.

        Checked and sorted as in `load_data`, except that features are not compared with targets.

        Raises:
            DataError: keys are missing, unreadable or double, or no row is left.
        """
        selected = self._selection(self._source(), ()).with_row_index(ROW)
        return self._checked(collect(selected, self.data_path)).select(pl.exclude(ROW), ROW)

    def feature_blocks(self, rows: int) -> Iterator[tuple[int, pl.DataFrame]]:
        """The features as Float32, some rows of the file at a time, each with the number of its first row.

        Unknown values are NaN. A scanned Parquet file is read block by block as they are asked for; anything
        else whole.
        """
        columns = [pl.col(name).cast(pl.Float32).fill_null(math.nan) for name in self.feature_names]
        source = self._source().select(columns)
        height = collect(self._scan.select(pl.len()), self.data_path).item()
        if self.data_path.suffix != ".parquet":
            source = collect(source, self.data_path).lazy()
        for start in range(0, height, rows):
            yield start, collect(source.slice(start, rows), self.data_path)

    def refuse_copies(self, copies: Sequence[TargetCopy]) -> None:
        """Raise where features are copies of targets.

        Raises:
            DataError: there is one.
        """
        if copies:
            shown = [str(replace(copy, target=self._spell(copy.target))) for copy in copies[:4]]
            more = f"; and {len(copies) - 4} more" if len(copies) > 4 else ""
            raise DataError(
                f"{self.data_path.name}: what follows a target so closely is no feature but the future: "
                f"{'; '.join(shown)}{more}. Remove it from the file, or name the features to keep in "
                "dataset.feature_columns"
            )

    def _source(self) -> pl.LazyFrame:
        if self.use_lazy_scan and self.column_projection:
            return self._scan
        return collect(self._scan, self.data_path).lazy()

    def _checked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows within the dates, by (date, code), each key readable and there once."""
        frame = self._within_dates(frame.with_columns(read_keys(frame, self.data_path.name)))
        if not is_sorted_by(frame, KEYS):
            frame = frame.sort(KEYS)
        refuse_duplicate_keys(frame, self.data_path.name, whole=ROW not in frame.columns)
        logger.info(
            "loaded %s: %s rows, %s features, targets %s; mapped %s; ignored %s; dropped %s",
            *(self.data_path, f"{frame.height:,}", len(self.feature_names), choices(self.target_names)),
            *(self.mapping, list(self.columns.ignored), self._dropped),
        )
        return frame

    def _selection(self, scan: pl.LazyFrame, features: Sequence[str]) -> pl.LazyFrame:
        """Keys as they are under canonical names, targets and features as Float32."""
        values = {found: target_column(horizon) for horizon, found in self.columns.targets.items()}
        values |= {name: name for name in features}
        return scan.select(
            *(pl.col(found).alias(name) for found, name in sorted(self.columns.keys.items(), key=_key_order)),
            *(
                (pl.col(found) if self._schema[found] == pl.Float32 else pl.col(found).cast(pl.Float32))
                .fill_nan(None)
                .alias(name)
                for found, name in values.items()
            ),
        )

    def _within_dates(self, frame: pl.DataFrame) -> pl.DataFrame:
        self._dropped = {}
        if frame.is_empty():
            raise DataError(f"{self.data_path} has no rows; build it again")
        covered = frame[DATE]
        bounds: list[tuple[str, pl.Expr]] = []
        if self.start_date is not None:
            bounds.append((f"before {self.start_date}", pl.col(DATE) >= self.start_date))
        if self.end_date is not None:
            bounds.append((f"after {self.end_date}", pl.col(DATE) <= self.end_date))
        for reason, inside in bounds:
            kept = frame.filter(inside)
            if kept.height < frame.height:
                self._dropped[reason] = frame.height - kept.height
            frame = kept
        if frame.is_empty():
            raise DataError(
                f"{self.data_path.name} has no rows from {self.start_date or 'its start'} to "
                f"{self.end_date or 'its end'}; it covers {covered.min()!s} to {covered.max()!s}"
            )
        return frame

    def _spell(self, target: str) -> str:
        found = {name: found for found, name in self.mapping.items()}[target]
        return target if found == target else f"{target} (from {found})"


def resolve_columns(
    schema: Mapping[str, pl.DataType],
    feature_columns: Sequence[str] | None = None,
    target_columns: Mapping[int, str] | None = None,
) -> Columns:
    """Say which columns are keys, targets and features, from names and types alone.

    Raises:
        DataError: a key or named column is missing, there is no target, a target has two columns, a target or
            key is listed as a feature, or a named column is not numeric.

    >>> schema = {"Date": pl.Date(), "Code": pl.String(), "target_1d": pl.Float32(), "ret_1d": pl.Float32()}
    >>> resolve_columns(schema).features
    ('ret_1d',)
    """
    keys = map_columns(schema, KEYS)
    lacking = [key for key in KEYS if key not in keys.values()]
    if lacking:
        require_columns(schema, lacking, "a data set (or another usual spelling of them)")
    targets = _resolve_targets(schema, target_columns)
    second_spellings = map_columns([name for name in schema if name not in keys], KEYS)
    taken = {*keys, *targets.values()} | {name for name in schema if is_target_column(name)}
    if feature_columns is None:
        features = tuple(
            name
            for name, dtype in schema.items()
            if dtype.is_numeric() and name not in taken and name not in second_spellings
        )
        if not features:
            raise DataError(
                f"a data set needs numeric columns beside keys and targets; this file has {choices(schema)}"
            )
    else:
        features = tuple(feature_columns)
        _check_named_features(features, schema, keys, taken)
    ignored = tuple(name for name in schema if name not in taken and name not in features)
    return Columns(keys, targets, features, ignored)


def file_fingerprint(path: Path | str) -> str:
    """A fast content fingerprint: blake2b over the file's size, its first, last and 62 blocks between.

    Files up to 4 MiB are hashed whole. Beyond, a Parquet file's footer (every column chunk's place, size and
    statistics) is hashed besides, so that another build gives another fingerprint though only 4 MiB of its
    pages are read: 300 MB take milliseconds. It identifies a file; it is no guard against forgery.
    """
    source = Path(path)
    size = source.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with source.open("rb") as file:
        if size <= BLOCKS * BLOCK_BYTES:
            digest.update(file.read())
            return digest.hexdigest()
        for block in range(BLOCKS):
            file.seek((size - BLOCK_BYTES) * block // (BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))
        file.seek(size - 8)
        length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
        if magic == b"PAR1" and length + 8 <= size:
            file.seek(size - 8 - length)
            digest.update(file.read(length))
    return digest.hexdigest()


def _resolve_targets(schema: Mapping[str, pl.DataType], named: Mapping[int, str] | None) -> dict[int, str]:
    targets = {int(name[len("target_") : -1]): name for name in schema if is_target_column(name)}
    for horizon, column in (named or {}).items():
        require_columns(schema, [column], f"target_columns {{{horizon}: {column}}}")
        if targets.get(horizon, column) != column:
            raise DataError(
                f"the {horizon}-day target has two columns, {targets[horizon]} and {column} (from "
                f"target_columns); remove one"
            )
        targets[horizon] = column
    if not targets:
        raise DataError(
            f"a data set needs at least one target, a column such as target_5d; this file has "
            f"{choices(schema)}. If one of them is a forward return, say so: "
            f"dataset.target_columns={{5: COLUMN}}"
        )
    if len(set(targets.values())) < len(targets):
        raise DataError(f"target_columns gives one column two horizons: {targets}; give each horizon its own")
    _require_numeric(schema, targets.values(), "target")
    return dict(sorted(targets.items()))


def _check_named_features(
    features: Sequence[str], schema: Mapping[str, pl.DataType], keys: Mapping[str, str], taken: set[str]
) -> None:
    require_columns(schema, features, "feature_columns")
    if forbidden := [name for name in features if name in taken]:
        kinds = choices(f"{name} ({'a key' if name in keys else 'a target'})" for name in forbidden)
        raise DataError(f"feature_columns lists what can never be a feature: {kinds}; take it off the list")
    if not features or len(set(features)) < len(features):
        raise DataError(
            f"feature_columns needs distinct names, at least one; got {choices(features)}; name each once"
        )
    _require_numeric(schema, features, "feature")


def _require_numeric(schema: Mapping[str, pl.DataType], names: Iterable[str], role: str) -> None:
    wrong = [f"{name} ({schema[name]})" for name in names if not schema[name].is_numeric()]
    if wrong:
        raise DataError(f"{role} columns must be numeric; not so are {choices(wrong)}; convert them first")


def _key_order(item: tuple[str, str]) -> int:
    return KEYS.index(item[1])


def require_file(path: Path) -> None:
    """Refuse a path that is no file, saying how a data set is made.

    Raises:
        DataError: nothing there, or a folder.
    """
    if path.is_file():
        return
    what = "a folder, not a data set file" if path.is_dir() else "no data set file"
    raise DataError(
        f"{path} is {what}. Make one from an embedded market with `gogooku3 data synth`, or from your prices "
        f"with `gogooku3 data build --prices FILE --out data/raw/large_scale/ml_dataset_full.parquet`"
    )


def _day_setting(name: str, value: dt.date | str | None) -> dt.date | None:
    if value is None or (isinstance(value, dt.date) and not isinstance(value, dt.datetime)):
        return value
    try:
        return dt.date.fromisoformat(str(value)[:10])
    except ValueError:
        raise ConfigError(f"{name} is {value!r}, which is no day; write one as 2024-01-31") from None
