"""Loads a data set (keys, targets, features) as one Polars frame."""

import datetime as dt
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import polars as pl

from gogooku3.data.labels import Labels, adjust_labels
from gogooku3.data.parsing import read_keys, spoiled_numbers
from gogooku3.data.prices import sorted_unique
from gogooku3.data.target_leaks import TargetCopy, copies_in, future_names, suspicion, suspicious_name
from gogooku3.errors import ConfigError, DataError, choices
from gogooku3.files.fingerprint import table_fingerprint
from gogooku3.files.tables import SUFFIXES, collect, scan_table
from gogooku3.files.year_folder import is_year_folder, table_files
from gogooku3.schema import (
    BOOK_RETURN,
    CODE,
    DATE,
    KEYS,
    find_columns,
    is_target_column,
    map_columns,
    require_columns,
    target_column,
)

logger = logging.getLogger(__name__)

ROW = "row number in the file"
"""Column of `load_index`, a name that no data set uses."""


@dataclass(frozen=True)
class Columns:
    """Columns of a data set by role, under their names in the file."""

    keys: dict[str, str]
    """Name in the file -> `date` or `code`."""
    targets: dict[int, str]
    """Horizon in trading days -> name in the file, shortest horizon first."""
    features: tuple[str, ...]
    ignored: tuple[str, ...]
    """All other columns: text, and second spellings of a key."""


