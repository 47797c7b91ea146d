"""Every check by name: what it says, how much it weighs, what becomes of such rows. It looks at no data."""

from dataclasses import dataclass

from gogooku3.config.quality import Weight


@dataclass(frozen=True)
class Check:
    """What a check means to a person."""

    idea: str
    """structure, uniqueness, completeness, days, distribution, prices, or leaks."""
    says: str
    """What is wrong, in words; some checks put figures in."""
    severity: Weight
    handled: str
    """What `build` does about it, or `train` where only a data set can have it."""


_REFUSED = "refused"
_KEPT = "kept as it is"

CHECKS: dict[str, Check] = {
    "unusable_columns": Check("structure", "unusable columns", "error", _REFUSED),
    "missing_column": Check("structure", "missing column", "error", _REFUSED),
    "no_rows": Check("structure", "no rows", "error", _REFUSED),
    "unreadable": Check("structure", "cannot be read", "error", _REFUSED),
    "no_key": Check("structure", "no value", "error", _REFUSED),
    "ignored_column": Check("structure", "ignored", "warning", "left out"),
    "not_sorted": Check("structure", "not sorted", "warning", "sorted"),
    "double_key": Check("uniqueness", "double (date, code)", "error", _REFUSED),
    "few_stocks": Check("completeness", "too few stocks", "error", _REFUSED),
    "missing_stock_days": Check(
        "completeness", "stock-days missing in between", "note", "no row; windows mask the step"
    ),
    "mostly_null": Check("completeness", "mostly null", "warning", _KEPT),
    "empty_column": Check("completeness", "all null", "warning", _KEPT),
    "no_values": Check("completeness", "all null", "error", _REFUSED),
    "thin_day": Check("days", "days with few stocks", "warning", "kept; normalised by training statistics"),
    "last_day_incomplete": Check("days", "last day incomplete", "warning", _KEPT),
    "market_pause": Check("days", "market without trading days", "warning", "days are counted as they are"),
    "future_day": Check("days", "day in the future", "error", _KEPT),
    "repeated_day": Check("days", "day that repeats the day before", "warning", _KEPT),
    "no_session": Check("days", "no session", "warning", _KEPT),
    "missing_session": Check("days", "session without a row", "warning", "days are counted as they are"),
    "bad_price": Check(
        "prices",
        "zero, negative or not finite",
        "warning",
        "made unknown; without a close the row is left out",
    ),
    "bad_volume": Check("prices", "negative or not finite", "warning", "made unknown"),
    "no_volume": Check("prices", "no volume", "note", "kept: a day without trade"),
    "ohlc": Check("prices", "prices contradict each other", "warning", "made unknown; the close is believed"),
    "wick": Check("prices", "high or low far beyond the other prices", "warning", _KEPT),
    "bad_tick": Check(
        "prices",
        "jump undone the next day",
        "warning",
        "kept: the day itself couldn't know; counted beyond 4 times",
    ),
    "suspected_split": Check("prices", "split without adjustment", "warning", "kept; counted beyond 4 times"),
    "lasting_jump": Check("prices", "jump that stays", "warning", "kept; counted"),
    "stale_price": Check("prices", "price that stands still though traded", "warning", _KEPT),
    "untraded_run": Check("prices", "days in a row without trade", "note", _KEPT),
    "nan": Check("distribution", "NaN", "warning", "read as unknown"),
    "infinite": Check("distribution", "infinite", "error", "read as unknown"),
    "infinite_target": Check("distribution", "infinite", "error", _REFUSED),
    "constant_target": Check("distribution", "constant", "error", _REFUSED),
    "constant": Check("distribution", "constant", "warning", _KEPT),
    "huge_value": Check("distribution", "absurd value", "warning", "clipped at 5 deviations of its day"),
    "absurd_return": Check("distribution", "absurd return", "warning", "used; labels are clipped or ranked"),
    "collinear": Check("distribution", "features that say the same", "note", _KEPT),
    "target_copy": Check("leaks", "follows a target", "error", _REFUSED),
}
