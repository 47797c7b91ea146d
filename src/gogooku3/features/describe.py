"""Says what a table file holds: kind, rows, days, stocks, columns by family, targets. It judges nothing.

`data validate` judges. Here the footer of a Parquet file tells what it can; of the rest, only keys and
targets are read.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import polars as pl

from gogooku3.data.dataset import file_fingerprint
from gogooku3.data.parquet_layout import ParquetLayout, read_layout
from gogooku3.data.parsing import read_keys
from gogooku3.data.prices import COLUMNS, price_files
from gogooku3.features.catalog import CATALOG, Feature
from gogooku3.features.dataset_metadata import read_build_metadata
from gogooku3.features.extra import EXTRA, ExtraFeature
from gogooku3.files.tables import collect, scan_table
from gogooku3.schema import (
    CODE,
    DATE,
    KEYS,
    OHLCV,
    PREDICTION_COLUMNS,
    is_target_column,
    map_columns,
    require_columns,
)

Kind = Literal["data set", "prices", "predictions", "table"]

ENDED_DAYS = 20
"""A stock without a row on the last so many trading days has ended: a month is no suspension any more."""

TARGETS, PRICES, PREDICTIONS, OTHER = "targets", "prices", "predictions", "other"
"""Families of columns that the catalogue doesn't list; keys are of none."""


@dataclass(frozen=True)
class ColumnFamily:
    """Columns of one family of the catalogue, or of `targets`, `prices`, `predictions` or `other`."""

    name: str
    columns: dict[str, float]
    """Share of the rows in which each is null."""
    lookback: tuple[int, int] | None
    """Shortest and longest, in trading days before a row's own; None outside the catalogue."""

    @property
    def missing(self) -> float:
        """Mean share of nulls."""
        return sum(self.columns.values()) / len(self.columns)


@dataclass(frozen=True)
class TargetSpread:
    """How a target lies, over all rows in which it is finite; None where it never is."""

    horizon: str
    """Such as `5d`; the column's own name where it tells no horizon."""
    missing: float
    """Share of the rows in which it is null, NaN or infinite."""
    mean: float | None
    std: float | None
    low: float | None
    """1 % of the values are below."""
    high: float | None
    """1 % of the values are above."""


@dataclass(frozen=True)
class TableDescription:
    """What one file, or a folder of them read as one table, holds."""

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
    """Stocks with a row on one of the last `ENDED_DAYS` trading days; the others ended before."""
    compression: tuple[str, ...]
    """Codecs of Parquet files; nothing for CSV."""
    row_groups: int
    largest_row_group: int
    """In rows."""
    written_by: str | None
    families: tuple[ColumnFamily, ...]
    targets: tuple[TargetSpread, ...]
    models: tuple[str, ...]
    """Of predictions."""
    fingerprint: str | None
    """Of a single file, as a run's manifest records it; None for a folder."""
    built: dict[str, Any] | None
    """What `data build` recorded of itself: version, names of the price files, their SHA-256."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON (days as ISO text)."""
        days = {"first_date": self.first_date, "last_date": self.last_date}
        return asdict(self) | {name: day and day.isoformat() for name, day in days.items()}


class _Part(NamedTuple):
    """One file; its layout if it is Parquet."""

    file: Path
    scan: pl.LazyFrame
    layout: ParquetLayout | None


def describe_table(path: Path | str) -> TableDescription:
    """Describe a CSV or Parquet file of rows by day and stock, or a folder of such files as one table.

    Raises:
        DataError: nothing is there, a file can't be read, or it has no days and codes.
    """
    parts = [_part(file) for file in price_files(path)]
    schema: dict[str, pl.DataType] = {}
    for part in parts:
        schema |= part.scan.collect_schema()
    kind = _kind(schema)
    keys = pl.concat([_keys(part) for part in parts])
    days, alive = _calendar(keys)
    layouts = [part.layout for part in parts if part.layout]
    alone = parts[0].file if len(parts) == 1 else None
    account = read_build_metadata(alone) if alone and layouts else None
    return TableDescription(
        path=str(path),
        kind=kind,
        files=len(parts),
        bytes=sum(part.file.stat().st_size for part in parts),
        rows=keys.height,
        n_days=days.len(),
        first_date=days[0] if days.len() else None,
        last_date=days[-1] if days.len() else None,
        n_stocks=alive.len(),
        n_alive=int(alive.sum()),
        compression=tuple(sorted({codec for layout in layouts for codec in layout.compression})),
        row_groups=sum(len(layout.row_groups) for layout in layouts),
        largest_row_group=max((rows for layout in layouts for rows in layout.row_groups), default=0),
        written_by=layouts[0].written_by if layouts else None,
        families=tuple(_families(_missing(parts, schema, keys.height), kind)),
        targets=tuple(_targets(parts, schema, kind)),
        models=_models(parts) if kind == "predictions" else (),
        fingerprint=file_fingerprint(alone) if alone else None,
        built=account and {name: account.get(name) for name in ("version", "source", "fingerprint")},
    )


