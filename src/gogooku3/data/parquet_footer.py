"""Reads what a Parquet file's footer says of its row groups: sizes, compression, nulls. No value is read.

The footer is a Thrift struct in the compact protocol; of it only a handful of fields are kept.
Layout: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gogooku3.data.table_file import unreadable_file

_CODECS = ("none", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4")
_MAGIC = b"PAR1"
_TAIL = 8
"""Bytes at a file's end: the footer's length and the magic word."""
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12


@dataclass(frozen=True)
class ParquetFooter:
    """One file's layout; `nulls` counts by column, None where the writer didn't count them."""

    rows: int
    row_groups: tuple[int, ...]
    """Rows of each."""
    compression: tuple[str, ...]
    """Names of the codecs used, sorted."""
    nulls: dict[str, int | None]
    """Of each column that is not nested. NaN is no null."""
    written_by: str | None


def read_footer(path: Path) -> ParquetFooter:
    """The footer of a Parquet file.

    Raises:
        DataError: it is none, or damaged.
    """
    try:
        return _footer(_Compact(_footer_bytes(path)).struct())
    except (struct.error, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise unreadable_file(path, error) from None


def _footer_bytes(path: Path) -> bytes:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        tail = file.read(_TAIL)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != _MAGIC or length > size - _TAIL:
            raise ValueError("no Parquet footer at its end")
        file.seek(size - _TAIL - length)
        return file.read(length)


def _footer(fields: dict[int, Any]) -> ParquetFooter:
    """Numbers are those of `FileMetaData`, `RowGroup`, `ColumnChunk`, `ColumnMetaData` and `Statistics`."""
    codecs: set[int] = set()
    nulls: dict[str, int | None] = {}
    for group in fields[4]:
        for chunk in group[1]:
            about = chunk[3]
            codecs.add(about[4])
            path = about[3]
            if len(path) > 1:
                continue
            name = path[0].decode()
            counted = about.get(12, {}).get(3)
            before = nulls.get(name, 0)
            nulls[name] = None if counted is None or before is None else before + counted
    return ParquetFooter(
        rows=fields[3],
        row_groups=tuple(group[3] for group in fields[4]),
        compression=tuple(
            sorted({_CODECS[codec] if codec < len(_CODECS) else f"codec {codec}" for codec in codecs})
        ),
        nulls=nulls,
        written_by=fields[6].decode() if 6 in fields else None,
    )


class _Compact:
    """A reader of Thrift's compact protocol: structs become `{field number: value}`, texts stay bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.readers: dict[int, Callable[[], Any]] = {
            _BYTE: self._byte,
            **dict.fromkeys((4, 5, 6), self._integer),
            _DOUBLE: self._double,
            _BINARY: self._binary,
            **dict.fromkeys((_LIST, _SET), self._list),
            _MAP: self._map,
            _STRUCT: self.struct,
        }

    def struct(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            kind, step = head & 15, head >> 4
            number = number + step if step else self._integer()
            # A boolean field carries its value in its type.
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self.readers[kind]()
        return fields

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _double(self) -> float:
        self.at += 8
        return float(struct.unpack_from("<d", self.data, self.at - 8)[0])

    def _binary(self) -> bytes:
        length = self._varint()
        self.at += length
        if self.at > len(self.data):
            raise IndexError("the footer ends within a text")
        return self.data[self.at - length : self.at]

    def _list(self) -> list[Any]:
        head = self._byte()
        length = head >> 4 if head >> 4 < 15 else self._varint()
        kind = head & 15
        read = self._flag if kind in (_TRUE, _FALSE) else self.readers[kind]
        return [read() for _ in range(length)]

    def _flag(self) -> bool:
        return self._byte() == _TRUE

    def _map(self) -> dict[Any, Any]:
        length = self._varint()
        if not length:
            return {}
        kinds = self._byte()
        key, value = self.readers[kinds >> 4], self.readers[kinds & 15]
        return {key(): value() for _ in range(length)}
