"""Where things lie on this machine: paths alone, from the environment. What to compute is `config`'s.

`GOGOOKU3_DATA_DIR`, `GOGOOKU3_RUNS_DIR`, `GOGOOKU3_CONFIGS_DIR` and `GOGOOKU3_CACHE_DIR` set a
path; a file `.env` in the working directory may hold the same names and yields to the environment.
"""

import codecs
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values

PREFIX = "GOGOOKU3_"


def shipped_configs() -> Path:
    """Folder of the YAML files that ship with the package: inside the wheel, or at a checkout's root.

    >>> (shipped_configs() / "model" / "atft" / "train.yaml").is_file()
    True
    """
    package = Path(__file__).resolve().parent
    inside_wheel = package / "configs"
    return inside_wheel if inside_wheel.is_dir() else package.parents[1] / "configs"


@dataclass
class Settings:
    """The folders the package reads and writes; relative ones are taken from the working directory.

    >>> Settings().data_dir / "raw" / "prices.parquet"
    PosixPath('data/raw/prices.parquet')
    """

    data_dir: Path = Path("data")
    """Data sets and raw prices; beside the project, because they belong to it and not to the machine."""
    runs_dir: Path = Path("runs")
    """One folder a training run."""
    configs_dir: Path = field(default_factory=shipped_configs)
    """Where a name such as `model/atft/quickstart` is looked up: the files shipped with the package."""
    cache_dir: Path = Path("data/cache")
    """What can be made again: everything in it may be deleted."""


def load_settings(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Read the paths from `environment` and, where it is silent, from `.env` in `folder`.

    An empty variable counts as absent; `~` is the home folder. Without `GOGOOKU3_CACHE_DIR` the
    cache lies in the data folder. Defaults: the process's environment and the working directory.

    >>> load_settings({"GOGOOKU3_DATA_DIR": "/big/disk"}, Path("/nowhere")).data_dir
    PosixPath('/big/disk')
    """
    environment = os.environ if environment is None else environment
    dotenv = read_dotenv(folder)
    defaults = Settings()

    def path(name: str, default: Path) -> Path:
        variable = PREFIX + name.upper()
        chosen = environment.get(variable) or dotenv.get(variable)
        return Path(chosen).expanduser() if chosen else default

    data_dir = path("data_dir", defaults.data_dir)
    return Settings(
        data_dir=data_dir,
        runs_dir=path("runs_dir", defaults.runs_dir),
        configs_dir=path("configs_dir", defaults.configs_dir),
        cache_dir=path("cache_dir", data_dir / "cache"),
    )


def read_dotenv(folder: Path | None = None) -> dict[str, str | None]:
    """The names and values in `.env` of a folder, the working directory by default; none without the file.

    UTF-8, or UTF-16 with its mark, as some Windows editors write. Bytes that are neither become U+FFFD, so
    that one bad line doesn't take the others with it.

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
