"""Output of the commands: tables on standard output, progress and warnings on standard error."""

import json
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from gogooku3.errors import choices, visible

LEFT_TO_THE_REPORT = ("95% interval", "Daily turnover")
"""Columns of the headline that don't fit in 80 characters."""


class Progress(Protocol):
    """Called with the current step and the share done, 0 to 1."""

    def __call__(self, step: str, share: float) -> None: ...


def split_names(text: str | None) -> list[str]:
    """Split an option's comma-separated names.

    >>> split_names("a, b"), split_names(None)
    (['a', 'b'], [])
    """
    return [name for part in (text or "").split(",") if (name := part.strip())]


def say(message: str) -> None:
    """Print to standard error, where it doesn't mix with results."""
    print(visible(message, lines=True), file=sys.stderr, flush=True)


def show(message: str = "") -> None:
    """Print a result to standard output."""
    print(visible(message, lines=True))


def print_json(value: Any) -> None:
    """Print a value as indented JSON; dates and paths become text."""
    print(json.dumps(value, indent=2, default=str))


def print_left_out(names: Sequence[str]) -> None:
    """Print what a folder of prices has that was not read; nothing if there is nothing."""
    if names:
        show(f"not read in the folder: {choices(names, 8)}")


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    text: int = 1,
    wrapped: Collection[str] = (),
) -> None:
    """Print a table; the first `text` columns hold words, the others numbers, aligned right.

    On a terminal the columns named in `wrapped` share the remaining width; in a pipe or a file nothing
    wraps. Numbers are never cut.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=visible(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        # One space between numbers, so that eight columns fit in 80 characters.
        padding=(0, 1 if wrapped else 0),
        collapse_padding=True,
        pad_edge=False,
    )
    for position, column in enumerate(columns):
        is_number = position >= text
        table.add_column(
            visible(column).replace(" ", "\n") if is_number else visible(column),
            justify="right" if is_number else "left",
            no_wrap=column not in wrapped,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(visible, row))
    plain = partial(Console, markup=False, emoji=False, highlight=False)
    console = plain()
    full_width = max(plain(width=10_000).measure(table).maximum, len(title))
    if not (console.is_terminal and wrapped):
        # A narrow terminal breaks the line rather than cutting digits.
        console.width = max(console.width, full_width) if console.is_terminal else full_width
    console.print(table)


def print_headline(scores: dict[str, Any]) -> None:
    """Print the pooled scores of `score_predictions`, one row per model and horizon, verdict and notes."""
    from gogooku3.reporting.tables import headline_rows, scoring_notes, verdict

    rows = headline_rows(scores)
    columns = [column for column in rows[0] if column not in LEFT_TO_THE_REPORT] if rows else []
    span, cost = scores["rows"], scores["settings"]["cost_bps"]
    print_table(
        f"Out of sample, {span['first_date']} to {span['last_date']}, {span['n_stocks']} stocks, "
        f"net of {cost:g} bp",
        columns,
        [[row[column] for column in columns] for row in rows],
        text=2,
    )
    for sentence in (*verdict(scores), *scoring_notes(scores)):
        show(sentence)


@contextmanager
def progress_bar(title: str, remaining: bool = False) -> Iterator[Progress]:
    """Show a bar on standard error while the block runs; yields the function that moves it.

    With `remaining`, the bar shows the time left instead of the time taken.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    time = TimeRemainingColumn() if remaining else TimeElapsedColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), time)
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def update(step: str, share: float) -> None:
            bar.update(task, description=visible(f"{title}: {step}"), completed=share)

        yield update
