"""Describes a table: kind, rows, days, stocks, columns by family, targets. `data validate` checks it."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from polars import selectors

from gogooku3.data.labels import label_counts
from gogooku3.data.parsing import read_keys
from gogooku3.data.price_files import scan_prices
from gogooku3.data.prices import COLUMNS
from gogooku3.data.quality.survivors import alive_stocks, survivorship_warning
from gogooku3.features.catalog import CATALOG, Feature
from gogooku3.features.dataset_metadata import read_build_metadata
from gogooku3.features.extra import EXTRA, ExtraFeature
from gogooku3.files.fingerprint import table_fingerprint
from gogooku3.files.tables import collect, scan_table
from gogooku3.files.year_folder import is_year_folder, table_files
from gogooku3.schema import (
    BOOK_RETURN,
    CODE,
    DATE,
    KEYS,
    OHLCV,
    PREDICTION_COLUMNS,
    find_columns,
    is_target_column,
    map_columns,
)

Kind = Literal["data set", "prices", "predictions", "table"]


_COLUMNS_AT_A_TIME = 40
_Scans = Mapping[Path, pl.LazyFrame]


@dataclass(frozen=True)
class ColumnFamily:
    """Columns of one family of the catalogue, or of another group, such as `targets` or `other`."""

    name: str
    columns: dict[str, float]
    """Share of rows with null, by column."""
    lookback: tuple[int, int] | None
    """Shortest and longest, in trading days before a row's own; None outside the catalogue."""

    @property
    def missing(self) -> float:
        """Mean share of nulls."""
        return sum(self.columns.values()) / len(self.columns)


@dataclass(frozen=True)
class TargetSpread:
    """Distribution of a target over the rows where it is finite; None if there are none."""

    horizon: str
    """Such as `5d`; the column's name if it names no horizon."""
    missing: float
    """Share of rows with null, NaN or infinity."""
    mean: float | None
    std: float | None
    low: float | None
    """1 % of the values are below."""
    high: float | None
    """1 % of the values are above."""


@dataclass(frozen=True)
class TableDescription:
    """Description of one file, or of a folder of files read as one table."""

    path: str
    kind: Kind
    files: int
    bytes: int
    rows: int
    n_days: int
    first_date: dt.date | None
    last_date: dt.date | None
    n_stocks: int
    n_alive: int
    """Stocks with a row on one of the last `survivors.ENDED_DAYS` trading days; the others ended before."""
    warning: str | None
    """Set if the table seems to hold survivors only; see `survivorship_warning`."""
    families: tuple[ColumnFamily, ...]
    targets: tuple[TargetSpread, ...]
    labels: dict[str, dict[str, int]]
    """Of a data set: rows whose target has no close of its own, by horizon and reason; see `label_counts`."""
    models: tuple[str, ...]
    """Of predictions."""
    fingerprint: str | None
    """Of a single file or a folder by year, as in a run's manifest; None for other folders."""
    built: dict[str, Any] | None
    """Recorded by `data build`: version, names of the price files, their fingerprint."""

    def to_dict(self) -> dict[str, Any]:
        """The description as plain values for JSON (days as ISO text)."""
        days = {"first_date": self.first_date, "last_date": self.last_date}
        return asdict(self) | {name: day and day.isoformat() for name, day in days.items()}


def describe_table(path: Path | str) -> TableDescription:
    """Describe a CSV or Parquet file of rows by day and stock, or a folder of such files as one table.

    Raises:
        DataError: no such path, a file can't be read, or it has no days and codes.
    """
    root = Path(path)
    one_table = root.is_file() or is_year_folder(root)
    if one_table:
        files = table_files(root)
        scans = {file: scan_table(file, typed=True) for file in files}
    else:
        scans = scan_prices(root, typed=True).scans
        files = list(scans)
    schema: dict[str, pl.DataType] = {}
    for scan in scans.values():
        schema |= scan.collect_schema()
    kind = _kind(schema)
    keys = pl.concat([_keys(file, scan) for file, scan in scans.items()])
    days = keys[DATE].unique().sort()
    metadata = read_build_metadata(root) if one_table else None
    models = _read(scans, ["model"])["model"] if kind == "predictions" else pl.Series(dtype=pl.String)
    return TableDescription(
        path=str(path),
        kind=kind,
        files=len(files),
        bytes=sum(file.stat().st_size for file in files),
        rows=keys.height,
        n_days=days.len(),
        first_date=days[0] if days.len() else None,
        last_date=days[-1] if days.len() else None,
        n_stocks=keys[CODE].n_unique(),
        n_alive=alive_stocks(keys),
        warning=survivorship_warning(keys) if kind in ("data set", "prices") else None,
        families=tuple(_families(_missing(scans, schema, keys.height), kind)),
        targets=tuple(_targets(scans, schema, kind)),
        labels=label_counts(keys, _horizons(schema)) if kind == "data set" else {},
        models=tuple(models.cast(pl.String).unique().drop_nulls().sort()),
        fingerprint=table_fingerprint(root) if one_table else None,
        built=metadata and {name: metadata.get(name) for name in ("version", "source", "fingerprint")},
    )


