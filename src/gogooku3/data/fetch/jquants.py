"""Fetches the Tokyo market from J-Quants into a raw store: what is not there yet, in parallel.

It keeps answers as they come. What was known when is `data.point_in_time`'s.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from gogooku3.data.fetch.jquants_client import JQuantsClient, NotInPlan, OutsideCoverage
from gogooku3.data.fetch.jquants_data import CALENDAR, DATASETS, Dataset, trading_days
from gogooku3.data.fetch.pandas_frames import to_polars
from gogooku3.data.fetch.store import RawStore, month_of
from gogooku3.errors import ConfigError, DataError, choices

TOKYO = ZoneInfo("Asia/Tokyo")
Told = Callable[[int, int], None]
"""Told how many requests of how many are done."""


@dataclass
class FetchReport:
    """What a fetch brought."""

    written: dict[str, int] = field(default_factory=dict)
    """Files by data set."""
    rows: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    """Data sets that the plan does not hold, and the reason."""
    pending: dict[str, list[str]] = field(default_factory=dict)
    """Days or months of a data set that are not published yet; the next fetch asks for them again."""


@dataclass(frozen=True)
class _Job:
    dataset: Dataset
    unit: str
    first: dt.date
    last: dt.date


def fetch_jquants(
    store: RawStore,
    client: JQuantsClient,
    first: dt.date,
    last: dt.date,
    datasets: Sequence[str] = tuple(DATASETS),
    workers: int = 4,
    today: dt.date | None = None,
    told: Told | None = None,
) -> FetchReport:
    """Bring what is missing between two days, both included.

    Killed at any moment and started again, it ends with the same files, byte for byte.

    Args:
        store: where files go; only this process may write there meanwhile.
        client: with the user's key.
        first, last: days of Tokyo.
        datasets: names out of `DATASETS`.
        workers: requests under way at once; the client's pace bounds them all.
        today: in Tokyo; the present one by default. Days after it are left out.
        told: hears of progress.

    Raises:
        ConfigError: the days are the wrong way round, or a data set is unknown.
        DataError: the key is refused, the server keeps failing, or its answer is not what it was.
    """
    if unknown := [name for name in datasets if name not in DATASETS]:
        raise ConfigError(f"there is no data set {choices(unknown)}; choose among {choices(DATASETS)}")
    today = today or tokyo_today()
    if first > last:
        raise ConfigError(f"the first day {first} lies after the last {last}; swap --from and --to")
    if first > today:
        raise ConfigError(
            f"the first day {first} lies in the future; choose one up to {today}, Tokyo's today"
        )
    last = min(last, today)
    report = FetchReport()
    with store.writing():
        sessions = _fetch_calendar(store, client, first, last)
        jobs = [
            job
            for name in DATASETS
            if name in datasets
            for job in _jobs(DATASETS[name], first, last, sessions, today)
            if not store.has(name, job.unit)
        ]
        # Newest last: whoever stops a long fetch has the oldest days whole.
        jobs.sort(key=lambda job: job.first)
        _run(jobs, store, client, today, workers, report, told)
    return report


def tokyo_today() -> dt.date:
    """The present day in Tokyo."""
    return dt.datetime.now(TOKYO).date()


def _fetch_calendar(store: RawStore, client: JQuantsClient, first: dt.date, last: dt.date) -> list[dt.date]:
    """Bring the calendar of these years and keep it by year; the trading days between first and last."""
    start, end = dt.date(first.year, 1, 1), dt.date(last.year, 12, 31)
    answer = client.call(
        "the trading calendar",
        lambda asked: asked.get_mkt_calendar(from_yyyymmdd=str(start), to_yyyymmdd=str(end)),
    )
    days = _checked(answer, CALENDAR, ("Date", "HolDiv"), ("Date",), None, "the trading calendar")
    if days.is_empty():
        raise DataError(
            f"J-Quants' calendar has no day from {start} to {end}; ask for days that your plan covers"
        )
    for (month,), part in days.group_by(pl.col("Date").dt.strftime("%Y-%m"), maintain_order=True):
        store.write(CALENDAR, str(month), part.sort("Date"))
    return trading_days(days, first, last)


def _jobs(
    dataset: Dataset, first: dt.date, last: dt.date, sessions: Sequence[dt.date], today: dt.date
) -> list[_Job]:
    if dataset.unit == "session":
        return [_Job(dataset, str(day), day, day) for day in sessions]
    span = [first + dt.timedelta(days) for days in range((last - first).days + 1)]
    if dataset.unit == "day":
        return [_Job(dataset, str(day), day, day) for day in span]
    # A month is asked for whole, whichever of its days was wanted: its file must not depend on that.
    jobs = []
    for month in sorted({month_of(day) for day in span}):
        start = dt.date.fromisoformat(f"{month}-01")
        jobs.append(_Job(dataset, month, start, min(_month_end(start), today)))
    return jobs


def _is_settled(job: _Job, today: dt.date) -> bool:
    """Whether what is answered today about a unit will stay the answer."""
    days = job.dataset.settled_after_days
    end = _month_end(job.first) if job.dataset.unit == "month" else job.last
    return days is None or (today - end).days >= days


def _month_end(day: dt.date) -> dt.date:
    return (day.replace(day=1) + dt.timedelta(32)).replace(day=1) - dt.timedelta(1)


def _run(
    jobs: Sequence[_Job],
    store: RawStore,
    client: JQuantsClient,
    today: dt.date,
    workers: int,
    report: FetchReport,
    told: Told | None,
) -> None:
    waiting = list(reversed(jobs))
    running: dict[Future[pl.DataFrame], _Job] = {}
    done = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
    try:
        while waiting or running:
            while waiting and len(running) < 2 * workers:
                job = waiting.pop()
                if job.dataset.name in report.skipped:
                    done += 1
                    continue
                running[pool.submit(_answer, client, job)] = job
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                _keep(future, job, store, today, report)
                done += 1
            if told:
                told(done, len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)


def _answer(client: JQuantsClient, job: _Job) -> pl.DataFrame:
    what = f"{job.dataset.name} of {job.unit}"
    first, last = str(job.first), str(job.last)
    answer = client.call(what, lambda asked: job.dataset.ask(asked, first, last))
    dataset = job.dataset
    frame = _checked(answer, dataset.name, dataset.needed, dataset.dates, dataset.text, what)
    return frame.unique(maintain_order=True).sort(dataset.keys) if frame.width else frame


def _keep(
    future: "Future[pl.DataFrame]", job: _Job, store: RawStore, today: dt.date, report: FetchReport
) -> None:
    name = job.dataset.name
    try:
        frame = future.result()
    except (NotInPlan, OutsideCoverage) as error:
        if job.dataset.required:
            raise
        report.skipped.setdefault(name, str(error))
        return
    settled = _is_settled(job, today)
    if frame.is_empty() and (not settled or job.dataset.settled_after_days is None):
        report.pending.setdefault(name, []).append(job.unit)
        return
    store.write(name, job.unit, frame, settled)
    report.written[name] = report.written.get(name, 0) + 1
    report.rows += frame.height


def _checked(
    answer: Any,
    name: str,
    needed: Sequence[str],
    dates: Sequence[str],
    text: Sequence[str] | None,
    what: str,
) -> pl.DataFrame:
    """An answer as a Polars frame; refused where it lacks what the data set can't do without."""
    if len(answer) == 0:
        return pl.DataFrame()
    if lacking := [column for column in needed if column not in answer.columns]:
        raise DataError(
            f"J-Quants' answer for {what} lacks {choices(lacking)}; it has {choices(answer.columns)}. The "
            "interface may have changed: nothing of it was kept; look for a newer gogooku3"
        )
    return to_polars(answer, what, dates=dates, text=text)
