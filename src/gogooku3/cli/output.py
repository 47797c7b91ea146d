"""How commands speak: results as tables on standard output, progress on standard error."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Told what is being done and the share done so far, 0 to 1."""

    def __call__(self, step: str, share: float) -> None: ...


def say(message: str) -> None:
    """Tell a person what happens now, where it doesn't mix with results."""
    print(message, file=sys.stderr, flush=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> None:
    """Print a table; the first `text` columns are words, aligned left, the others numbers, aligned right.

    In a pipe or file nothing is wrapped or cut, whatever the width.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position < text else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    console.print(table, width=None if console.is_terminal else Console(width=10_000).measure(table).maximum)


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """Show a bar on standard error while the block runs; it yields what to tell about progress."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def tell(step: str, share: float) -> None:
            bar.update(task, description=f"{title}: {step}", completed=share)

        yield tell
