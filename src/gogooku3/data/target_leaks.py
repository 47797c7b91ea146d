"""Finds features that hold the future: what follows a target more closely than any forecast can.

Ranks within a day are compared. A weak leak passes here; the audit looks for those.
"""

import datetime as dt
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import polars as pl

from gogooku3.data.later_returns import LaterReturns, later_returns
from gogooku3.schema import DATE

LIMIT, SUSPECT = 0.6, 0.3
"""|Mean rank correlation| within a day from which a feature is refused, and from which it is reported.

The best real forecasts of a day's returns reach 0.1, and no honest feature of the synthetic market 0.2. A
copy has 1.0, its sign 0.87, "up tomorrow" 0.77, the next day's open 0.70, two-day returns 0.69.
"""
_COPY = 0.8
"""Mean |rank correlation| within a day from which a feature is a copy, even if its sign changes by day."""
_ERRORS = 5.0
"""Standard errors of chance that a correlation below `_COPY` must exceed."""
_FUTURE_NAME = re.compile(
    r"(^|[^a-z])(targets?|labels?|fwd|forward|fut|future|next|tomorrow|lead|ahead)([^a-z]|$)"
    r"|(^|[^a-z])t\+\d|翌日|翌営業日|明日|将来"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

MIN_PAIRS = 5
"""Known pairs below which a day's rank correlation is mostly chance."""
MIN_EVIDENCE = 60
"""Sum over days of (pairs - 1) below which chance could reach the limit; from here on the limit is five
standard deviations away."""
MIN_POOLED = 30
"""Pairs of all days together from which their rank correlation is used, where single days have too few."""
DAYS, STOCKS, POOLED = 60, 64, 5000
"""Largest numbers of days compared, rows of each day, and rows of all days together; evenly spread."""

_SCREEN, _SCREEN_COPY = 0.2, 0.5
_DAY = " day"
"""Name of the column of days in tables here, which no data set uses."""

Take = Callable[[np.ndarray, Sequence[str]], pl.DataFrame]
"""Reads rows by number and columns by name."""


@dataclass(frozen=True)
class TargetCopy:
    """A feature that follows a target more closely than a forecast can.

    Attributes:
        correlation: |mean rank correlation| over the days with enough pairs; of copies whose sign changes,
            the mean of its absolute value.
        days: the first days on which both are known, at most three.
        is_change: the change of the feature since the stock's previous row follows the target, as that of
            the next close does, which is a price and itself follows no return.
    """

    feature: str
    target: str
    correlation: float
    days: tuple[dt.date, ...]
    is_change: bool = False

    @property
    def is_refused(self) -> bool:
        """True if no honest feature is that close; otherwise it is reported."""
        return self.correlation >= LIMIT

    def __str__(self) -> str:
        subject = f"the change of {self.feature}" if self.is_change else self.feature
        return (
            f"{subject} follows {self.target} (rank correlation within a day {self.correlation:.2f}; "
            f"first on {', '.join(map(str, self.days))})"
        )


def suspicion(copy: TargetCopy) -> str:
    """A warning about a feature that is not refused."""
    return f"{copy}; no honest feature is known to do so: check that it uses no later day"


def suspicious_name(name: str) -> str:
    """A warning about a feature of `future_names`."""
    return f"the feature {name} has the name of a later value; check that it uses no later day"


def find_target_copies(
    days: pl.Series,
    take: Take,
    features: Sequence[str],
    targets: Sequence[str],
    later: LaterReturns | None = None,
) -> list[TargetCopy]:
    """Find features whose ranks within a day follow those of a target, or their reverse.

    Correlations from `SUSPECT` are found, if they exceed chance by far: days count as independent only where
    the targets don't overlap. A sample of days and stocks rules out nearly all pairs; the others are compared
    on all rows where both are known, of as many days. Days with fewer than `MIN_PAIRS` such rows are skipped,
    and days on which either is constant; if too few are left, the ranks of all rows together decide, and with
    fewer than `MIN_POOLED` rows only equality. A feature that is constant where both are known is not one.

    Args:
        days: the day of every row, in any order; none null.
        take: reads rows; null and NaN are unknown.
        features: columns to compare.
        targets: columns to compare them with.
        later: the stock's returns on single later days, compared too if the sample is large enough, also with
            the features' changes from row to row. Of these the closest is reported, where no target is close
            enough to refuse the feature.

    >>> frame = pl.DataFrame({"target_1d": [0.1, 0.2, None], "leak": [0.1, 0.2, 0], "fair": [0.1, 0, 0.3]})
    >>> frame = frame.with_columns(date=dt.date(2024, 1, 4), code=pl.Series(["A", "B", "C"]))
    >>> [copy.feature for copy in copies_in(frame, ["leak", "fair"])]
    ['leak']
    """
    if not len(days) or not features or not targets:
        return []
    copies = _search(days, take, features, targets, later)
    if later is not None:
        refused = {copy.feature for copy in copies if copy.is_refused}
        rest = [name for name in features if name not in refused]
        changes = _search(days, _changes(take, later), rest, [], later, STOCKS // 2)
        copies += [replace(copy, is_change=True) for copy in changes]
    return copies


def _search(
    days: pl.Series,
    take: Take,
    features: Sequence[str],
    targets: Sequence[str],
    later: LaterReturns | None,
    stocks: int = STOCKS,
) -> list[TargetCopy]:
    """Copies of targets and of later returns, from a sample first and then from all rows of the suspects."""
    names = [*targets, *(later.names if later else ())]

    def read(rows: np.ndarray, columns: Sequence[str]) -> pl.DataFrame:
        own = [name for name in columns if not later or name not in later.names]
        parts = [take(rows, own), *([later.take(rows, columns[len(own) :])] if later else [])]
        return pl.concat([part for part in parts if part.width], how="horizontal")

    rows = _spread(days, stocks)
    table = _known(read(rows, [*features, *names]), days.gather(rows))
    correlation, pairs = _daily_rank_correlations(table, features, names)
    is_close = (np.abs(_mean_where_defined(correlation)) >= _SCREEN) | (
        _mean_where_defined(np.abs(correlation)) >= _SCREEN_COPY
    )
    is_small, is_target = _evidence(pairs) < MIN_EVIDENCE, np.arange(len(names)) < len(targets)
    suspect = np.where(is_small, is_target, is_close)
    copies = []
    for feature, mask in zip(features, suspect, strict=True):
        if suspects := list(compress(names, mask)):
            whole = _known(read(np.arange(len(days)), [feature, *suspects]), days)
            close = [copy for name in suspects if (copy := _as_copy(whole, feature, name))]
            copies += _closest(close, targets)
    return copies


def _changes(take: Take, later: LaterReturns) -> Take:
    """Reads the changes of columns since the stock's previous row; null on its first."""

    def read(rows: np.ndarray, names: Sequence[str]) -> pl.DataFrame:
        before = later.previous(rows)
        now, old = (take(part, names).cast(pl.Float64) for part in (rows, np.maximum(before, 0)))
        is_first = pl.Series(before < 0)
        return pl.DataFrame([(now[name] - old[name]).set(is_first, None).alias(name) for name in names])

    return read


def copies_in(
    frame: pl.DataFrame, features: Sequence[str], targets: Sequence[str] = ("target_1d",)
) -> list[TargetCopy]:
    """`find_target_copies` for a frame with `date` and `code`, none of them null."""

    def take(rows: np.ndarray, names: Sequence[str]) -> pl.DataFrame:
        return frame.select(names)[rows] if names else pl.DataFrame()

    return find_target_copies(frame[DATE], take, features, targets, later_returns(frame, frame))


def _closest(copies: Sequence[TargetCopy], targets: Sequence[str]) -> list[TargetCopy]:
    """The copies of targets, and the closest one of a single later day if it adds to them."""
    of_targets = [copy for copy in copies if copy.target in targets]
    limit = max((copy.correlation for copy in of_targets), default=0.0)
    others = [copy for copy in copies if copy not in of_targets and copy.correlation > limit]
    if not others or limit >= LIMIT:
        return of_targets
    return [*of_targets, max(others, key=lambda copy: copy.correlation)]


def _as_copy(whole: pl.DataFrame, feature: str, target: str) -> TargetCopy | None:
    both = whole.select(_DAY, feature, target).drop_nulls()
    if both[feature].n_unique() < 2:
        return None
    first = tuple(both[_DAY].unique().sort().head(3))
    table = both[_spread(both[_DAY], len(both))]
    correlation, pairs = _daily_rank_correlations(table, [feature], [target])
    strength = float(_mean_where_defined(np.abs(correlation)).item())
    evidence = float(_evidence(np.where(np.isnan(correlation), 0, pairs)).item())
    if evidence < MIN_EVIDENCE:
        pooled = both.gather_every(max(1, -(-len(both) // POOLED))).with_columns(pl.lit(0).alias(_DAY))
        strength = abs(float(_daily_rank_correlations(pooled, [feature], [target])[0].item()))
        if len(both) < MIN_POOLED:
            strength = float((both[feature] == both[target]).all())
    if strength >= _COPY:
        return TargetCopy(feature, target, strength, first)
    mean = abs(float(_mean_where_defined(correlation).item()))
    chance = _ERRORS / math.sqrt(max(evidence, 1.0) / _horizon(target))
    return TargetCopy(feature, target, mean, first) if mean >= max(SUSPECT, chance) else None


def _horizon(target: str) -> int:
    """Trading days in a target's name, such as `target_5d`; 1 without any."""
    match = re.search(r"(\d+)d?$", target)
    return max(int(match.group(1)), 1) if match else 1


def future_names(features: Sequence[str]) -> list[str]:
    """The features whose names suggest values of a later day.

    >>> future_names(["ret_1d", "Target", "retFwd5d", "next_open", "close t+1", "翌日始値", "nextdoor"])
    ['Target', 'retFwd5d', 'next_open', 'close t+1', '翌日始値']
    """
    return [name for name in features if _FUTURE_NAME.search(_HUMP.sub("_", name).lower())]


def _spread(days: pl.Series, stocks: int) -> np.ndarray:
    """Row numbers of up to `stocks` rows on each of up to `DAYS` days, evenly spread."""
    calendar = days.unique().sort()
    chosen = calendar.gather(np.unique(np.linspace(0, len(calendar) - 1, DAYS).astype(int)))
    rows = pl.DataFrame({_DAY: days}).with_row_index("row").filter(pl.col(_DAY).is_in(chosen.implode()))
    step = (pl.len() / stocks).ceil().cast(pl.UInt32)
    kept = (pl.int_range(pl.len(), dtype=pl.UInt32) % step == 0).over(_DAY)
    return rows.filter(kept)["row"].to_numpy()


def _known(table: pl.DataFrame, days: pl.Series) -> pl.DataFrame:
    """The table as Float32 (the type trained on) with its days; unknown values are null."""
    return table.with_columns(pl.all().cast(pl.Float32).fill_nan(None)).with_columns(days.alias(_DAY))


def _daily_rank_correlations(
    table: pl.DataFrame, features: Sequence[str], targets: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of ranks, and known pairs, `[days, features, targets]`; NaN where it is not defined.

    Ties share their mean rank. Where the two are unknown in different rows, the result approximates
    Spearman's, which ranks only the common rows.
    """
    table = table.sort(_DAY)
    ranks = table.select(pl.col(*features, *targets).rank().over(_DAY)).to_numpy().astype(float)
    starts = np.flatnonzero(table.select((pl.col(_DAY) != pl.col(_DAY).shift()).fill_null(True)).to_series())
    width = len(features)
    by_day = [correlate(part[:, :width], part[:, width:]) for part in np.split(ranks, starts[1:])]
    correlation, pairs = (np.stack(parts) for parts in zip(*by_day, strict=True))
    return np.where(pairs >= MIN_PAIRS, correlation, np.nan), np.where(pairs >= MIN_PAIRS, pairs, 0)


def correlate(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pearson correlation of every pair of columns over the rows where both are known, and their number."""
    known_left, known_right = (~np.isnan(left)).T.astype(float), (~np.isnan(right)).astype(float)
    left, right = np.nan_to_num(left), np.nan_to_num(right)
    pairs = known_left @ known_right
    sum_left, sum_right = left.T @ known_right, known_left @ right
    spread_left = pairs * ((left**2).T @ known_right) - sum_left**2
    spread_right = pairs * (known_left @ right**2) - sum_right**2
    together = pairs * (left.T @ right) - sum_left * sum_right
    product = spread_left * spread_right
    return np.divide(together, np.sqrt(product), out=np.full(pairs.shape, np.nan), where=product > 0), pairs


def _mean_where_defined(correlation: np.ndarray) -> np.ndarray:
    """Mean over the days that have a correlation; 0 without any."""
    defined = ~np.isnan(correlation)
    return np.nan_to_num(correlation).sum(axis=0) / np.maximum(defined.sum(axis=0), 1)


def _evidence(pairs: np.ndarray) -> np.ndarray:
    return np.maximum(pairs - 1, 0).sum(axis=0)
