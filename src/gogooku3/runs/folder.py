"""A run is a folder that explains itself; every file in it is written whole."""

import datetime as dt
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import polars as pl

from gogooku3.errors import ConfigError, DataError, choices, file_error
from gogooku3.files.atomic import atomic_path, remove_leftovers, write_text_atomic
from gogooku3.files.locks import exclusive
from gogooku3.runs.files import CONFIG, LOCK


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
        # Absolute, so that a whole path is told from one below the folder wherever the process stands.
        parent = runs_dir.absolute() / experiment
        self._new = [folder for folder in (parent, *parent.parents) if not folder.exists()]
        self.path = _fresh_folder(parent)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The folder of a run that was started before.

        Raises:
            DataError: it is none.
        """
        if not (path / CONFIG).is_file():
            held = choices(sorted(entry.name for entry in path.iterdir())) if path.is_dir() else "nothing"
            raise DataError(
                f"{path} is not the folder of a run: expected {CONFIG} in it, found {held}; name a folder "
                "such as runs/train/20250101-090000, or start a new run"
            )
        folder = cls.__new__(cls)
        folder.path = path.resolve()
        folder._new = []
        return folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process out while the block runs, however this one ends.

        Raises:
            DataError: another run is at work in the folder.
        """
        with exclusive(self.path / LOCK, f"another process is at work in {self.path}"):
            remove_leftovers(self.path)
            yield

    def fold(self, number: int, seed: int | None = None) -> Path:
        """Folder of one fold's weights and history, or within it that of one of several networks."""
        folder = self.path / f"fold_{number}"
        if seed is not None:
            folder /= f"seed_{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def discard(self) -> None:
        """Remove the folder with all that is in it, and those above it that it made and nobody else uses."""
        shutil.rmtree(self.path)
        for folder in self._new:
            with suppress(OSError):
                folder.rmdir()

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
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_error(error, parent) or error from error
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%d-%H%M%S")
    for attempt in range(1000):
        path = parent / (stamp if not attempt else f"{stamp}-{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise file_error(error, path) or error from error
        return path
    raise ConfigError(f"{parent} holds a thousand runs of this second; choose another experiment name")
