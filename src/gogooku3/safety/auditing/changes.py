"""The changes that an audit makes to prices and targets. `Runner` compares the outputs."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from gogooku3.errors import DataError, choices
from gogooku3.safety.auditing.market import Market
from gogooku3.schema import CODE, DATE, KEYS

PROBES = {
    "altered": "every value after day t is altered",
    "removed": "stocks and single rows after day t are removed",
    "truncated": "the history ends on day t, as in live use",
    "targets": "targets whose label is not closed on day t are shuffled",
    "rescaled": "stocks' whole histories are rescaled (price x k, volume / k)",
    "renamed": "stocks get other codes in the same order",
    "reordered": "rows are shuffled",
    "swapped": "stocks exchange their rows, and outputs must follow",
}
"""Name and description of each kind of change, in the order they run."""
LATER = ("altered", "removed", "truncated", "targets")
"""Changes after a day t: outputs up to t must stay bit-identical."""
WARNINGS = ("renamed", "reordered")
"""Outputs that depend on these are fragile, but do not look ahead."""

_FIRST_WEEKS, _BEFORE_END = 10, 2
"""Trading days after the first day, and before the last day of a year or month, at which a cut is made."""
_NEAR_DAYS, _EXTREME_NEAR, _EXTREME_LATER = 5, 0.5, 0.1
"""Share of rows altered by a large factor on the first trading days after a cut, and later."""
_EXTREME = (-4, -3, -2, 2, 3, 4)
"""Powers of two of the large factors: 1/16 to 16."""

# Columns of `Change.edits` next to the keys; the last two are prefixes of a price column's name.
_REMOVED, _EDITED, _FACTOR, _TEXT = "_removed", "_edited", "_factor ", "_text "


@dataclass(frozen=True)
class Change:
    """One change of the prices.

    Attributes:
        probe: its kind, a key of `PROBES`.
        seed: seed of its random numbers.
        cut: outputs up to this day must stay; None: all outputs.
        edits: one row per removed or edited row of prices; None: the change acts on the whole frame.
    """

    probe: str
    seed: int = 0
    cut: dt.date | None = None
    edits: pl.DataFrame | None = None

    def apply(self, market: Market) -> tuple[pl.DataFrame, dict[str, str]]:
        """The changed rows, and `{new code: old code}` for the outputs."""
        frame = market.frame
        if self.edits is not None:
            return _apply_edits(market, self.edits), {}
        if self.probe == "reordered":
            return frame.sample(fraction=1, shuffle=True, seed=self.seed), {}
        if self.probe not in ("swapped", "renamed"):
            return frame, {}
        new = self.new_codes(market)
        kind = frame.schema[market.code]
        frame = frame.with_columns(pl.col(market.code).replace_strict(new, return_dtype=kind))
        frame = frame.sort(market.order) if market.order else frame
        return frame, {str(new_code): str(code) for code, new_code in new.items()}

    def new_codes(self, market: Market) -> dict[object, object]:
        """`{old code: new code}` of `swapped` and `renamed`."""
        codes = market.codes
        if self.probe == "swapped":
            cycle = [codes[i] for i in np.random.default_rng(self.seed).permutation(len(codes))]
            return dict(zip(cycle, [*cycle[1:], *cycle[:1]], strict=True))
        is_integer = market.frame.schema[market.code].is_integer()
        return {code: 1000 + 7 * i if is_integer else f"N{i:05d}" for i, code in enumerate(codes)}

    def apply_to_targets(self, targets: pl.DataFrame, market: Market) -> pl.DataFrame:
        """Targets under the new codes, truncated, or shuffled where the label is not closed on the cut."""
        if self.probe in ("swapped", "renamed"):
            new = {str(code): str(new_code) for code, new_code in self.new_codes(market).items()}
            return targets.with_columns(pl.col(CODE).replace(new)).sort(KEYS)
        if self.cut is None or self.probe not in ("targets", "truncated"):
            return targets
        if self.probe == "truncated":
            targets = targets.filter(pl.col(DATE) <= self.cut)
        calendar = market.days
        changed = []
        for name in targets.drop(KEYS).columns:
            not_closed = pl.col(DATE) > _last_closed(name, self.cut, calendar)
            value = None if self.probe == "truncated" else pl.col(name).shuffle(self.seed).over(DATE)
            changed.append(pl.when(not_closed).then(value).otherwise(pl.col(name)).alias(name))
        return targets.with_columns(changed)


def plan_changes(market: Market, probe: str, cuts: Sequence[dt.date], seeds: Sequence[int]) -> list[Change]:
    """All changes of one kind: one per seed, and per cut where the change comes after a day t."""
    if probe in LATER:
        if probe == "truncated":
            # A history of one day is not what live use looks like, and stops many pipelines.
            cuts, seeds = [cut for cut in cuts if cut > market.days[0]] or cuts, seeds[:1]
        if probe == "removed":
            # Every second cut, to save time: most of what shows here shows when the history ends.
            cuts = cuts[::-2]
        return [_change_after(market, probe, cut, seed) for cut in cuts for seed in seeds]
    if probe == "renamed":
        return [Change(probe)]
    if probe == "rescaled":
        return [Change(probe, seed, edits=_rescaling(market, seed)) for seed in seeds]
    return [Change(probe, seed) for seed in seeds]


def choose_cuts(market: Market, cuts: int | Sequence[dt.date]) -> tuple[dt.date, ...]:
    """Check the given cuts, or choose `cuts` days on which leaks hide.

    In this order: the middle; the first day; the day of the latest listing; shortly before the end of a year
    (of a month, if no year ends); a last day of both a week and a month; the first weeks; then days spread
    over the second half of the calendar.

    Raises:
        DataError: too few days, or none after a cut.
    """
    days = market.days
    if len(days) < 4:
        raise DataError(f"the prices have {len(days)} days; an audit needs some before and after a cut")
    if not isinstance(cuts, int):
        if late := [cut for cut in cuts if not days[0] <= cut < days[-1]]:
            raise DataError(f"cuts must lie from {days[0]} to before {days[-1]}; got {choices(late)}")
        return tuple(cuts)
    last, count = len(days) - 2, max(cuts, 1)
    spread = [_inside_a_week(days, int(each)) for each in np.linspace(0.95, 0.55, count) * (last + 1)]
    positions = [
        _inside_a_week(days, last // 2),
        0,
        *_latest_listing(market),
        *_before_an_end(days),
        *_closing_day(days),
        min(_FIRST_WEEKS, last),
        *spread,
    ]
    chosen = list(dict.fromkeys(min(each, last) for each in positions))
    return tuple(days[position] for position in sorted(chosen[:count]))


def _latest_listing(market: Market) -> list[int]:
    """The first day of the stock that was listed last; empty if all start together."""
    days = market.days
    by_code = market.frame.group_by(market.code).agg(pl.col(market.date).cast(pl.Date).min().alias("first"))
    listed = [day for day in by_code["first"].to_list() if days[0] < day < days[-_BEFORE_END]]
    return [days.index(max(listed))] if listed else []


def _before_an_end(days: Sequence[dt.date]) -> list[int]:
    """Two trading days before the last of the latest year that ends within the days, or else month."""
    ends = _ends(days, "%Y") or _ends(days, "%Y-%m")
    return [max(ends[-1] - _BEFORE_END, 0)] if ends else []


def _closing_day(days: Sequence[dt.date]) -> list[int]:
    """The latest last day of a month, of a week at once if possible: values of closed periods end here."""
    months, weeks = _ends(days, "%Y-%m"), set(_ends(days, "%G-%V"))
    return ([end for end in months if end in weeks] or months)[-1:]


def _inside_a_week(days: Sequence[dt.date], position: int) -> int:
    """The position, or the one before if a week ends there: a cut at its end shows no leak from the week."""
    return position - 1 if position and position in _ends(days, "%G-%V") else position


def _ends(days: Sequence[dt.date], period: str) -> list[int]:
    """Positions of the last days of all periods but the last one; `period` is a format for `strftime`."""
    names = [day.strftime(period) for day in days]
    return [position for position in range(len(days) - 1) if names[position] != names[position + 1]]


def _change_after(market: Market, probe: str, cut: dt.date, seed: int) -> Change:
    """A change of the rows after a cut."""
    if probe == "targets":
        return Change(probe, seed, cut)
    rows = market.frame.filter(pl.col(market.date).cast(pl.Date) > cut)
    random = np.random.default_rng((seed, market.days.index(cut)))
    if probe == "altered":
        return Change(probe, seed, cut, _alterations(market, rows, random))
    if probe == "removed":
        codes = np.array(market.codes, dtype=object)
        delisted = codes[random.random(len(codes)) < 0.5].tolist()
        removed = pl.Series(random.random(rows.height) < 0.3) | rows[market.code].is_in(delisted)
        rows = rows.filter(removed)
    return Change(probe, seed, cut, rows.select(market.date, market.code, pl.lit(True).alias(_REMOVED)))


def _alterations(market: Market, rows: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """Factors per row for prices and other numbers, per day for the index; shuffled text."""
    days, codes = (
        rows[name].rank("dense").cast(pl.Int64).to_numpy() - 1 for name in (market.date, market.code)
    )
    price, other = (2.0 ** _exponents(days, codes, random) for _ in range(2))
    daily = 2.0 ** random.uniform(-1, 1, int(days.max()) + 1)[days]
    factors = dict.fromkeys(market.prices, price) | {market.index: daily}
    shuffled = random.permutation(rows.height)
    edits = [rows[market.date], rows[market.code], pl.repeat(True, rows.height, eager=True).alias(_EDITED)]
    for name, kind in rows.drop(market.date, market.code).schema.items():
        if kind.is_numeric():
            edits.append(pl.Series(_FACTOR + name, factors.get(name, other)))
        elif kind in (pl.String, pl.Categorical, pl.Enum):
            edits.append(rows[name].gather(shuffled).alias(_TEXT + name))
    return pl.DataFrame(edits)


def _exponents(days: np.ndarray, codes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Powers of two, from -3 to 3 and in some rows from -4 to 4.

    Each stock has its own level, so that a choice of stocks by later means shows. Large factors are crashes
    and rallies; they are frequent just after the cut, because leaks that react to them look few days ahead.
    """
    level = random.uniform(-2, 2, int(codes.max()) + 1)[codes]
    extreme = random.random(len(days)) < np.where(days < _NEAR_DAYS, _EXTREME_NEAR, _EXTREME_LATER)
    usual = level + random.uniform(-1, 1, len(days))
    return np.where(extreme, random.choice(_EXTREME, len(days)), usual)


