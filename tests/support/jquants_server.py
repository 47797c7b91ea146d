"""A local stand-in for the J-Quants API: real HTTP, a made-up market, and faults on request."""

import datetime as dt
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jquantsapi import constants

KEY = "a-secret-key-0123456789"
HOLIDAYS = {dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2024, 1, 3), dt.date(2024, 1, 8)}
FUND = "13120"
"""A listed fund among the stocks."""


@dataclass
class JQuantsServer:
    """Data of the stand-in, and its faults.

    Attributes:
        codes: listed stocks, five digits each.
        page_rows: rows per page.
        faults: by path, faults of the next requests: a status, "cut", "slow" or "no json".
        retry_after: seconds, sent with every 429.
        forbidden: paths outside the plan.
        published: last day with bars.
        renamed: columns of bars with another name.
        added: unexpected columns of bars.
        splits: by code and day, the adjustment factor on that day.
        delisted: by code, the first day after its listing.
        statements: rows of /fins/summary.
        covered_from: first day of the plan; days before are refused.
        requests: in order, as path and date.
        times: of the requests, in seconds.
    """

    codes: list[str] = field(default_factory=lambda: [f"{n}0" for n in range(1301, 1313)])
    page_rows: int = 10_000
    faults: dict[str, deque[int | str]] = field(default_factory=dict)
    retry_after: str | None = None
    forbidden: set[str] = field(default_factory=set)
    published: dt.date = dt.date(2024, 12, 31)
    renamed: dict[str, str] = field(default_factory=dict)
    added: dict[str, Any] = field(default_factory=dict)
    splits: dict[tuple[str, dt.date], float] = field(default_factory=dict)
    delisted: dict[str, dt.date] = field(default_factory=dict)
    statements: list[dict[str, str]] = field(default_factory=list)
    covered_from: dt.date = dt.date(2000, 1, 1)
    delay_s: float = 0.0
    requests: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        """The rows of a request, before paging."""
        day = dt.date.fromisoformat(query.get("date", "2000-01-01"))
        first = dt.date.fromisoformat(query.get("from", "2000-01-01"))
        last = dt.date.fromisoformat(query.get("to", "2000-01-01"))
        match path:
            case "/markets/calendar":
                days = [first + dt.timedelta(n) for n in range((last - first).days + 1)]
                return [{"Date": str(d), "HolDiv": "1" if is_session(d) else "0"} for d in days]
            case "/equities/bars/daily":
                return self._bars(day)
            case "/equities/master":
                return [_listed(code, day) for code in self.codes if self._trades(code, day)]
            case "/indices/bars/daily/topix":
                days = sessions(first, min(last, self.published))
                prices = {"O": 2400.0, "H": 2440.0, "L": 2390.0}
                return [{"Date": str(d), **prices, "C": 2400.0 + d.day} for d in days]
            case "/fins/summary":
                empty = dict.fromkeys(constants.FIN_SUMMARY_COLUMNS_V2, "")
                return [empty | row for row in self.statements if row["DiscDate"] == str(day)]
            case "/equities/investor-types":
                return [_flows(d) for d in sessions(first, last) if d.weekday() == 3]
            case "/markets/margin-interest":
                fridays = day.weekday() == 4 and is_session(day)
                return [_margin(code, day) for code in self.codes] if fridays else []
        raise KeyError(path)

    def _bars(self, day: dt.date) -> list[dict[str, Any]]:
        """Bars as quoted on the day, without adjustment for later splits."""
        if not is_session(day) or day > self.published:
            return []
        rows = []
        for position, code in enumerate(self.codes):
            if not self._trades(code, day):
                continue
            past = 1.0
            for (split_code, split_day), factor in self.splits.items():
                past *= factor if split_code == code and split_day <= day else 1.0
            close = (1000.0 + 7 * position + (day.toordinal() * (position + 3)) % 50) * past
            row = {
                "Date": str(day),
                "Code": code,
                **{"O": close, "H": close * 1.01, "L": close * 0.99, "C": close, "UL": "0", "LL": "0"},
                "Vo": 10_000.0 / past,
                "Va": 10_000.0 * close / past,
                "AdjFactor": self.splits.get((code, day), 1.0),
                "AdjC": close,
                **self.added,
            }
            rows.append({self.renamed.get(name, name): value for name, value in row.items()})
        return rows

    def _trades(self, code: str, day: dt.date) -> bool:
        return day < self.delisted.get(code, dt.date.max)


