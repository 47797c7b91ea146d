"""Every check of `data validate`: title, default severity, treatment of the rows, advice."""

from dataclasses import dataclass

from gogooku3.config.quality import Weight


@dataclass(frozen=True)
class Check:
    """Description of one check, as shown to users."""

    title: str
    """The problem in a few words. Some checks replace it with one that has numbers."""
    severity: Weight
    """Default severity; `severity` in the rules overrides it."""
    handled: str
    """Treatment of the affected rows by `data build` (prices) or `train` (a data set)."""
    advice: str = ""
    """Advice to the user; empty if it depends on the table, then the check adds it."""


_REFUSED = "refused"
_KEPT = "kept unchanged"
_READ_AS_NULL = "read as null"
_COUNTED = "horizons count the days in the file"

# fmt: off
CHECKS: dict[str, Check] = {
    # Structure: can the table be read at all?
    "unusable_columns": Check("unusable columns", "error", _REFUSED),
    "missing_column": Check("missing column", "error", _REFUSED),
    "no_rows": Check("no rows", "error", _REFUSED, "export the table again"),
    "unreadable": Check("unreadable values", "error", _REFUSED),
    "no_key": Check("missing key", "error", _REFUSED, "fill it in, or remove those rows"),
    "ignored_column": Check("ignored", "warning", "left out", "no action needed unless it is a feature"),
    "not_sorted": Check("not sorted", "warning", "sorted"),
    "double_key": Check("duplicate (date, code)", "error", _REFUSED, "keep one row per stock and day"),
    "two_spellings": Check("one stock under two codes", "error", _REFUSED, "give each stock one code"),
    # Completeness: are stocks, days or values missing?
    "few_stocks": Check("too few stocks", "error", _REFUSED),
    "missing_stock_days": Check(
        "missing days of a stock", "note", "windows mask the day", "no action needed for suspensions"),
    "mostly_null": Check("mostly null", "warning", _KEPT, "check why so many values are missing"),
    "empty_column": Check("all null", "warning", _KEPT, "drop the column: it has no information"),
    "no_values": Check("all null", "error", _REFUSED, "provide closing prices: every feature needs them"),
    # Days of the market
    "thin_day": Check("days with few stocks", "warning", "kept; normalised with training statistics",
        "check for missing rows"),
    "last_day_incomplete": Check("last day incomplete", "warning", _KEPT,
        "wait for the missing rows, or leave the day out (end_date)"),
    "market_pause": Check("long gap between trading days", "warning", _COUNTED, "check for missing files"),
    "stray_rows": Check("rows on weekdays without sessions", "error", _REFUSED),
    "shifted_days": Check("days shifted by a time zone", "error", _REFUSED,
        "write the days of the exchange, not of UTC or another zone"),
    "odd_weekdays": Check("unusual weekdays", "warning", _KEPT,
        "right for some markets; elsewhere a time zone has shifted the days"),
    "future_day": Check("date in the future", "error", _KEPT, "correct the year, or remove the rows"),
    "repeated_day": Check("day identical to the previous day", "warning", _KEPT,
        "likely a holiday with filled prices: remove it"),
    "no_session": Check("not a session", "warning", _KEPT, "remove these days, or choose another calendar"),
    "missing_session": Check("session without rows", "warning", _COUNTED, "check for missing files"),
    # Prices
    "bad_price": Check("zero, negative or not finite", "warning",
        "set to null; rows without a close are dropped", "correct it at the source"),
    "bad_volume": Check("negative or not finite", "warning", "set to null", "correct it at the source"),
    "no_volume": Check("zero volume", "note", "kept as a day without trades",
        "no action needed for days without trades"),
    "ohlc": Check("prices contradict each other", "warning", "set to null as needed; the close is kept"),
    "wick": Check("high or low far from other prices", "warning", _KEPT, "likely a bad tick: correct it"),
    "bad_tick": Check("jump reversed the next day", "warning",
        "kept, as the day itself can't know; counted if over 4 times", "likely a bad tick: correct it"),
    "suspected_split": Check("split without adjustment", "warning", "kept; counted if over 4 times",
        "adjust the earlier prices"),
    "lasting_jump": Check("jump not reversed", "warning", "kept; counted",
        "not a split factor: check for a real move, a gap or other units"),
    "reused_code": Check("another price level after a long hole", "warning", _KEPT,
        "if another company took over the code, give it a code of its own; else adjust the earlier prices"),
    "stale_price": Check("unchanged prices with volume", "warning", _KEPT,
        "likely filled or frozen: check the source"),
    "untraded_run": Check("unchanged prices without volume", "note", _KEPT,
        "no action needed for thinly traded stocks"),
    # Distribution of the values
    "nan": Check("NaN", "warning", _READ_AS_NULL, "write null instead"),
    "infinite": Check("infinite", "error", _READ_AS_NULL, "often a division by zero: write null instead"),
    "infinite_target": Check("infinite", "error", _REFUSED, "write null where a return is unknown"),
    "constant_target": Check("constant", "error", _REFUSED, "check how it was computed"),
    "constant": Check("constant", "warning", _KEPT, "drop the column: it has no information"),
    "huge_value": Check("implausibly large value", "warning", "clipped at 5 standard deviations of its day",
        "check units and divisions by nearly zero"),
    "absurd_return": Check("implausible return", "warning", "used; labels are clipped or ranked",
        "check the prices for bad ticks and splits"),
    "collinear": Check("nearly identical features", "note", _KEPT,
        "keep one: the others only widen the network"),
    # Leaks
    "target_copy": Check("follows a target", "error", _REFUSED,
        "remove it: it contains the future; an honest one is named in dataset.allow_features"),
    "follows_target": Check("follows a target", "warning", _KEPT, "check that it uses no later day"),
    "future_name": Check("has the name of a later value", "warning", _KEPT,
        "check that it uses no later day"),
}
# fmt: on
