"""Says how a Parquet file is laid out: row groups, compression, nulls. Its footer is read, no value is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gogooku3.data.parquet_splice import Footer, Struct, chunks_of
from gogooku3.errors import DataError
from gogooku3.files.tables import unreadable_file

_CODECS = ("none", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4")
# Numbers of fields in parquet.thrift.
_WRITTEN_BY = 6
_CHUNK = 3
_PATH, _CODEC, _STATISTICS, _NULLS = 3, 4, 12, 3


@dataclass(frozen=True)
class ParquetLayout:
    """One file's layout."""

    row_groups: tuple[int, ...]
    """Rows of each."""
    compression: tuple[str, ...]
    """Names of the codecs used, sorted."""
    nulls: dict[str, int | None]
    """Of each column that is not nested, None where the writer didn't count them. NaN is no null."""
    written_by: str | None

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(self.row_groups)


def read_layout(path: Path) -> ParquetLayout:
    """The layout of a Parquet file.

    Raises:
        DataError: it is none, or damaged.
    """
    try:
        return _layout(Footer.read(path))
    except (DataError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise unreadable_file(path, error) from None


def _layout(footer: Footer) -> ParquetLayout:
    codecs: set[int] = set()
    nulls: dict[str, int | None] = {}
    for group in footer.groups:
        for chunk in chunks_of(group):
            about = chunk[_CHUNK][1]
            codecs.add(about[_CODEC][1])
            path = about[_PATH][1][1]
            if len(path) > 1:
                continue
            name = path[0].decode()
            counted = _get(_get(about, _STATISTICS) or {}, _NULLS)
            before = nulls.get(name, 0)
            nulls[name] = None if counted is None or before is None else before + counted
    written_by = _get(footer.tree, _WRITTEN_BY)
    return ParquetLayout(
        row_groups=tuple(footer.group_rows),
        compression=tuple(
            sorted({_CODECS[codec] if codec < len(_CODECS) else f"codec {codec}" for codec in codecs})
        ),
        nulls=nulls,
        written_by=written_by and written_by.decode(),
    )


def _get(fields: Struct, number: int) -> Any:
    """A field's value, None where it is not there."""
    return fields.get(number, (0, None))[1]
