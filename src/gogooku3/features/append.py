"""Appends the days that a data set lacks; the result is bit-identical to a full rebuild.

Only the new days' features are computed, as no feature looks back further than its lookback, and the targets
that have become known.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.data.book_returns import add_book_returns
from gogooku3.data.targets import add_targets
from gogooku3.errors import DataError
from gogooku3.features.compute import Progress
from gogooku3.features.dataset_metadata import PRICES_FINGERPRINT, by_file, read_build_metadata, write_file
from gogooku3.features.extra import compute_extra, extra_features
from gogooku3.features.tail import compute_tail
from gogooku3.files.fingerprint import frame_fingerprint
from gogooku3.files.tables import read_table
from gogooku3.files.year_folder import table_files
from gogooku3.schema import BOOK_RETURN, CODE, DATE, KEYS, is_target_column

_REBUILD = "build it again, without --append"
_UNKNOWN = f"{{}} does not record which prices it was built from; {_REBUILD}"


class CannotAppend(DataError):
    """The data set was built differently or from other prices; building it again helps."""


@dataclass(frozen=True)
class MissingDays:
    """The days that a data set lacks.

    Attributes:
        out: file or folder of the data set.
        prices: all prices, sorted by (code, date).
        days: trading days of the prices, ascending.
        last: index of the data set's last day among `days`.
        interrupted: an append to the folder was cut off between two files; its last targets may be newer than
            its last day.
        horizons: of the targets, in trading days.
    """

    out: Path
    prices: pl.DataFrame
    days: pl.Series
    last: int
    interrupted: bool
    horizons: tuple[int, ...]

    @staticmethod
    def find(
        out: Path, prices: pl.DataFrame, metadata: Mapping[str, Any], horizons: Sequence[int]
    ) -> "MissingDays":
        """Compare a data set with the prices, and with the metadata of a full rebuild from them.

        Raises:
            CannotAppend: it was built from other prices, by another version, or with other columns.
        """
        before, newest = dt.date.min, ""
        for file in table_files(out):
            try:
                built = read_build_metadata(file)
            except DataError as error:
                raise CannotAppend(f"{file} is damaged, or not a data set; {_REBUILD}") from error
            if built is None:
                raise CannotAppend(_UNKNOWN.format(file))
            # The number of the formulas was not recorded before it was 2.
            built = {"formulas": 1, **built}
            for key in ("version", "formulas", "targets", "features"):
                if built.get(key) != metadata[key]:
                    raise CannotAppend(
                        f"{file} was built with {_differing(key, built.get(key), metadata[key])}; {_REBUILD}"
                    )
            if not built.keys() >= {PRICES_FINGERPRINT, "prices", "rows", "last_day"}:
                raise CannotAppend(_UNKNOWN.format(file))
            last_day = dt.date.fromisoformat(built["last_day"])
            # From the previous file's last day on, so that a year that is gone is noticed.
            own_prices = prices.filter((pl.col(DATE) > before) & (pl.col(DATE) <= last_day))
            if frame_fingerprint(own_prices, (CODE, DATE)) != built[PRICES_FINGERPRINT]:
                raise CannotAppend(
                    f"the prices up to {last_day}, the last day of {file}, are not those it was built from "
                    f"({own_prices.height:,} rows now, {built['rows']:,} then): they were revised, or other "
                    f"stocks were chosen; {_REBUILD}"
                )
            before, newest = last_day, max(newest, built["prices"]["last_date"])
        days = prices[DATE].unique().sort()
        last = int((days <= before).sum()) - 1
        return MissingDays(out, prices, days, last, newest > str(before), tuple(horizons))

    @property
    def n_days(self) -> int:
        """Trading days to append."""
        return len(self.days) - 1 - self.last

    def features(self, extra: Sequence[str], progress: Progress | None = None) -> pl.DataFrame | None:
        """Keys, features and `book_return` of the new days, by (date, code); None without new days."""
        if not self.n_days:
            return None
        first = self.days[self.last + 1]
        books = add_book_returns(self.prices).filter(pl.col(DATE) >= first)
        frame = compute_tail(self.prices, first, progress)
        if not books.select(KEYS).equals(frame.select(KEYS)):
            raise AssertionError("features and returns disagree about the rows")
        if not extra:
            return frame.insert_column(len(KEYS), books[BOOK_RETURN])
        longest = max(feature.lookback for feature in extra_features(extra))
        recent = self.prices.filter(pl.col(DATE) >= self.days[max(0, self.last + 1 - longest)])
        more = compute_extra(recent, extra).filter(pl.col(DATE) >= first)
        if not more.select(KEYS).equals(frame.select(KEYS)):
            raise AssertionError("families of features disagree about the rows")
        return frame.hstack(more.drop(KEYS)).insert_column(len(KEYS), books[BOOK_RETURN])

    def write(self, features: pl.DataFrame | None, metadata: Mapping[str, Any]) -> list[Path]:
        """Write the new days' features and the targets that have become known; return the files written.

        A folder's files are replaced one by one, earliest first: after an interruption the data set ends at
        an earlier day, and the next append writes the rest.
        """
        # The first day whose targets were unknown before.
        changed = self.days[max(0, self.last + 1 - max(self.horizons))]
        recent = self.prices.filter(pl.col(DATE) >= changed).select(*KEYS, "close").sort(KEYS)
        targets = add_targets(recent, self.horizons).drop("close")
        written = []
        for file, new_targets in by_file(targets, self.out):
            first, last = new_targets[DATE][0], new_targets[DATE][-1]
            parts = [] if features is None else [features.filter(pl.col(DATE).is_between(first, last))]
            unchanged = []
            if file.is_file():
                old = read_table(file)
                n_unchanged = int((old[DATE] < first).sum())
                unchanged = [old.head(n_unchanged)]
                old_targets = [name for name in old.columns if is_target_column(name)]
                parts.insert(0, old.slice(n_unchanged).drop(old_targets))
            rows = pl.concat(parts)
            if not rows.select(KEYS).equals(new_targets.select(KEYS)):
                raise AssertionError("features and targets disagree about the rows")
            rows = pl.concat([*unchanged, new_targets.hstack(rows.drop(KEYS).get_columns())])
            write_file(rows, file, self.prices, metadata, beside=self.out)
            written.append(file)
        return written


def _differing(key: str, then: Any, now: Any) -> str:
    if isinstance(then, list):
        lost, new = sorted(set(then) - set(now)), sorted(set(now) - set(then))
        return f"other {key} (only then: {', '.join(lost) or 'none'}; only now: {', '.join(new) or 'none'})"
    return f"{key} {then}, this is {now}"
