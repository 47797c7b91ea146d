"""How commands speak: results as tables on standard output, progress on standard error."""

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Told what is being done and the share done so far, 0 to 1."""

    def __call__(self, step: str, share: float) -> None: ...


def split_names(text: str | None) -> list[str]:
    """Names in an option, separated by commas.

    >>> split_names("a, b"), split_names(None)
    (['a', 'b'], [])
    """
    return [name for part in (text or "").split(",") if (name := part.strip())]


def say(message: str) -> None:
    """Tell a person what happens now, where it doesn't mix with results."""
    print(message, file=sys.stderr, flush=True)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    text: int = 1,
    wrapped: Collection[str] = (),
) -> None:
    """Print a table; the first `text` columns hold words, the others numbers, aligned right.

    On a terminal the columns named in `wrapped` take the width that is left; in a pipe or a file nothing
    is wrapped. Numbers are never cut.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        # Numbers need no second blank between them; eight columns of them then fit in 80 characters.
        padding=(0, 1 if wrapped else 0),
        collapse_padding=True,
        pad_edge=False,
    )
    for position, column in enumerate(columns):
        is_number = position >= text
        table.add_column(
            column.replace(" ", "\n") if is_number else column,
            justify="right" if is_number else "left",
            no_wrap=column not in wrapped,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    whole = max(Console(width=10_000).measure(table).maximum, len(title))
    if not (console.is_terminal and wrapped):
        # Too narrow a terminal would cut digits off; let it break the line instead.
        console.width = max(console.width, whole) if console.is_terminal else whole
    console.print(table)


@contextmanager
def progress_bar(title: str, remaining: bool = False) -> Iterator[Progress]:
    """Show a bar on standard error while the block runs; it yields what to tell about progress.

    With `remaining`, the bar tells the time left instead of the time taken.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    time = TimeRemainingColumn() if remaining else TimeElapsedColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), time)
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def tell(step: str, share: float) -> None:
            bar.update(task, description=f"{title}: {step}", completed=share)

        yield tell
