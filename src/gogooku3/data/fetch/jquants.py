"""Downloads the missing J-Quants data in parallel and stores the answers unchanged."""

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import polars as pl

from gogooku3.data.fetch.jquants_client import JQuantsClient, NotInPlan, OutsideCoverage
from gogooku3.data.fetch.jquants_data import CALENDAR, DATASETS, Dataset, trading_days
from gogooku3.data.fetch.pandas_frames import to_polars
from gogooku3.data.fetch.store import RawStore, days_between, month_of
from gogooku3.errors import ConfigError, DataError, choices

TOKYO = ZoneInfo("Asia/Tokyo")
OnProgress = Callable[[int, int], None]
"""Called with the number of finished requests and of all requests."""


@dataclass
class FetchReport:
    """Result of a fetch."""

    written: dict[str, int] = field(default_factory=dict)
    """Number of files per data set."""
    rows: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Data sets outside the plan, with the reason."""
    pending: dict[str, list[str]] = field(default_factory=dict)
    """Days or months per data set that are not published yet; the next fetch requests them again."""


@dataclass(frozen=True)
class _Request:
    """One unit (a day or month) of a data set."""

    dataset: Dataset
    unit: str
    first: dt.date
    last: dt.date

    def download(self, client: JQuantsClient) -> pl.DataFrame:
        """The answer, sorted and without duplicate rows; a frame without columns if it is empty."""
        what, dataset = f"{self.dataset.name} of {self.unit}", self.dataset
        answer = client.call(what, lambda api: dataset.ask(api, str(self.first), str(self.last)))
        if len(answer) == 0:
            return pl.DataFrame()
        if missing := [column for column in dataset.needed if column not in answer.columns]:
            raise DataError(
                f"J-Quants' answer for {what} lacks {choices(missing)}; it has {choices(answer.columns)}. "
                "The interface may have changed: the answer was not stored; try a newer gogooku3"
            )
        frame = to_polars(answer, what, dates=dataset.dates, text=dataset.text)
        return frame.unique(maintain_order=True).sort(dataset.keys)

    def is_settled(self, today: dt.date) -> bool:
        """Return True if an answer of today is final."""
        days = self.dataset.settled_after_days
        end = _month_end(self.first) if self.dataset.unit == "month" else self.last
        return days is None or (today - end).days >= days


def fetch_jquants(
    store: RawStore,
    client: JQuantsClient,
    first: dt.date,
    last: dt.date,
    datasets: Sequence[str] = tuple(DATASETS),
    workers: int = 4,
    today: dt.date | None = None,
    on_progress: OnProgress | None = None,
) -> FetchReport:
    """Fetch what is missing between two days, both included.

    A fetch that is killed and restarted ends with the same files, byte for byte.

    Args:
        store: destination; locked against other writers meanwhile.
        first, last: days in Tokyo.
        datasets: names in `DATASETS`.
        workers: parallel requests; the client's rate limit applies to all of them together.
        today: in Tokyo; the current day by default. Later days are not requested.

    Raises:
        ConfigError: the days are in the wrong order, or a data set is unknown.
        DataError: the key is refused, the server keeps failing, or its answer has another format.
    """
    if unknown := [name for name in datasets if name not in DATASETS]:
        raise ConfigError(f"unknown data set {choices(unknown)}; choose among {choices(DATASETS)}")
    today = today or tokyo_today()
    if first > last:
        raise ConfigError(f"the first day {first} is after the last day {last}; swap --from and --to")
    if first > today:
        raise ConfigError(
            f"the first day {first} is in the future; choose one up to {today} (today in Tokyo)"
        )
    last = min(last, today)
    with store.writing():
        sessions = _fetch_calendar(store, client, first, last)
        requests = [
            request
            for name in DATASETS
            if name in datasets
            for request in _requests(DATASETS[name], first, last, sessions, today)
            if not store.has(name, request.unit)
        ]
        # Oldest first: a fetch that is stopped has its oldest days complete.
        requests.sort(key=lambda request: request.first)
        return _Fetch(store, client, today).run(requests, workers, on_progress)


def tokyo_today() -> dt.date:
    """The current day in Tokyo."""
    return dt.datetime.now(TOKYO).date()


def _fetch_calendar(store: RawStore, client: JQuantsClient, first: dt.date, last: dt.date) -> list[dt.date]:
    """Store the calendar of whole years, and return the trading days between first and last."""
    years = f"{first.year} to {last.year}" if first.year < last.year else str(first.year)
    request = _Request(CALENDAR, years, dt.date(first.year, 1, 1), dt.date(last.year, 12, 31))
    days = request.download(client)
    if days.is_empty():
        raise DataError(f"J-Quants' calendar of {years} is empty; choose days that your plan covers")
    for (month,), part in days.group_by(pl.col("Date").dt.strftime("%Y-%m"), maintain_order=True):
        store.write(CALENDAR.name, str(month), part)
    return trading_days(days, first, last)


def _requests(
    dataset: Dataset, first: dt.date, last: dt.date, sessions: Sequence[dt.date], today: dt.date
) -> list[_Request]:
    days = sessions if dataset.unit == "session" else days_between(first, last)
    if dataset.unit != "month":
        return [_Request(dataset, str(day), day, day) for day in days]
    # Request whole months: the content of a month's file must not depend on the chosen days.
    starts = [dt.date.fromisoformat(f"{month}-01") for month in sorted({month_of(day) for day in days})]
    return [_Request(dataset, month_of(day), day, min(_month_end(day), today)) for day in starts]


def _month_end(day: dt.date) -> dt.date:
    return (day.replace(day=1) + dt.timedelta(32)).replace(day=1) - dt.timedelta(1)


@dataclass
class _Fetch:
    """Downloads in worker threads, and writes in the calling thread."""

    store: RawStore
    client: JQuantsClient
    today: dt.date
    report: FetchReport = field(default_factory=FetchReport)

    def run(self, requests: Sequence[_Request], workers: int, on_progress: OnProgress | None) -> FetchReport:
        waiting = list(reversed(requests))
        running: dict[Future[pl.DataFrame], _Request] = {}
        pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    request = waiting.pop()
                    if request.dataset.name not in self.report.skipped:
                        running[pool.submit(request.download, self.client)] = request
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    self._keep(future, running.pop(future))
                if on_progress:
                    on_progress(len(requests) - len(waiting) - len(running), len(requests))
        finally:
            pool.shutdown(cancel_futures=True)
        return self.report

    def _keep(self, future: "Future[pl.DataFrame]", request: _Request) -> None:
        """Write one answer, or record why there is none."""
        name = request.dataset.name
        try:
            frame = future.result()
        except (NotInPlan, OutsideCoverage) as error:
            if request.dataset.required:
                raise
            self.report.skipped.setdefault(name, str(error))
            return
        settled = request.is_settled(self.today)
        # An empty answer is stored only once it is final.
        if frame.is_empty() and (not settled or request.dataset.settled_after_days is None):
            self.report.pending.setdefault(name, []).append(request.unit)
            return
        self.store.write(name, request.unit, frame, settled)
        self.report.written[name] = self.report.written.get(name, 0) + 1
        self.report.rows += frame.height
