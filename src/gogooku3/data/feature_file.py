"""Reads a model's features of some days from a data set. No target is read."""

import datetime as dt
from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from gogooku3.data.dataset import require_dataset
from gogooku3.data.parsing import parse_dates, read_keys, readable, refuse_missing
from gogooku3.data.prices import sorted_unique
from gogooku3.errors import DataError, choices
from gogooku3.files.tables import collect, scan_table
from gogooku3.schema import DATE, KEYS, feature_columns, find_columns, map_columns


class FeatureFile:
    """A data set as a trained model reads it: `date, code` and the model's features.

    The constructor checks the columns by the schema; `read` reads rows. Targets are optional and ignored.

    Args:
        data_path: a Parquet or CSV file with one row per stock and day, or a folder of Parquet files by year.
        features: names of the model's features, in its order.
        all_columns: True if the model was trained on every numeric column; a further column is then an error.
        not_features: further columns that are not features, such as targets with other names.

    Raises:
        DataError: no such data set, no key columns, or missing or further features, which are named.
    """

    def __init__(
        self,
        data_path: Path | str,
        features: Sequence[str],
        *,
        all_columns: bool = False,
        not_features: Collection[str] = (),
    ) -> None:
        self.data_path = Path(data_path)
        self.features = tuple(features)
        require_dataset(self.data_path)
        self._scan = scan_table(self.data_path, typed=True)
        self._schema = self._scan.collect_schema()
        keys = find_columns(self._schema, KEYS, self.data_path.name)
        self._keys = {canonical: name for name, canonical in keys.items()}
        self._refuse_differences(all_columns, {*self._keys.values(), *not_features})

    def days(self) -> pl.Series:
        """Every day of the data set, ascending; only the column of days is read.

        Raises:
            DataError: there is no row, or one without a day, or a day is unreadable.
        """
        column = self._scan.select(pl.col(self._keys[DATE]).alias(DATE))
        days = self._parsed(column.unique()).unique().sort()
        if days.is_empty():
            raise DataError(f"{self.data_path} has no rows; build it again")
        if days.null_count():
            refuse_missing(self._parsed(column), self.data_path.name)
        return days

    def _parsed(self, days: pl.LazyFrame) -> pl.Series:
        parsed = parse_dates(collect(days, self.data_path)[DATE])
        return readable(parsed, DATE, self.data_path.name, "write days as 2024-01-31")

    def read(self, first: dt.date, last: dt.date) -> pl.DataFrame:
        """Read the rows from the first to the last day: `date: Date, code: String`, features as Float32.

        Sorted by (date, code); NaN is null. From a Parquet file with days as dates, only these rows are read.

        Raises:
            DataError: a key is unreadable or duplicate.
        """
        scan, day = self._scan, pl.col(self._keys[DATE])
        if isinstance(dtype := self._schema[self._keys[DATE]], pl.Date | pl.Datetime):
            scan = scan.filter((day if dtype == pl.Date else day.dt.date()).is_between(first, last))
        selected = scan.select(
            *(pl.col(name).alias(key) for key, name in self._keys.items()),
            *(pl.col(name).cast(pl.Float32).fill_nan(None) for name in self.features),
        )
        frame = collect(selected, self.data_path)
        frame = frame.with_columns(read_keys(frame, self.data_path.name))
        return sorted_unique(frame.filter(pl.col(DATE).is_between(first, last)), KEYS, self.data_path.name)

    def _refuse_differences(self, all_columns: bool, others: Collection[str]) -> None:
        name, schema = self.data_path.name, self._schema
        missing = [feature for feature in self.features if feature not in schema]
        extra = [
            column
            for column in feature_columns(schema)
            if column not in self.features and column not in others and not map_columns([column], KEYS)
        ]
        if missing:
            instead = f" and has {choices(extra)}, which it was not trained on" if extra else ""
            raise DataError(
                f"{name} lacks {len(missing)} of the {len(self.features)} features that the model was "
                f"trained on, {choices(missing)}{instead}; build it as the training data was built"
            )
        if extra and all_columns:
            raise DataError(
                f"{name} has {len(extra)} numeric columns that the model was not trained on: "
                f"{choices(extra)}; leave them out of the file, or train with dataset.feature_columns, which "
                "names the features"
            )
        if text := [f"{f} ({schema[f]})" for f in self.features if not schema[f].is_numeric()]:
            raise DataError(
                f"{name}: features must be numeric; not so are {choices(text)}; convert them first"
            )
