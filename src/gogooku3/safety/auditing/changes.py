"""What an audit does to prices: changes that must leave the outputs alone, and how each is undone."""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from gogooku3.data.prices import is_sorted_by
from gogooku3.errors import DataError, choices
from gogooku3.schema import CODE, DATE, KEYS, map_columns, require_columns

PROBES = {
    "altered": "every value after day t is altered",
    "removed": "stocks and single rows after day t are removed",
    "truncated": "the history ends on day t, as if it were live",
    "targets": "targets whose label is not closed on day t are shuffled",
    "rescaled": "stocks' whole histories are rescaled: price x k, volume / k",
    "renamed": "stocks get other codes in the same order",
    "reordered": "the rows come in another order",
    "swapped": "stocks exchange their rows, and outputs must follow",
}
"""Name and meaning, in the order they are run."""
LATER = ("altered", "removed", "truncated", "targets")
"""Changes after a day t: outputs up to it must stay, bit for bit."""
WARNINGS = ("renamed", "reordered")
"""What these move is fragile, but no look-ahead."""

_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Market:
    """Prices with the roles of their columns.

    Attributes:
        frame: the rows, columns as given.
        date, code: names of the keys.
        prices: of a stock's own prices, which scale with its splits.
        volume: which scales the other way; None where there is none.
        daily: the market's own number by day, the same for all stocks; None where there is none.
        order: the keys that the rows are sorted by; empty: by none.
    """

    frame: pl.DataFrame
    date: str
    code: str
    prices: tuple[str, ...]
    volume: str | None
    daily: str | None
    order: tuple[str, ...]

    @staticmethod
    def of(frame: pl.DataFrame) -> "Market":
        """Recognise the columns.

        Raises:
            DataError: a key is missing, is no date, is empty somewhere or double, or there is no close.
        """
        found = {name: column for column, name in map_columns(frame.columns, _NAMES).items()}
        require_columns(found, (*KEYS, "close"), "prices to audit with (in any usual spelling)")
        date, code = found[DATE], found[CODE]
        if not (frame.schema[date] == pl.Date or isinstance(frame.schema[date], pl.Datetime)):
            raise DataError(f"column '{date}' of the prices is {frame.schema[date]}; parse it as a date")
        if nulls := sum(frame[key].null_count() for key in (date, code)):
            raise DataError(f"{nulls:,} rows of the prices have no date or no code; remove them")
        if frame.select(date, code).is_duplicated().any():
            raise DataError("the prices have two rows for one stock and day; keep one")
        orders = ((code, date), (date, code))
        return Market(
            frame,
            date,
            code,
            tuple(found[name] for name in _PRICES if name in found),
            found.get("volume"),
            found.get("index_close"),
            next((order for order in orders if is_sorted_by(frame, order)), ()),
        )

    @property
    def days(self) -> list[dt.date]:
        """The calendar: days on which any stock has a row, ascending."""
        return self.frame[self.date].cast(pl.Date).unique().sort().to_list()

    @property
    def codes(self) -> list[object]:
        """The stocks, ascending."""
        return self.frame[self.code].unique().sort().to_list()

    def kept(self, max_stocks: int, max_days: int) -> "Market":
        """At most so many stocks, spread evenly over the codes, and the last days."""
        codes, days = self.codes, self.days
        chosen = [codes[i] for i in np.linspace(0, len(codes) - 1, min(max_stocks, len(codes))).astype(int)]
        return self.only(chosen, days[-max_days:])

    def only(self, codes: Sequence[object], days: Sequence[dt.date]) -> "Market":
        """The rows of some stocks and days."""
        rows = self.frame.filter(
            pl.col(self.code).is_in(list(codes)) & pl.col(self.date).cast(pl.Date).is_in(list(days))
        )
        return replace(self, frame=rows)


_NAMES = (*KEYS, *_PRICES, "volume", "index_close")


