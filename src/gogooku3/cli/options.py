"""Options that several commands share, each declared once."""

import datetime as dt
from pathlib import Path
from typing import Annotated

from typer import Option

from gogooku3.errors import ConfigError

RunFolder = Annotated[Path, Option("--run", metavar="DIR", help="Folder of a run made by `train`.")]
RunsFolder = Annotated[
    Path | None, Option("--out", metavar="DIR", help="Folder that holds all runs; ./runs by default.")
]
AsJson = Annotated[bool, Option("--json", help="Print everything as JSON.")]
ExtraFamilies = Annotated[
    str | None,
    Option(
        metavar="FAMILIES",
        help="Families beyond the 139 features, by comma: statements, margin, flows; prices need facts.",
    ),
]
DateFormat = Annotated[
    str | None, Option(metavar="FORMAT", help="Form of the days in prices, such as %d.%m.%Y for 31.01.2024.")
]
Verbose = Annotated[bool, Option("--verbose", "-v", help="Report each step as it runs.")]


def parse_day(option: str, text: str) -> dt.date:
    """Parse the ISO date given to an option; a ConfigError names the option."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option} is '{text}'; expected a day as YYYY-MM-DD; write a day as 2024-01-31"
        ) from None
