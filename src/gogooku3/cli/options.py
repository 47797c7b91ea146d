"""Options that several commands share, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

RunFolder = Annotated[Path, typer.Option("--run", metavar="DIR", help="Folder of a run made by `train`.")]
RunsFolder = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder that holds all runs; ./runs by default.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Report each step as it runs.")]