@dataclass(frozen=True)
class Change:
    """One change of the prices.

    Attributes:
        probe: its kind, of `PROBES`.
        seed: of what is random about it.
        cut: outputs up to this day must stay; None: all of them.
        edits: a row a changed row: its keys, and `_gone` or factors; None: the change is made of the frame.
    """

    probe: str
    seed: int = 0
    cut: dt.date | None = None
    edits: pl.DataFrame | None = None

    def apply(self, market: Market) -> tuple[pl.DataFrame, dict[str, str]]:
        """The changed rows, and `{new code: old code}` by which outputs are called back."""
        frame = market.frame
        if self.edits is not None:
            return _edited(market, self.edits), {}
        if self.probe == "reordered":
            return frame.sample(fraction=1, shuffle=True, seed=self.seed), {}
        if self.probe in ("swapped", "renamed"):
            new = self.new_codes(market)
            frame = frame.with_columns(
                pl.col(market.code).replace_strict(new, return_dtype=frame.schema[market.code])
            )
            frame = frame.sort(market.order) if market.order else frame
            return frame, {str(there): str(here) for here, there in new.items()}
        return frame, {}

    def new_codes(self, market: Market) -> dict[object, object]:
        """The code that each stock goes by after `swapped` or `renamed`."""
        codes = market.codes
        if self.probe == "swapped":
            turned = [codes[i] for i in np.random.default_rng(self.seed).permutation(len(codes))]
            return dict(zip(turned, [*turned[1:], *turned[:1]], strict=True))
        whole = market.frame.schema[market.code].is_integer()
        return {code: 1000 + 7 * i if whole else f"N{i:05d}" for i, code in enumerate(codes)}

    def apply_to_targets(self, targets: pl.DataFrame, market: Market) -> pl.DataFrame:
        """Targets after the change: under the new codes, cut off, or shuffled where no label is closed."""
        if self.probe in ("swapped", "renamed"):
            new = {str(here): str(there) for here, there in self.new_codes(market).items()}
            return targets.with_columns(pl.col(CODE).replace(new)).sort(KEYS)
        if self.cut is None or self.probe not in ("targets", "truncated"):
            return targets
        calendar = market.days
        names = [name for name in targets.columns if name not in KEYS]
        if self.probe == "truncated":
            targets = targets.filter(pl.col(DATE) <= self.cut)
        changed = []
        for name in names:
            open_ = pl.col(DATE) > _last_closed(name, self.cut, calendar)
            other = None if self.probe == "truncated" else pl.col(name).shuffle(self.seed).over(DATE)
            changed.append(pl.when(open_).then(other).otherwise(pl.col(name)).alias(name))
        return targets.with_columns(changed)


def plan_changes(
    market: Market, probes: Sequence[str], cuts: Sequence[dt.date], seeds: Sequence[int]
) -> list[Change]:
    """Every change of an audit: later ones for each cut and seed, the others for each seed."""
    changes = []
    for probe in probes:
        if probe == "truncated":
            changes += [_later(market, probe, cut, seeds[0]) for cut in cuts]
        elif probe in LATER:
            changes += [_later(market, probe, cut, seed) for cut in cuts for seed in seeds]
        elif probe == "renamed":
            changes.append(Change(probe))
        else:
            changes += [
                Change(probe, seed, edits=_scales(market, seed) if probe == "rescaled" else None)
                for seed in seeds
            ]
    return changes


def choose_cuts(days: Sequence[dt.date], cuts: int | Sequence[dt.date]) -> tuple[dt.date, ...]:
    """Days t spread over the second half of the calendar, or those given, where days come after them.

    Raises:
        DataError: too few days, or none after a cut.
    """
    if len(days) < 4:
        raise DataError(f"the prices have {len(days)} days; an audit needs some before and after a cut")
    if isinstance(cuts, int):
        places = np.unique(np.linspace(0.5, 0.95, max(cuts, 1)) * (len(days) - 1)).astype(int)
        return tuple(days[min(place, len(days) - 2)] for place in places)
    if late := [cut for cut in cuts if not days[0] <= cut < days[-1]]:
        raise DataError(f"cuts must lie from {days[0]} to before {days[-1]}; got {choices(late)}")
    return tuple(cuts)


