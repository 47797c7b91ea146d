"""New days for a data set that is there: only they are computed, and the targets that have become known.

The values are those of a whole build, bit for bit, for no feature looks back further than it says. What is
there is kept only when the same version built it from the same prices.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.atomic import temporary_folder_beside
from gogooku3.data.panel_reader import BLOCK_ROWS
from gogooku3.data.parquet_splice import Footer, splice
from gogooku3.data.targets import add_targets
from gogooku3.errors import DataError
from gogooku3.features.catalog import CATALOG, FEATURE_NAMES, HISTORY_DAYS
from gogooku3.features.compute import Progress, compute_features
from gogooku3.features.dataset_file import PricesDigest, read_account, write_dataset
from gogooku3.features.extra import compute_extra, extra_features
from gogooku3.features.grid import STALE_DAYS
from gogooku3.schema import CODE, DATE, KEYS

BAR_FAMILY = "technical"
"""Features that count a stock's own bars, however many days lie between them."""
_BARS_AFTER = "bars after"
_STEPS = (0, 25, 65, 130, 270, 10_000)
"""Lookbacks are grouped by these, so that many short ones are not computed over the days of few long ones."""

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
        was = read_account(path)
        if was is None or "prices_digest" not in was:
            raise CannotAppend(f"{path} does not tell which prices it was built from; {_ANEW}")
        for key, what in (("version", "version"), ("targets", "targets"), ("features", "features")):
            if was[key] != account[key]:
                raise CannotAppend(
                    f"{path} was built with {_differing(what, was[key], account[key])}; {_ANEW}"
                )
        days = prices[DATE].unique().sort()
        last = dt.date.fromisoformat(was["prices"]["last_date"])
        known = (prices[DATE] <= last).sum()
        if known != was["rows"] or digest.up_to(last) != was["prices_digest"]:
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

    def write(self, rows: pl.DataFrame, path: Path, account: Mapping[str, Any]) -> None:
        """Write the row groups that stay, then `rows`."""
        with temporary_folder_beside(self.path) as folder:
            tail = Path(folder) / "tail.parquet"
            write_dataset(rows, tail, account)
            with path.open("wb") as out:
                splice(self.path, self._footer, self._kept, tail, out)

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
        parts = []
        for low, high in pairwise(_STEPS):
            group = [feature for feature in CATALOG if low <= feature.lookback < high]
            by_bar = [feature for feature in group if feature.family == BAR_FAMILY]
            by_day = [feature for feature in group if feature.family != BAR_FAMILY]
            if by_bar:
                longest = max(feature.lookback for feature in by_bar)
                parts.append(compute_features(self._last_bars(longest + 1), progress, by_bar))
            if by_day:
                longest = max(feature.lookback for feature in by_day)
                parts.append(compute_features(self._last_days(longest), progress, by_day))
        if added:
            longest = max(feature.lookback for feature in added)
            parts.append(compute_extra(self._last_days(longest), extra))
        made = [part.filter(pl.col(DATE) >= first) for part in parts]
        if any(not part.select(KEYS).equals(made[0].select(KEYS)) for part in made):
            raise AssertionError("families of features disagree about the rows")
        frame = pl.concat([made[0], *(part.drop(KEYS) for part in made[1:])], how="horizontal")
        return frame.select(*KEYS, *FEATURE_NAMES, *(feature.name for feature in added))

    def _last_days(self, count: int) -> pl.DataFrame:
        """The new days and as many before them, and some: a previous close may be `STALE_DAYS` old."""
        start = self.days[max(0, self.last + 1 - count - 2 * STALE_DAYS)]
        return self.prices.filter(pl.col(DATE) >= start)

    def _last_bars(self, count: int) -> pl.DataFrame:
        """The new days' stocks, each with as many bars of its own before them."""
        return self._bars.filter(pl.col(_BARS_AFTER) <= count).drop(_BARS_AFTER)

    @cached_property
    def _bars(self) -> pl.DataFrame:
        """The new days' stocks, with each row's number of bars from itself up to the new days."""
        first = self.days[self.last + 1]
        fresh = self.prices.filter(pl.col(DATE) >= first).select(pl.col(CODE).unique())
        is_bar = pl.all_horizontal(pl.col("high", "low", "close").is_not_null()) & (pl.col(DATE) < first)
        after = is_bar.cum_sum(reverse=True).over(CODE).alias(_BARS_AFTER)
        own = self.prices.join(fresh, on=CODE, how="semi", maintain_order="left")
        return own.with_columns(after).filter(pl.col(_BARS_AFTER) <= HISTORY_DAYS)


def _differing(what: str, then: Any, now: Any) -> str:
    if isinstance(then, list):
        lost, new = sorted(set(then) - set(now)), sorted(set(now) - set(then))
        return f"other {what} (only then: {', '.join(lost) or 'none'}; only now: {', '.join(new) or 'none'})"
    return f"{what} {then}, this is {now}"
