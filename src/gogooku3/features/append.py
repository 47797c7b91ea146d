"""New days for a data set that is there: only they are computed, and the targets that have become known.

The values are those of a whole build, bit for bit, for no feature looks back further than it says. What is
there is kept only when the same version built it from the same prices.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.data.panel import BLOCK_ROWS
from gogooku3.data.parquet_splice import Footer, splicing
from gogooku3.data.targets import add_targets
from gogooku3.errors import DataError
from gogooku3.features.compute import Progress
from gogooku3.features.dataset_metadata import PRICES_DIGEST, PricesDigest, read_build_metadata, write_dataset
from gogooku3.features.extra import compute_extra, extra_features
from gogooku3.features.tail import compute_tail
from gogooku3.files.atomic import temporary_folder_beside
from gogooku3.schema import DATE, KEYS

_ANEW = "build it anew, without --append"


class CannotAppend(DataError):
    """A data set that was built otherwise or from other prices; building it anew helps."""


@dataclass(frozen=True)
class Appendix:
    """What a data set lacks.

    Attributes:
        path: the data set.
        prices: all of them, sorted by (code, date).
        last: number of the data set's last day among the prices' days.
        days: of the prices, ascending.
        horizons: trading days ahead.
    """

    path: Path
    prices: pl.DataFrame
    last: int
    days: pl.Series
    horizons: tuple[int, ...]

    @staticmethod
    def of(
        path: Path,
        prices: pl.DataFrame,
        digest: PricesDigest,
        account: Mapping[str, Any],
        horizons: Sequence[int],
    ) -> "Appendix":
        """Compare a data set with prices, their digest, and the account of the build that would make it anew.

        Raises:
            CannotAppend: nothing can be appended, and why.
        """
        try:
            was = read_build_metadata(path)
        except DataError as error:
            raise CannotAppend(f"{path} is damaged, or no data set; {_ANEW}") from error
        if was is None or PRICES_DIGEST not in was:
            raise CannotAppend(f"{path} does not tell which prices it was built from; {_ANEW}")
        for key, what in (("version", "version"), ("targets", "targets"), ("features", "features")):
            if was[key] != account[key]:
                raise CannotAppend(
                    f"{path} was built with {_differing(what, was[key], account[key])}; {_ANEW}"
                )
        days = prices[DATE].unique().sort()
        last = dt.date.fromisoformat(was["prices"]["last_date"])
        known = (prices[DATE] <= last).sum()
        if known != was["rows"] or digest.up_to(last) != was[PRICES_DIGEST]:
            raise CannotAppend(
                f"the prices up to {last}, the last day of {path}, are not those it was built from "
                f"({known:,} rows now, {was['rows']:,} then): they were revised, or other stocks were "
                f"chosen; {_ANEW}"
            )
        return Appendix(path, prices, int((days <= last).sum()) - 1, days, tuple(horizons))

    @property
    def n_days(self) -> int:
        """Trading days to add."""
        return len(self.days) - 1 - self.last

    def rows(self, extra: Sequence[str], progress: Progress | None = None) -> pl.DataFrame:
        """What comes behind the row groups that stay: old rows with new targets, then new days."""
        old = sum(self._footer.group_rows)
        stay = self._kept * BLOCK_ROWS
        before = pl.scan_parquet(self.path).slice(stay, old - stay).collect()
        first = before[DATE][0] if before.height else self.days[self.last + 1]
        targets = self._targets(first)
        features = pl.concat([before.select(pl.exclude("^target_.*$")), self._features(extra, progress)])
        targets = targets.tail(features.height)
        if not targets.select(KEYS).equals(features.select(KEYS)):
            raise AssertionError("features and targets disagree about the rows")
        return targets.hstack(features.drop(KEYS).get_columns())

    @contextmanager
    def writing(self, path: Path) -> Iterator[Callable[[pl.DataFrame, Mapping[str, Any]], None]]:
        """Copy the row groups that stay to a file meanwhile; the function yielded puts rows behind them."""
        with splicing(self.path, self._footer, self._kept, path) as put_behind:

            def put_rows(rows: pl.DataFrame, account: Mapping[str, Any]) -> None:
                with temporary_folder_beside(self.path) as folder:
                    tail = Path(folder) / "tail.parquet"
                    write_dataset(rows, tail, account)
                    put_behind(tail)

            yield put_rows

    @cached_property
    def _footer(self) -> Footer:
        return Footer.read(self.path)

    @cached_property
    def _kept(self) -> int:
        """How many row groups hold no row whose target has become known, and have the size a build gives."""
        settled = self.days[max(0, self.last + 1 - max(self.horizons))]
        height = self.prices.select((pl.col(DATE) < settled).sum()).item()
        whole = 0
        for rows in self._footer.group_rows:
            if rows != BLOCK_ROWS or (whole + 1) * BLOCK_ROWS > height:
                break
            whole += 1
        return whole

    def _targets(self, first: Any) -> pl.DataFrame:
        """Keys and targets from a day on; no other day has a say in them."""
        recent = self.prices.filter(pl.col(DATE) >= first)
        return add_targets(recent.select(*KEYS, "close").sort(KEYS), self.horizons).drop("close")

    def _features(self, extra: Sequence[str], progress: Progress | None) -> pl.DataFrame:
        """Features of the new days, in the data set's order."""
        first, added = self.days[self.last + 1], extra_features(extra)
        frame = compute_tail(self.prices, first, progress)
        if not added:
            return frame
        longest = max(feature.lookback for feature in added)
        recent = self.prices.filter(pl.col(DATE) >= self.days[max(0, self.last + 1 - longest)])
        more = compute_extra(recent, extra).filter(pl.col(DATE) >= first)
        if not more.select(KEYS).equals(frame.select(KEYS)):
            raise AssertionError("families of features disagree about the rows")
        return frame.hstack(more.drop(KEYS))


def _differing(what: str, then: Any, now: Any) -> str:
    if isinstance(then, list):
        lost, new = sorted(set(then) - set(now)), sorted(set(now) - set(then))
        return f"other {what} (only then: {', '.join(lost) or 'none'}; only now: {', '.join(new) or 'none'})"
    return f"{what} {then}, this is {now}"
