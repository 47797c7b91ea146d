"""A table as one file, or as a folder of Parquet files by year: `year=2024/part.parquet`.

Polars and DuckDB read such a folder as one table (hive partitioning).
"""

import re
from pathlib import Path

from gogooku3.errors import DataError, choices
from gogooku3.files.atomic import check_output, check_writable

_YEAR = re.compile(r"year=\d{4}")


def year_file(folder: Path, year: int) -> Path:
    """File of one year.

    >>> year_file(Path("mine"), 2024).as_posix()
    'mine/year=2024/part.parquet'
    """
    return folder / f"year={year:04}" / "part.parquet"


def is_year_folder(path: Path) -> bool:
    """Return True if a folder has Parquet files by year."""
    return next(path.glob("year=*/*.parquet"), None) is not None


def table_files(path: Path) -> list[Path]:
    """The file itself, or the files of a year folder, earliest year first; hidden files are skipped.

    Raises:
        DataError: a folder without year files, or with other files.
    """
    if not path.is_dir():
        return [path]
    if foreign := [name for name in _foreign(path) if not name.rpartition("/")[2].startswith(".")]:
        raise DataError(
            f"the folder {path} contains {choices(foreign, 4)}; a data set has only files such as "
            "year=2024/part.parquet: move the others elsewhere"
        )
    files = sorted(path.glob("year=*/[!.]*.parquet"))
    if not files:
        raise DataError(f"the folder {path} has no files such as year=2024/part.parquet; build it again")
    return files


def check_table_output(path: Path | str) -> Path:
    """Refuse a path to which neither a Parquet file nor a year folder can be written; creates nothing.

    A name that ends in `.parquet` stands for a file, a name without an ending for a folder.

    Raises:
        DataError: another ending, something else of that name, or a folder that cannot be written to.
    """
    target = Path(path)
    if target.suffix[1:].isalpha():
        return check_output(target, ".parquet")
    if target.name in ("", "..") or target.is_file():
        what = "a file without an ending" if target.is_file() else "not a name of a folder"
        raise DataError(f"'{target}' is {what}; name a file, such as mine.parquet, or a new folder")
    # The folder is replaced, so hidden files count, too.
    others = [name for name in _foreign(target) if name != ".DS_Store"] if target.is_dir() else []
    if others:
        raise DataError(
            f"'{target}' is a folder of other files ({choices(others, 4)}) and would be replaced; name a new "
            "folder"
        )
    check_writable(target)
    return target


def _foreign(folder: Path) -> list[str]:
    """Names of what is in a folder and its years, hidden or not, and is not a year's Parquet file."""
    years = [entry for entry in folder.iterdir() if _YEAR.fullmatch(entry.name) and entry.is_dir()]
    others = [entry for entry in folder.iterdir() if entry not in years]
    for year in years:
        others += [entry for entry in year.iterdir() if entry.suffix != ".parquet" or not entry.is_file()]
    return sorted(entry.relative_to(folder).as_posix() for entry in others)
