"""What each disclosure of results added to what was known of a company, in the order of disclosure."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from gogooku3.schema import CODE

FIGURES = ("Sales", "OP", "NP", "TA", "Eq", "ShOutFY", "TrShFY", "FNP", "NxFNp")
NEEDED = ["DiscDate", "DiscTime", "DiscNo", "Code", "DocType", "CurPerType", "CurPerEn", "CurFYEn", *FIGURES]
"""Columns of J-Quants' statements that are read here."""

KNOWN = (
    "shares",
    "sales_ttm",
    "operating_profit_ttm",
    "net_profit_ttm",
    "equity",
    "total_assets",
    "net_profit_forecast",
    "net_profit_forecast_before",
)
"""What is known after a disclosure: shares outstanding less own ones; flows of the last twelve months (TTM),
balances, and the forecast of the running year's profit with the one before it; money in yen."""

_FLOWS = {"sales_ttm": "Sales", "operating_profit_ttm": "OP", "net_profit_ttm": "NP"}
_Period = tuple[int, int, str]
"""Year and month in which the fiscal year ends, and 1Q, 2Q, 3Q or FY."""


@dataclass
class _Company:
    """What has been disclosed of a company so far."""

    flows: dict[_Period, dict[str, float]] = field(default_factory=dict)
    """Cumulative since the start of the fiscal year, as last restated."""
    newest: tuple[dt.date, _Period] | None = None
    known: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(KNOWN))

    def hear(self, row: dict[str, Any]) -> None:
        """Take in one disclosure; what it doesn't say stays as it was."""
        self._balances(row)
        if row["NP"] is not None or row["Sales"] is not None:
            self._results(row)
        self._forecast(row)

    def _balances(self, row: dict[str, Any]) -> None:
        for name, column in (("equity", "Eq"), ("total_assets", "TA")):
            if row[column] is not None:
                self.known[name] = row[column]
        if row["ShOutFY"] is not None:
            self.known["shares"] = row["ShOutFY"] - (row["TrShFY"] or 0.0)

    def _results(self, row: dict[str, Any]) -> None:
        period, end = _period(row), row["CurPerEn"]
        if period is None or end is None:
            return
        self.flows[period] = {column: row[column] for column in _FLOWS.values() if row[column] is not None}
        # A restated old period changes old flows, not which one is the newest.
        if self.newest is None or end >= self.newest[0]:
            self.newest = (end, period)
        for name, column in _FLOWS.items():
            self.known[name] = self._last_twelve_months(self.newest[1], column)

    def _last_twelve_months(self, period: _Period, column: str) -> float | None:
        year, month, kind = period
        now = self.flows[period].get(column)
        if kind == "FY" or now is None:
            return now
        whole = self.flows.get((year - 1, month, "FY"), {}).get(column)
        same = self.flows.get((year - 1, month, kind), {}).get(column)
        return None if whole is None or same is None else now + whole - same

    def _forecast(self, row: dict[str, Any]) -> None:
        # With the year's results comes the forecast of the next year.
        forecast = row["NxFNp"] if row["CurPerType"] == "FY" and row["NxFNp"] is not None else row["FNP"]
        if forecast is not None:
            self.known["net_profit_forecast_before"] = self.known["net_profit_forecast"]
            self.known["net_profit_forecast"] = forecast


def known_statements(statements: pl.DataFrame, known_on: pl.Series) -> pl.DataFrame:
    """What was known of each company after each disclosure.

    A later correction changes nothing of what was known before it.

    Args:
        statements: J-Quants' rows, with the columns `NEEDED`.
        known_on: trading day of each row at whose close it was known; null: not yet.

    Returns:
        `code, known_on` and Float64 `KNOWN`, a row a code and day (the day's last disclosure), sorted.
    """
    schema = {CODE: pl.String, "known_on": pl.Date, **dict.fromkeys(KNOWN, pl.Float64)}
    rows = (
        statements.select(NEEDED)
        .with_columns(known_on, *(pl.col(name).cast(pl.Float64, strict=False) for name in FIGURES))
        .drop_nulls("known_on")
        .sort("Code", "known_on", "DiscDate", "DiscTime", "DiscNo")
    )
    made = pl.DataFrame(list(_tell(rows)), schema=schema, orient="row")
    return made.unique([CODE, "known_on"], keep="last", maintain_order=True)


def _tell(rows: pl.DataFrame) -> Iterator[tuple[Any, ...]]:
    code, company = None, _Company()
    for row in rows.iter_rows(named=True):
        if row["Code"] != code:
            code, company = row["Code"], _Company()
        company.hear(row)
        yield (code, row["known_on"], *company.known.values())


def _period(row: dict[str, Any]) -> _Period | None:
    end, kind = row["CurFYEn"], row["CurPerType"]
    return (end.year, end.month, kind) if end is not None and kind in ("1Q", "2Q", "3Q", "FY") else None
