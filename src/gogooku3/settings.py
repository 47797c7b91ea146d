"""Paths on this machine, from the environment; run settings are in `config`.

`GOGOOKU3_DATA_DIR`, `GOGOOKU3_RUNS_DIR`, `GOGOOKU3_CONFIGS_DIR` and `GOGOOKU3_CACHE_DIR` each set a
path; a file `.env` in the working directory may set the same names, and the environment overrides it.
"""

import codecs
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values


def shipped_configs() -> Path:
    """Folder of the YAML files shipped with the package: inside the wheel, or at a checkout's root.

    >>> (shipped_configs() / "model" / "atft" / "train.yaml").is_file()
    True
    """
    package = Path(__file__).resolve().parent
    inside_wheel = package / "configs"
    return inside_wheel if inside_wheel.is_dir() else package.parents[1] / "configs"


@dataclass
class Settings:
    """Folders that the package reads and writes; relative paths start at the working directory.

    >>> Settings().data_dir / "raw" / "prices.parquet"
    PosixPath('data/raw/prices.parquet')
    """

    data_dir: Path = Path("data")
    """Data sets and raw prices; by default in the project, to which they belong."""
    runs_dir: Path = Path("runs")
    """One folder per training run."""
    configs_dir: Path = field(default_factory=shipped_configs)
    """Folder in which names such as `model/atft/quickstart` are looked up; by default the shipped files."""
    cache_dir: Path = Path("data/cache")
    """Files that can be recomputed; everything in it may be deleted."""


def load_settings(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Read the paths from `environment`, then from `.env` in `folder`.

    An empty variable counts as absent; `~` is the home folder. Without `GOGOOKU3_CACHE_DIR` the
    cache is in the data folder. Defaults: the process's environment and the working directory.

    >>> load_settings({"GOGOOKU3_DATA_DIR": "/big/disk"}, Path("/nowhere")).data_dir
    PosixPath('/big/disk')
    """
    environment = os.environ if environment is None else environment
    dotenv = read_dotenv(folder)
    chosen: dict[str, Path] = {}
    for name in ("data_dir", "runs_dir", "configs_dir", "cache_dir"):
        variable = f"GOGOOKU3_{name.upper()}"
        if value := environment.get(variable) or dotenv.get(variable):
            chosen[name] = Path(value).expanduser()
        elif name == "cache_dir" and "data_dir" in chosen:
            chosen[name] = chosen["data_dir"] / "cache"
    return Settings(**chosen)


def read_dotenv(folder: Path | None = None) -> dict[str, str | None]:
    """Read the names and values in a folder's `.env` (by default the working directory's); {} without one.

    UTF-8, or UTF-16 with a byte order mark, as some Windows editors write. Invalid bytes become U+FFFD, so
    that one bad line doesn't affect the others.

    >>> read_dotenv(Path("/nowhere"))
    {}
    """
    file = (folder or Path()) / ".env"
    if not file.is_file():
        return {}
    content = file.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if marked else "utf-8-sig", errors="replace")
    return dict(dotenv_values(stream=io.StringIO(text)))


settings = load_settings()
"""The paths of this process, read once at import."""
