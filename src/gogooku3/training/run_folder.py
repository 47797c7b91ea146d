"""A run is a folder that explains itself; every file in it is written whole."""

import datetime as dt
import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.atomic import atomic_path, write_text_atomic
from gogooku3.errors import ConfigError


class RunFolder:
    """`<runs>/<experiment>/<stamp>/`: configuration, manifest, predictions, scores, report, weights.

    Args:
        runs_dir: folder of all runs.
        experiment: name of the experiment: letters, digits, '.', '_' and '-'.

    What is written is named by its path below the folder, or by its whole path.

    Raises:
        ConfigError: a name that is no folder name.
    """

    def __init__(self, runs_dir: Path, experiment: str) -> None:
        if not re.fullmatch(r"\w[\w.-]*", experiment):
            raise ConfigError(
                f"the experiment is called '{experiment}'; use letters, digits, '.', '_' and '-', for it "
                "names a folder"
            )
        self.path = _fresh_folder(runs_dir / experiment)

    def fold(self, number: int, seed: int | None = None) -> Path:
        """Folder of one fold's weights and history, or within it that of one of several networks."""
        folder = self.path / f"fold_{number}"
        if seed is not None:
            folder /= f"seed_{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def discard(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.path)

    def write_json(self, name: Path | str, content: Any) -> Path:
        """Write a JSON file; dates and paths become text."""
        path = self.path / name
        write_text_atomic(path, json.dumps(content, indent=2, default=str) + "\n")
        return path

    def write_text(self, name: Path | str, content: str) -> Path:
        """Write a text file."""
        path = self.path / name
        write_text_atomic(path, content)
        return path

    def write_table(self, name: Path | str, table: pl.DataFrame) -> Path:
        """Write a Parquet file."""
        path = self.path / name
        with atomic_path(path) as temporary:
            table.write_parquet(temporary, compression="zstd")
        return path


def _fresh_folder(parent: Path) -> Path:
    """A new folder named by the time in UTC; a second run in the same second counts on."""
    parent.mkdir(parents=True, exist_ok=True)
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%d-%H%M%S")
    for attempt in range(1000):
        path = parent / (stamp if not attempt else f"{stamp}-{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise ConfigError(f"{parent} holds a thousand runs of this second; choose another experiment name")
