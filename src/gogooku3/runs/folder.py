"""The folder of a run: names of its files, and writing them. Every file is written whole or not at all."""

import datetime as dt
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gogooku3.errors import ConfigError, DataError, choices, file_error
from gogooku3.files.atomic import atomic_path, remove_leftovers, write_json_atomic, write_text_atomic
from gogooku3.files.locks import exclusive

if TYPE_CHECKING:
    # Only for the annotation: commands that list runs start without Polars.
    import polars as pl

CONFIG, MANIFEST, METRICS = "config.yaml", "manifest.json", "metrics.json"
AUDIT, PREDICTIONS, GRAPHS = "audit.json", "predictions.parquet", "graphs.parquet"
RETURNS = "returns.parquet"
REPORT, LOCK = "report.html", ".lock"
FEATURE_STATISTICS = "feature_statistics.parquet"
"""In each fold's folder: statistics of the inputs on its training days."""
SPANS = ("train", "validation", "test")
"""Parts of a fold whose first and last days are in the manifest, as `train_start` and `train_end`."""


def check_experiment_name(experiment: str) -> None:
    """Raise a ConfigError if the name is not valid for a folder."""
    if not re.fullmatch(r"\w[\w.-]*", experiment):
        raise ConfigError(
            f"the experiment is called '{experiment}'; use letters, digits, '.', '_' and '-', for it "
            "names a folder"
        )


class RunFolder:
    """`<runs>/<experiment>/<stamp>/`: configuration, manifest, predictions, scores, report, weights.

    Files are named by their path below the folder, or by their absolute path.

    Args:
        runs_dir: folder of all runs.
        experiment: name of the experiment: letters, digits, '.', '_' and '-'.

    Raises:
        ConfigError: the name is not valid for a folder.
    """

    def __init__(self, runs_dir: Path, experiment: str) -> None:
        check_experiment_name(experiment)
        # Absolute, so that the process may change its working directory.
        parent = runs_dir.absolute() / experiment
        self._new = [folder for folder in (parent, *parent.parents) if not folder.exists()]
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self.path = _create_stamped(parent)
        except OSError as error:
            raise file_error(error, parent) or error from error

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """The folder of an existing run, to write to.

        Raises:
            DataError: it has none of a run's files, or something in it is a link or a special file.
        """
        if not (path / CONFIG).is_file():
            entries = choices(sorted(entry.name for entry in path.iterdir())) if path.is_dir() else "nothing"
            raise DataError(
                f"{path} is not the folder of a run: expected {CONFIG} in it, found {entries}; name a folder "
                "such as runs/train/20250101-090000, or start a new run"
            )
        refuse_links(path)
        folder = cls.__new__(cls)
        folder.path = path.resolve()
        folder._new = []
        return folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder while the block runs; a killed process frees it. DataError if another holds it."""
        with exclusive(self.path / LOCK, f"another process is at work in {self.path}"):
            remove_leftovers(self.path)
            yield

    def fold(self, number: int, seed: int | None = None) -> Path:
        """Folder of a fold's weights and history, or of one seed's within it; created if missing."""
        folder = self.path / f"fold_{number}"
        if seed is not None:
            folder /= f"seed_{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def discard(self) -> None:
        """Remove the folder with its contents, and the parent folders it created if they are empty."""
        shutil.rmtree(self.path)
        for folder in self._new:
            with suppress(OSError):
                folder.rmdir()

    def write_json(self, name: Path | str, content: Any) -> Path:
        """Write a JSON file; dates and paths become text."""
        path = self._own(name)
        write_json_atomic(path, content)
        return path

    def write_text(self, name: Path | str, content: str) -> Path:
        """Write a text file."""
        path = self._own(name)
        write_text_atomic(path, content)
        return path

    def write_table(self, name: Path | str, table: "pl.DataFrame") -> Path:
        """Write a Parquet file."""
        path = self._own(name)
        with atomic_path(path) as temporary:
            table.write_parquet(temporary, compression="zstd")
        return path

    def _own(self, name: Path | str) -> Path:
        """A path of this run; a DataError if it is elsewhere."""
        path = self.path / name
        if not path.parent.resolve().is_relative_to(self.path.resolve()):
            raise DataError(f"{path} is outside the run {self.path}; give a name below that folder")
        return path


def refuse_links(folder: Path) -> None:
    """Raise a DataError for a link or special file in a folder: a write would go elsewhere, or hang."""
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a link" if stat.S_ISLNK(mode) else "a special file"
                raise DataError(
                    f"{path} is {kind}; a run that is resumed or audited has only files and folders of its "
                    "own: put a copy in its place, or remove it"
                )


def _create_stamped(parent: Path) -> Path:
    """Create a folder named by the time in UTC; later ones of the same second get a number."""
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%d-%H%M%S")
    for attempt in range(1000):
        path = parent / (stamp if not attempt else f"{stamp}-{attempt}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise ConfigError(f"{parent} holds a thousand runs of this second; choose another experiment name")