class ProductionDatasetV3:
    """A data set as a frame: `date, code, target_{h}d..., features...`, sorted by (date, code).

    The constructor reads only the schema and resolves the columns; `load_data` reads the rows.

    Args:
        data_path: a Parquet or CSV file with one row per stock and day, or a folder of Parquet files by year.
        use_lazy_scan: let Polars scan the file instead of reading it whole first.
        column_projection: with the scan, read only the columns needed. Every mode gives the same result.
        feature_columns: the features, in order; by default every numeric column that is neither key nor
            target.
        target_columns: `{horizon: column}` for targets with other names than `target_{horizon}d`.
        start_date: first day kept (inclusive), a date or its ISO text.
        end_date: last day kept (inclusive), likewise.
        labels, delisting_return: see `adjust_labels`.
        allow_features: features that are kept although they follow a target closely.

    Raises:
        DataError: the file is missing or unreadable, or lacks columns of a data set.
        ConfigError: a date setting cannot be read, or the first day is after the last.
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
        labels: Labels = "last_close",
        delisting_return: float = 0.0,
        allow_features: Sequence[str] = (),
    ) -> None:
        self.data_path = Path(data_path)
        self.use_lazy_scan = use_lazy_scan
        self.column_projection = column_projection
        self.labels: Labels = labels
        self.delisting_return = delisting_return
        self.allow_features = tuple(allow_features)
        self.start_date = _day_setting("start_date", start_date)
        self.end_date = _day_setting("end_date", end_date)
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise ConfigError(f"start_date {self.start_date} is after end_date {self.end_date}; swap them")
        require_dataset(self.data_path)
        self._scan = scan_table(self.data_path, typed=True)
        self._schema = self._scan.collect_schema()
        self.columns = resolve_columns(self._schema, feature_columns, target_columns)
        require_columns(self._schema, self.allow_features, "allow_features")
        if feature_columns is None and self.data_path.name.lower().endswith(SUFFIXES[1:]):
            self._refuse_spoiled_features()
        self._names = {canonical: name for name, canonical in self.mapping.items()}
        self.dropped: dict[str, int] = {}
        """Rows that the last load dropped, by reason."""
        self.copies: tuple[TargetCopy, ...] = ()
        """Features that follow a target, from the last `load_data`."""
        self.suspicions: list[str] = []
        """Warnings about features that may hold the future, from the last comparison with the targets."""

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
        targets = self.columns.targets
        return self.columns.keys | {name: target_column(horizon) for horizon, name in targets.items()}

    @cached_property
    def fingerprint(self) -> str:
        """The `table_fingerprint` of the file or folder, computed once."""
        return table_fingerprint(self.data_path)

    @property
    def _book_return(self) -> list[str]:
        return [BOOK_RETURN] if BOOK_RETURN in self._schema else []

    def load_data(self, refuse: bool = True) -> pl.DataFrame:
        """Read the rows: `date: Date, code: String`, then targets and features as Float32, NaN as null.

        Args:
            refuse: False only records features that follow a target, in `copies`.

        Raises:
            DataError: keys are missing, unreadable or duplicate, no row is left, or a feature is a target.
        """
        selected = self._selection(self._source(), [*self.feature_names, *self._book_return])
        frame = self._checked(collect(selected, self.data_path))
        self.copies = tuple(copies_in(frame, self.feature_names, self.target_names))
        if refuse:
            self.refuse_copies(self.copies)
        return frame.drop(self._book_return)

    def extent(self) -> tuple[int, int, int] | None:
        """Rows, trading days and stocks within the dates, counted from the key columns only.

        None for days in other types than dates and times, which would have to be parsed first.
        """
        if not isinstance(self._schema[self._names[DATE]], pl.Date | pl.Datetime):
            return None
        days, codes = pl.col(self._names[DATE]).dt.date(), pl.col(self._names[CODE])
        rows = self._scan.filter(*self._bounds(days).values())
        counts = rows.select(rows=pl.len(), days=days.n_unique(), stocks=codes.n_unique())
        return collect(counts, self.data_path).row(0)

    def load_index(self) -> pl.DataFrame:
        """Read all but the features: `date, code`, targets, `book_return` if there, and `ROW`, from 0.

        Checked and sorted as in `load_data`, except that features are not compared with targets.

        Raises:
            DataError: keys are missing, unreadable or duplicate, or no row is left.
        """
        selected = self._selection(self._source(), self._book_return).with_row_index(ROW)
        return self._checked(collect(selected, self.data_path)).select(pl.exclude(ROW), ROW)

    def feature_blocks(self, rows: int) -> Iterator[tuple[int, pl.DataFrame]]:
        """Blocks of rows of the features as Float32, each with the number of its first row.

        Unknown values are NaN. A scanned Parquet file is read block by block, a folder file by file; CSV is
        read whole.
        """
        files = table_files(self.data_path)
        scans = list(map(scan_table, files)) if len(files) > 1 else [self._source()]
        if files[0].name.lower().endswith(SUFFIXES[1:]):
            scans = [collect(scans[0], self.data_path).lazy()]
        columns = pl.col(self.feature_names).cast(pl.Float32).fill_null(math.nan)
        begin = 0
        for scan in scans:
            source = scan.select(columns)
            height = collect(scan.select(pl.len()), self.data_path).item()
            for start in range(0, height, rows):
                yield begin + start, collect(source.slice(start, rows), self.data_path)
            begin += height

    def refuse_copies(self, copies: Sequence[TargetCopy]) -> None:
        """Refuse features that hold the future, and record suspicious ones in `suspicions`.

        Raises:
            DataError: a feature follows a target closely, and is not allowed.
        """
        self.suspicions = [
            suspicion(copy) for copy in copies if not copy.is_refused or copy.feature in self.allow_features
        ]
        self.suspicions += list(map(suspicious_name, future_names(self.feature_names)))
        copies = [copy for copy in copies if copy.is_refused and copy.feature not in self.allow_features]
        if copies:
            spelled = {t: t if t == name else f"{t} (from {name})" for t, name in self._names.items()}
            shown = [str(replace(copy, target=spelled.get(copy.target, copy.target))) for copy in copies[:4]]
            more = f"; and {len(copies) - 4} more" if len(copies) > 4 else ""
            raise DataError(
                f"{self.data_path.name}: features that follow a target this closely contain the future: "
                f"{'; '.join(shown)}{more}. Remove them from the file, or name the features to keep in "
                "dataset.feature_columns. Name a feature that is honest all the same in "
                "dataset.allow_features"
            )

    def _refuse_spoiled_features(self) -> None:
        """Refuse a CSV column of numbers that is text only because of a few values."""
        texts = [name for name in self.columns.ignored if self._schema[name] == pl.String]
        for column in collect(self._scan.select(texts), self.data_path) if texts else ():
            if len(spoiled := spoiled_numbers(column)):
                raise DataError(
                    f"{self.data_path.name}: {len(spoiled):,} values of column '{column.name}' are no "
                    f"numbers, such as '{spoiled[0]}'; correct them, or name the features in "
                    f"dataset.feature_columns"
                )

    def _source(self) -> pl.LazyFrame:
        if self.use_lazy_scan and self.column_projection:
            return self._scan
        return collect(self._scan, self.data_path).lazy()

    def _checked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows within the dates, by (date, code), with readable and unique keys."""
        frame = frame.with_columns(read_keys(frame, self.data_path.name))
        self.dropped = {}
        if frame.is_empty():
            raise DataError(f"{self.data_path} has no rows; build it again")
        covered = frame[DATE]
        for reason, inside in self._bounds(pl.col(DATE)).items():
            kept = frame.filter(inside)
            if kept.height < frame.height:
                self.dropped[reason] = frame.height - kept.height
            frame = kept
        if frame.is_empty():
            raise DataError(
                f"{self.data_path.name} has no rows from {self.start_date or 'its start'} to "
                f"{self.end_date or 'its end'}; it covers {covered.min()!s} to {covered.max()!s}"
            )
        frame = sorted_unique(frame, KEYS, self.data_path.name, whole=ROW not in frame.columns)
        frame = adjust_labels(frame, self.horizons, self.labels, self.delisting_return)
        logger.info(
            "loaded %s: %s rows, %s features, targets %s; mapped %s; ignored %s; dropped %s",
            *(self.data_path, f"{frame.height:,}", len(self.feature_names), choices(self.target_names)),
            *(self.mapping, list(self.columns.ignored), self.dropped),
        )
        return frame

    def _selection(self, scan: pl.LazyFrame, features: Sequence[str]) -> pl.LazyFrame:
        """Keys under canonical names, not yet parsed; targets and features as Float32."""
        values = {name: pl.col(self._names.get(name, name)) for name in (*self.target_names, *features)}
        return scan.select(
            *(pl.col(self._names[key]).alias(key) for key in KEYS),
            *(value.cast(pl.Float32).fill_nan(None).alias(name) for name, value in values.items()),
        )

    def _bounds(self, day: pl.Expr) -> dict[str, pl.Expr]:
        """Conditions on the days kept, by the reason why other rows are dropped."""
        bounds = {}
        if self.start_date:
            bounds[f"before {self.start_date}"] = day >= self.start_date
        if self.end_date:
            bounds[f"after {self.end_date}"] = day <= self.end_date
        return bounds


