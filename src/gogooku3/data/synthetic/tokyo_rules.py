"""Tokyo's current trading days, price limits and ticks, without one-off changes (moved holidays of 2021,
outages, ad hoc wider limits)."""

import datetime as dt

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

# fmt: off
SECTORS = (
    "Foods", "Electric Appliances", "Banks", "Transportation Equipment", "Retail Trade", "Chemicals",
    "Information & Communication", "Machinery", "Real Estate", "Pharmaceutical", "Wholesale Trade",
    "Construction", "Services", "Iron & Steel", "Land Transportation", "Insurance", "Electric Power & Gas",
    "Precision Instruments", "Nonferrous Metals", "Marine Transportation", "Glass & Ceramics Products",
    "Securities & Commodity Futures", "Oil & Coal Products", "Rubber Products", "Metal Products",
    "Textiles & Apparels", "Other Products", "Pulp & Paper", "Air Transportation", "Mining",
    "Warehousing & Harbor Transportation", "Other Financing Business", "Fishery, Agriculture & Forestry",
)
"""The 33 industries of the exchange, familiar ones first."""
# fmt: on

# Price band (exclusive upper end, yen) -> half-width of the day's range around the base price, yen.
_LIMIT_BANDS = np.array(
    [100, 200, 500, 700, 1e3, 1.5e3, 2e3, 3e3, 5e3, 7e3, 1e4, 1.5e4, 2e4, 3e4, 5e4, 7e4, 1e5]
)
_LIMIT_WIDTHS = np.array(
    [30, 50, 80, 100, 150, 300, 400, 500, 700, 1e3, 1.5e3, 3e3, 4e3, 5e3, 7e3, 1e4, 1.5e4, 3e4]
)
# Price band (inclusive upper end, yen) -> tick, yen: the finer table, for large stocks.
_TICK_BANDS = np.array([1e3, 3e3, 1e4, 3e4, 1e5])
_TICKS = np.array([0.1, 0.5, 1.0, 5.0, 10.0, 50.0])


def trading_days(start: dt.date, count: int) -> npt.NDArray[np.datetime64]:
    """The first `count` trading days on or after `start`, `[count]` of datetime64[D].

    >>> trading_days(dt.date(2023, 12, 29), 3).astype(str).tolist()
    ['2023-12-29', '2024-01-04', '2024-01-05']
    """
    last_year = start.year + count // 230 + 2
    closed = [day for year in range(start.year, last_year + 1) for day in closed_days(year)]
    holidays = np.array(closed, dtype="datetime64[D]")
    first = np.datetime64(start, "D")
    return np.busday_offset(first, np.arange(count), roll="forward", holidays=holidays)


def closed_days(year: int) -> list[dt.date]:
    """Public holidays and New Year closures of `year`, also those on weekends.

    A holiday on a Sunday moves to the next free day; a day between two holidays becomes one. The equinoxes
    come from the usual approximation, valid for 1980 to 2099.

    >>> dt.date(2026, 9, 22) in closed_days(2026)  # between Respect for the Aged and the equinox
    True
    """
    fixed = [(1, 1), (2, 11), (2, 23), (4, 29), (5, 3), (5, 4), (5, 5), (8, 11), (11, 3), (11, 23)]
    days = {dt.date(year, month, day) for month, day in fixed}
    days |= {_nth_monday(year, month, nth) for month, nth in ((1, 2), (7, 3), (9, 3), (10, 2))}
    drift = 0.242194 * (year - 1980) - (year - 1980) // 4
    days |= {dt.date(year, 3, int(20.8431 + drift)), dt.date(year, 9, int(23.2488 + drift))}
    moved = set()
    for day in days:
        if day.weekday() == 6:
            while day in days:
                day += dt.timedelta(days=1)
            moved.add(day)
    one = dt.timedelta(days=1)
    between = {day + one for day in days if day + 2 * one in days and (day + one).weekday() != 6}
    new_year = {dt.date(year, 1, 2), dt.date(year, 1, 3), dt.date(year, 12, 31)}
    return sorted(days | moved | between | new_year)


def _nth_monday(year: int, month: int, nth: int) -> dt.date:
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(7 - first.weekday()) % 7 + 7 * (nth - 1))


def tick_size(price: FloatArray) -> FloatArray:
    """Smallest price step at `price`, both in yen; at most 0.1 % from 100 yen up.

    >>> tick_size(np.array([1000.0, 1000.5, 4000.0])).tolist()
    [0.1, 0.5, 1.0]
    """
    return _TICKS[np.searchsorted(_TICK_BANDS, price, side="left")]


def price_limits(base: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest price of a day, in yen and on a tick, around the `base` price.

    The base is the last close, divided by the ratio of a split that becomes effective that day. The minimum
    is one yen.

    >>> low, high = price_limits(np.array([150.0, 2000.0]))
    >>> low.tolist(), high.tolist()
    ([100.0, 1500.0], [200.0, 2500.0])
    """
    width = _LIMIT_WIDTHS[np.searchsorted(_LIMIT_BANDS, base, side="right")]
    low, high = np.maximum(base - width, 1.0), base + width
    # The tolerance keeps a bound that is on a tick there despite rounding errors.
    low_tick, high_tick = tick_size(low), tick_size(high)
    low = np.ceil(low / low_tick - 1e-6) * low_tick
    high = np.floor(high / high_tick + 1e-6) * high_tick
    return np.round(low, 1), np.round(high, 1)


def round_to_tick(price: FloatArray) -> FloatArray:
    """Nearest tick to `price`, in yen.

    >>> round_to_tick(np.array([100.26, 4000.4])).tolist()
    [100.3, 4000.0]
    """
    tick = tick_size(price)
    return np.round(np.round(price / tick) * tick, 1)