def _rescaling(market: Market, seed: int) -> pl.DataFrame:
    """A factor for each stock's prices: a power of two, so that scale-free arithmetic stays exact."""
    codes = market.codes
    factors = 2.0 ** np.random.default_rng(seed).choice([-3, -2, -1, 1, 2, 3], len(codes))
    by_code = dict(zip(codes, factors.tolist(), strict=True))
    price = pl.col(market.code).replace_strict(by_code, return_dtype=pl.Float64)
    return market.frame.select(
        market.date,
        market.code,
        pl.lit(True).alias(_EDITED),
        *(price.alias(_FACTOR + name) for name in market.prices),
        *((1 / price).alias(_FACTOR + name) for name in (market.volume,) if name),
    )


def _apply_edits(market: Market, edits: pl.DataFrame) -> pl.DataFrame:
    """The rows after the edits, in their order and types."""
    frame = market.frame
    joined = frame.join(edits, on=[market.date, market.code], how="left", maintain_order="left")
    if _REMOVED in edits.columns:
        joined = joined.filter(pl.col(_REMOVED).is_null())
    changed = []
    for name, kind in frame.schema.items():
        if _FACTOR + name in edits.columns:
            value = pl.col(name) * pl.col(_FACTOR + name)
            value = value.round() if kind.is_integer() else value
        elif _TEXT + name in edits.columns:
            value = pl.col(_TEXT + name)
        else:
            continue
        kept = pl.when(pl.col(_EDITED).is_null()).then(pl.col(name))
        changed.append(kept.otherwise(value.cast(kind)).alias(name))
    return joined.with_columns(changed).select(frame.columns)


def _last_closed(name: str, cut: dt.date, calendar: list[dt.date]) -> dt.date:
    """Last day whose label is closed on the cut; a target without a horizon in its name counts as 1 day."""
    match = re.search(r"(\d+)d?$", name)
    position = calendar.index(cut) - (int(match.group(1)) if match else 1)
    return calendar[position] if position >= 0 else dt.date.min