def resolve_columns(
    schema: Mapping[str, pl.DataType],
    feature_columns: Sequence[str] | None = None,
    target_columns: Mapping[int, str] | None = None,
) -> Columns:
    """Find keys, targets and features by names and types.

    Raises:
        DataError: a key or named column is missing, there is no target, a target has two columns, a target or
            key is listed as a feature, or a named column is not numeric.

    >>> schema = {"Date": pl.Date(), "Code": pl.String(), "target_1d": pl.Float32(), "ret_1d": pl.Float32()}
    >>> resolve_columns(schema).features
    ('ret_1d',)
    """
    keys = find_columns(schema, KEYS, "the data set")
    targets = _resolve_targets(schema, target_columns)
    second_spellings = map_columns([name for name in schema if name not in keys], KEYS)
    taken = {*keys, *targets.values(), *filter(is_target_column, schema)}
    if feature_columns is None:
        numeric = [name for name, dtype in schema.items() if dtype.is_numeric() and name != BOOK_RETURN]
        features = tuple(name for name in numeric if name not in taken and name not in second_spellings)
        if not features:
            raise DataError(
                "a data set needs numeric columns besides keys and targets; this file has "
                f"{choices(schema)}; add features"
            )
    else:
        features = tuple(feature_columns)
        require_columns(schema, features, "feature_columns")
        if forbidden := [name for name in features if name in taken]:
            kinds = choices(f"{name} ({'a key' if name in keys else 'a target'})" for name in forbidden)
            raise DataError(
                f"feature_columns lists columns that can never be a feature: {kinds}; remove them from the "
                "list"
            )
        if not features or len(set(features)) < len(features):
            raise DataError(
                f"feature_columns needs distinct names, at least one; got {choices(features)}; name each once"
            )
        _require_numeric(schema, features, "feature")
    ignored = tuple(name for name in schema if name not in taken and name not in features)
    return Columns(keys, targets, features, ignored)


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
            f"{choices(schema)}. If one of them is a forward return, name it: "
            f"dataset.target_columns={{5: COLUMN}}"
        )
    if len(set(targets.values())) < len(targets):
        raise DataError(f"target_columns gives one column two horizons: {targets}; give each horizon its own")
    _require_numeric(schema, targets.values(), "target")
    return dict(sorted(targets.items()))


def _require_numeric(schema: Mapping[str, pl.DataType], names: Iterable[str], role: str) -> None:
    if wrong := [f"{name} ({schema[name]})" for name in names if not schema[name].is_numeric()]:
        raise DataError(f"{role} columns must be numeric; not so are {choices(wrong)}; convert them first")


def require_dataset(path: Path) -> None:
    """Refuse a path without a data set, with how to make one.

    Raises:
        DataError: neither a file nor a folder of Parquet files by year.
    """
    if path.is_file() or is_year_folder(path):
        return
    what = "is a folder without files such as year=2024/part.parquet" if path.is_dir() else "does not exist"
    raise DataError(
        f"{path} {what}. Make one from an embedded market with `gogooku3 data synth`, or from your prices "
        f"with `gogooku3 data build --prices FILE --out data/raw/large_scale/ml_dataset_full.parquet`"
    )


def _day_setting(name: str, value: dt.date | str | None) -> dt.date | None:
    if value is None or (isinstance(value, dt.date) and not isinstance(value, dt.datetime)):
        return value
    try:
        return dt.date.fromisoformat(str(value)[:10])
    except ValueError:
        raise ConfigError(f"{name} is {value!r}, which is not a date; write it as 2024-01-31") from None