def _part(file: Path) -> _Part:
    scan = scan_table(file, typed=True)
    columns = scan.collect_schema().names()
    names = map_columns(columns, KEYS)
    if set(names.values()) != set(KEYS):
        require_columns(columns, KEYS, f"{file.name} (or another usual spelling of them)")
    return _Part(file, scan, read_layout(file) if file.name.lower().endswith(".parquet") else None)


def _kind(schema: Mapping[str, pl.DataType]) -> Kind:
    if set(PREDICTION_COLUMNS) <= set(schema):
        return "predictions"
    if any(map(is_target_column, schema)):
        return "data set"
    return "prices" if set(OHLCV) <= set(map_columns(schema, COLUMNS).values()) else "table"


def _keys(part: _Part) -> pl.DataFrame:
    """`date: Date, code: String` of every row."""
    names = {key: name for name, key in map_columns(part.scan.collect_schema(), KEYS).items()}
    frame = collect(part.scan.select(pl.col(names[key]).alias(key) for key in KEYS), part.file)
    return frame.select(read_keys(frame, part.file.name))


def _calendar(keys: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """The trading days, ascending, and of each stock whether it is alive at the end."""
    days = keys[DATE].unique().sort()
    last = keys.group_by(CODE).agg(pl.col(DATE).max())[DATE]
    return days, last >= days[-min(ENDED_DAYS, days.len())] if days.len() else last.is_not_null()


def _missing(parts: Sequence[_Part], schema: Mapping[str, pl.DataType], rows: int) -> dict[str, float]:
    """Share of nulls by column, keys left out. A column that a file lacks is unknown in all its rows."""
    keys = map_columns(schema, KEYS)
    counts = dict.fromkeys((name for name in schema if name not in keys), 0)
    for part in parts:
        own, height = _nulls(part)
        for name in counts:
            counts[name] += own.get(name, height)
    return {name: count / max(rows, 1) for name, count in counts.items()}


def _nulls(part: _Part) -> tuple[dict[str, int], int]:
    """Nulls by column and rows of one file; from its footer where that counts them."""
    names = part.scan.collect_schema().names()
    counted = part.layout.nulls if part.layout else {}
    found = {name: n for name, n in counted.items() if n is not None}
    uncounted = [name for name in names if name not in found]
    if part.layout and not uncounted:
        return found, part.layout.rows
    nulls = (pl.col(name).null_count().alias(f"nulls {name}") for name in uncounted)
    height, *read = collect(part.scan.select(pl.len(), *nulls), part.file).row(0)
    return found | dict(zip(uncounted, read, strict=True)), height


def _families(missing: Mapping[str, float], kind: Kind) -> list[ColumnFamily]:
    """Columns by family, in the order of the file."""
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
            family = TARGETS
        elif name in PREDICTION_COLUMNS and kind == "predictions":
            family = PREDICTIONS
        else:
            family = PRICES if name in prices else OTHER
        columns.setdefault(family, {})[name] = share
    return [
        ColumnFamily(name, held, (min(days), max(days)) if (days := lookbacks.get(name)) else None)
        for name, held in columns.items()
    ]


def _targets(parts: Sequence[_Part], schema: Mapping[str, pl.DataType], kind: Kind) -> list[TargetSpread]:
    if kind == "predictions":
        # Every model has a row of its own for one target.
        rows = _read(parts, [DATE, CODE, "horizon", "target"]).unique().sort("horizon")
        by_horizon = rows.partition_by("horizon", maintain_order=True)
        return [_spread(f"{rows['horizon'][0]}d", rows["target"]) for rows in by_horizon]
    names = [name for name in schema if kind == "data set" and is_target_column(name)]
    table = _read(parts, names) if names else pl.DataFrame()
    return [_spread(name.removeprefix("target_"), table[name]) for name in names]


def _spread(horizon: str, values: pl.Series) -> TargetSpread:
    numbers = values.cast(pl.Float64, strict=False)
    # Sorted once, for two quantiles.
    known = numbers.filter(numbers.is_finite()).sort()
    figures = (known.mean(), known.std(), known.quantile(0.01), known.quantile(0.99))
    return TargetSpread(horizon, 1 - known.len() / max(values.len(), 1), *figures)  # type: ignore[arg-type]


def _models(parts: Sequence[_Part]) -> tuple[str, ...]:
    return tuple(_read(parts, ["model"])["model"].cast(pl.String).unique().drop_nulls().sort())


def _read(parts: Sequence[_Part], names: Sequence[str]) -> pl.DataFrame:
    """Some columns of all files, one below the other; those that a file lacks are null."""
    read = []
    for part in parts:
        present = part.scan.collect_schema()
        read.append(collect(part.scan.select(name for name in names if name in present), part.file))
    return pl.concat(read, how="diagonal_relaxed")
