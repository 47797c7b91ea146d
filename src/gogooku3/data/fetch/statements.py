"""Facts known of each company after each of its statements, in the order of disclosure."""

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from gogooku3.schema import CODE

FIGURES = ("Sales", "OP", "NP", "TA", "Eq", "ShOutFY", "TrShFY", "FNP", "NxFNp")
NEEDED = ["DiscDate", "DiscTime", "DiscNo", "Code", "DocType", "CurPerType", "CurPerEn", "CurFYEn", *FIGURES]
"""Columns of J-Quants' statements that are read."""

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
"""Facts after a disclosure: shares outstanding less treasury shares; flows of the last twelve months (TTM);
balances; the profit forecast of the current year and the previous forecast. Money in yen."""

_FLOWS = {"sales_ttm": "Sales", "operating_profit_ttm": "OP", "net_profit_ttm": "NP"}
_Period = tuple[int, int, str]
"""Year and month in which the fiscal year ends, and 1Q, 2Q, 3Q or FY."""


@dataclass
class _Company:
    """Everything disclosed of a company so far."""

    flows: dict[_Period, dict[str, float]] = field(default_factory=dict)
    """Cumulative since the start of the fiscal year, as last restated."""
    newest: tuple[dt.date, _Period] | None = None
    known: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(KNOWN))

    def update(self, row: dict[str, Any]) -> None:
        """Add one disclosure; facts that it does not contain keep their value."""
        for name, column in (("equity", "Eq"), ("total_assets", "TA")):
            if row[column] is not None:
                self.known[name] = row[column]
        if row["ShOutFY"] is not None:
            self.known["shares"] = row["ShOutFY"] - (row["TrShFY"] or 0.0)
        if row["NP"] is not None or row["Sales"] is not None:
            self._update_results(row)
        # The year's results come with the forecast of the next year.
        forecast = row["NxFNp"] if row["CurPerType"] == "FY" and row["NxFNp"] is not None else row["FNP"]
        if forecast is not None:
            self.known["net_profit_forecast_before"] = self.known["net_profit_forecast"]
            self.known["net_profit_forecast"] = forecast

    def _update_results(self, row: dict[str, Any]) -> None:
        year_end, end, kind = row["CurFYEn"], row["CurPerEn"], row["CurPerType"]
        if year_end is None or end is None or kind not in ("1Q", "2Q", "3Q", "FY"):
            return
        period = (year_end.year, year_end.month, kind)
        self.flows[period] = {column: row[column] for column in _FLOWS.values() if row[column] is not None}
        # A restated old period changes old flows, but not which period is the newest.
        if self.newest is None or end >= self.newest[0]:
            self.newest = (end, period)
        for name, column in _FLOWS.items():
            self.known[name] = self._last_twelve_months(self.newest[1], column)

    def _last_twelve_months(self, period: _Period, column: str) -> float | None:
        """This year so far, plus last year, minus last year up to the same quarter."""
        year, month, kind = period
        current = self.flows[period].get(column)
        if kind == "FY" or current is None:
            return current
        last_year = self.flows.get((year - 1, month, "FY"), {}).get(column)
        same_quarter = self.flows.get((year - 1, month, kind), {}).get(column)
        return None if last_year is None or same_quarter is None else current + last_year - same_quarter


def known_statements(statements: pl.DataFrame, known_on: pl.Series) -> pl.DataFrame:
    """Facts known of each company after each disclosure. A later correction does not change earlier rows.

    Args:
        statements: J-Quants' rows, with the columns `NEEDED`.
        known_on: trading day at whose close each row was known; null: not yet.

    Returns:
        `code, known_on` and Float64 `KNOWN`, one row per code and day (the day's last disclosure), sorted.
    """
    schema = {CODE: pl.String, "known_on": pl.Date, **dict.fromkeys(KNOWN, pl.Float64)}
    rows = (
        statements.select(NEEDED)
        .with_columns(known_on, *(pl.col(name).cast(pl.Float64, strict=False) for name in FIGURES))
        .drop_nulls("known_on")
        .sort("Code", "known_on", "DiscDate", "DiscTime", "DiscNo")
    )
    companies: defaultdict[str, _Company] = defaultdict(_Company)
    disclosures = []
    for row in rows.iter_rows(named=True):
        company = companies[row["Code"]]
        company.update(row)
        disclosures.append((row["Code"], row["known_on"], *company.known.values()))
    facts = pl.DataFrame(disclosures, schema=schema, orient="row")
    return facts.unique([CODE, "known_on"], keep="last", maintain_order=True)