def _later(market: Market, probe: str, cut: dt.date, seed: int) -> Change:
    """A change of the rows after a cut."""
    if probe == "targets":
        return Change(probe, seed, cut)
    keys = market.frame.filter(pl.col(market.date).cast(pl.Date) > cut).select(market.date, market.code)
    random = np.random.default_rng((seed, market.days.index(cut)))
    if probe == "altered":
        return Change(probe, seed, cut, _alterations(market, keys, random))
    if probe == "removed":
        codes = np.array(market.codes, dtype=object)
        delisted = codes[random.random(len(codes)) < 0.5].tolist()
        lost = pl.Series(random.random(keys.height) < 0.3) | keys[market.code].is_in(delisted)
        keys = keys.filter(lost)
    return Change(probe, seed, cut, keys.with_columns(_gone=True))


def _alterations(market: Market, keys: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """Factors from a half to two for the rows: one for prices, one for other numbers, one a day."""
    price, other = (2.0 ** random.uniform(-1, 1, keys.height) for _ in range(2))
    days = keys[market.date].rank("dense").cast(pl.Int64).to_numpy() - 1
    daily = 2.0 ** random.uniform(-1, 1, int(days.max(initial=0)) + 1)[days] if keys.height else price
    edits = keys.with_columns(_price=pl.Series(price), _other=pl.Series(other), _daily=pl.Series(daily))
    text = [n for n, t in market.frame.schema.items() if t in (pl.String, pl.Categorical, pl.Enum)]
    rows = market.frame.join(keys, on=[market.date, market.code], how="semi", maintain_order="left")
    place = random.permutation(rows.height)
    return edits.with_columns(
        rows[name].gather(place).alias(f"_text {name}") for name in text if name not in keys.columns
    )


def _scales(market: Market, seed: int) -> pl.DataFrame:
    """A power of two for each stock, so that scale-free arithmetic stays exact; half a stock's at least."""
    random = np.random.default_rng(seed)
    codes = market.codes
    factors = 2.0 ** random.choice([-3, -2, -1, 1, 2, 3], len(codes))
    scale = dict(zip(codes, factors.tolist(), strict=True))
    price = pl.col(market.code).replace_strict(scale, return_dtype=pl.Float64)
    return market.frame.select(market.date, market.code, _price=price, _volume=1 / price)


def _edited(market: Market, edits: pl.DataFrame) -> pl.DataFrame:
    """The rows with edits made, in their order and types."""
    frame, keys = market.frame, [market.date, market.code]
    joined = frame.join(edits, on=keys, how="left", maintain_order="left")
    if "_gone" in edits.columns:
        joined = joined.filter(pl.col("_gone").is_null())
    changed = []
    for name, kind in frame.schema.items():
        if name in keys:
            continue
        if kind.is_numeric():
            role = (
                "_price"
                if name in market.prices
                else "_daily"
                if name == market.daily
                else "_volume"
                if name == market.volume and "_volume" in edits.columns
                else "_other"
            )
            if role in edits.columns:
                value = pl.col(name) * pl.col(role)
                value = value.round().cast(kind) if kind.is_integer() else value.cast(kind)
                changed.append(
                    pl.when(pl.col(role).is_null()).then(pl.col(name)).otherwise(value).alias(name)
                )
        elif f"_text {name}" in edits.columns:
            known = pl.col("_other").is_null()
            changed.append(
                pl.when(known).then(pl.col(name)).otherwise(pl.col(f"_text {name}").cast(kind)).alias(name)
            )
    return joined.with_columns(changed).select(frame.columns)


def _last_closed(name: str, cut: dt.date, calendar: list[dt.date]) -> dt.date:
    """The last day whose label is closed on the cut; a target that doesn't tell its horizon counts as 1."""
    match = re.search(r"(\d+)d?$", name)
    place = calendar.index(cut) - (int(match.group(1)) if match else 1)
    return calendar[place] if place >= 0 else dt.date.min