def _listed(code: str, day: dt.date) -> dict[str, str]:
    """Listing of a stock; the first one changes its industry in February."""
    moved = code == "13010" and day >= dt.date(2024, 2, 1)
    names = {"CoName": f"会社{code}", "CoNameEn": f"Company {code}", "S17": "1", "S17Nm": "食品"}
    rest = {"S33Nm": "", "ScaleCat": "-", "MktNm": "プライム", "Mrgn": "1", "MrgnNm": "", "ProdCat": "011"}
    market = "0109" if code == FUND else "0111"
    return {
        "Date": str(day),
        "Code": code,
        **names,
        "S33": "9050" if moved else "0050",
        "Mkt": market,
        **rest,
    }


def _flows(day: dt.date) -> dict[str, Any]:
    empty = dict.fromkeys(constants.EQ_INVESTOR_TYPES_COLUMNS_V2)
    week = {"StDate": str(day - dt.timedelta(10)), "EnDate": str(day - dt.timedelta(6))}
    numbers = {"FrgnBal": 1e9 * (day.day - 15), "TotTot": 1e12}
    return {**empty, "PubDate": str(day), **week, "Section": "TSEPrime", **numbers}


def _margin(code: str, day: dt.date) -> dict[str, Any]:
    empty = dict.fromkeys(constants.MKT_MARGIN_INTEREST_COLUMNS_V2)
    return {**empty, "Date": str(day), "Code": code, "ShrtVol": 100.0, "LongVol": 1000.0 + day.day}


def is_session(day: dt.date) -> bool:
    """Return True on trading days."""
    return day.weekday() < 5 and day not in HOLIDAYS


def sessions(first: dt.date, last: dt.date) -> list[dt.date]:
    """Trading days between two days, both included."""
    days = [first + dt.timedelta(n) for n in range(max(0, (last - first).days + 1))]
    return [day for day in days if is_session(day)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    market: JQuantsServer

    def do_GET(self) -> None:
        market = self.market
        split = urlsplit(self.path)
        path = split.path.removeprefix("/v2")
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        market.requests.append(f"{path} {query.get('date', '')}".strip())
        market.times.append(time.monotonic())
        time.sleep(market.delay_s)
        if self.headers.get("x-api-key") != KEY or path in market.forbidden:
            self._send(403, {"message": "Forbidden"})
        elif market.faults.get(path):
            self._fail(market.faults[path].popleft())
        elif dt.date.fromisoformat(query.get("date", "2100-01-01")) < market.covered_from:
            self._send(
                400, {"message": f"Your subscription covers the following dates: {market.covered_from} ~ ."}
            )
        else:
            rows = market.answer(path, query)
            start = int(query.get("pagination_key", "0"))
            payload: dict[str, Any] = {"data": rows[start : start + market.page_rows]}
            if start + market.page_rows < len(rows):
                payload["pagination_key"] = str(start + market.page_rows)
            self._send(200, payload)

    def _fail(self, fault: int | str) -> None:
        if isinstance(fault, int):
            self._send(fault, {"message": f"fault {fault}"})
        elif fault == "no json":
            self._raw(200, b"<html>an error page</html>")
        elif fault == "slow":
            time.sleep(1.0)
            self._send(200, {"data": []})
        else:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b'{"data": [{"Date": "2024')
            self.close_connection = True

    def _send(self, status: int, payload: dict[str, Any]) -> None:
        self._raw(status, json.dumps(payload).encode())

    def _raw(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 429 and self.market.retry_after:
            self.send_header("Retry-After", self.market.retry_after)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Suppress the log."""


@contextmanager
def serve(market: JQuantsServer) -> Iterator[JQuantsServer]:
    """Serve on a free local port until the block ends."""
    handler = type("Handler", (_Handler,), {"market": market})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    market.url = f"http://127.0.0.1:{server.server_port}/v2"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield market
    finally:
        server.shutdown()
        server.server_close()


def request_counts(market: JQuantsServer) -> Counter[str]:
    """Number of requests per path."""
    return Counter(request.split()[0] for request in market.requests)