def _kind(schema: Mapping[str, pl.DataType]) -> Kind:
    if set(PREDICTION_COLUMNS) <= set(schema):
        return "predictions"
    if any(map(is_target_column, schema)):
        return "data set"
    return "prices" if set(OHLCV) <= set(map_columns(schema, COLUMNS).values()) else "table"


def _horizons(schema: Mapping[str, pl.DataType]) -> list[int]:
    return sorted(int(name[len("target_") : -1]) for name in schema if is_target_column(name))


def _keys(file: Path, scan: pl.LazyFrame) -> pl.DataFrame:
    """`date: Date, code: String` of every row."""
    names = find_columns(scan.collect_schema(), KEYS, file.name)
    frame = collect(scan.select(pl.col(name).alias(key) for name, key in names.items()), file)
    return frame.select(read_keys(frame, file.name))


def _missing(scans: _Scans, schema: Mapping[str, pl.DataType], rows: int) -> dict[str, float]:
    """Share of nulls by column except the keys. A column that a file lacks is null in all its rows."""
    keys = map_columns(schema, KEYS)
    known = dict.fromkeys((name for name in schema if name not in keys), 0)
    for file, scan in scans.items():
        present = [name for name in scan.collect_schema() if name in known]
        # Some columns at a time bound the memory.
        for start in range(0, len(present), _COLUMNS_AT_A_TIME):
            names = present[start : start + _COLUMNS_AT_A_TIME]
            for name, count in collect(scan.select(pl.col(names).count()), file).row(0, named=True).items():
                known[name] += count
    return {name: (rows - count) / max(rows, 1) for name, count in known.items()}


def _families(missing: Mapping[str, float], kind: Kind) -> list[ColumnFamily]:
    """Columns by family, in the order of the file; keys have no family."""
    features: Sequence[Feature | ExtraFeature] = (*CATALOG, *EXTRA) if kind == "data set" else ()
    catalogue = {feature.name: feature for feature in features}
    prices = map_columns(missing, COLUMNS) if kind == "prices" else {}
    columns: dict[str, dict[str, float]] = {}
    lookbacks: dict[str, list[int]] = {}
    for name, share in missing.items():
        if feature := catalogue.get(name):
            family = feature.family
            lookbacks.setdefault(family, []).append(feature.lookback)
        elif kind == "data set" and is_target_column(name):
            family = "targets"
        elif kind == "data set" and name == BOOK_RETURN:
            family = "portfolios"
        elif name in PREDICTION_COLUMNS and kind == "predictions":
            family = "predictions"
        else:
            family = "prices" if name in prices else "other"
        columns.setdefault(family, {})[name] = share
    return [
        ColumnFamily(name, held, (min(days), max(days)) if (days := lookbacks.get(name)) else None)
        for name, held in columns.items()
    ]


def _targets(scans: _Scans, schema: Mapping[str, pl.DataType], kind: Kind) -> list[TargetSpread]:
    if kind == "predictions":
        # Every model has its own row for the same target.
        rows = _read(scans, [DATE, CODE, "horizon", "target"]).unique().sort("horizon")
        by_horizon = rows.partition_by("horizon", maintain_order=True)
        return [_spread(f"{rows['horizon'][0]}d", rows["target"]) for rows in by_horizon]
    names = [name for name in schema if kind == "data set" and is_target_column(name)]
    table = _read(scans, names) if names else pl.DataFrame()
    return [_spread(name.removeprefix("target_"), table[name]) for name in names]


def _spread(horizon: str, values: pl.Series) -> TargetSpread:
    numbers = values.cast(pl.Float64, strict=False)
    # Sorted once, for two quantiles.
    known = numbers.filter(numbers.is_finite()).sort()
    spread = (known.mean(), known.std(), known.quantile(0.01), known.quantile(0.99))
    return TargetSpread(horizon, 1 - known.len() / max(values.len(), 1), *spread)  # type: ignore[arg-type]


def _read(scans: _Scans, names: Sequence[str]) -> pl.DataFrame:
    """Columns of all files, concatenated; columns that a file lacks are null."""
    columns = selectors.by_name(*names, require_all=False)
    parts = [collect(scan.select(columns), file) for file, scan in scans.items()]
    return pl.concat(parts, how="diagonal_relaxed")
