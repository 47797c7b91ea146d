"""Puts new row groups behind old ones whose bytes are copied, not decoded. It reads footers alone.

A Parquet file is row groups, then a footer that tells where each column's bytes lie, in Thrift's compact
protocol (https://parquet.apache.org/docs/file-format/). Only places in the footer of the new part change.
The old file is not written into: a copy or a hard link of it, or a reader who has it open, would see a part
of the new one.
"""

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

from gogooku3.data.byte_copy import copy_beginning, copy_part
from gogooku3.errors import DataError

MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)

Struct = dict[int, tuple[int, Any]]
"""A Thrift struct: type and value by the number of the field."""

# Numbers of fields in parquet.thrift.
_SCHEMA, _ROWS, _GROUPS = 2, 3, 4
_COLUMNS, _GROUP_ROWS, _GROUP_OFFSET, _ORDINAL = 1, 3, 5, 7
_CHUNK_OFFSET, _CHUNK = 2, 3
_PAGE_OFFSETS = (9, 10, 11)
"""Of a column chunk: data, index and dictionary page."""
_INDEXES = (4, 5, 6, 7)
"""Places and lengths of page indexes, which lie behind all row groups and are not carried over."""
_BLOOM = (14, 15)

_VARINT = rb"[\x80-\xff]*[\x00-\x7f]"


def _texts(sizes: Iterable[int]) -> bytes:
    """A pattern of texts of some sizes, each behind its size."""
    return b"(?:" + b"|".join(re.escape(bytes([size])) + b".{%d}" % size for size in sizes) + b")"


_CHUNK_PATTERN = re.compile(
    # A column chunk: its offset; then, as a struct, type, encodings, path, codec, three sizes, data page,
    # dictionary page, statistics (number of nulls, highest, lowest). No Bloom filter.
    rb"(?P<kept>\x26V\x1c\x15V\x19(?:\x15V|\x25V{2}|\x35V{3}|\x45V{4})\x19\x18NAME\x15V(?:\x16V){3}\x26V"
    rb"(?:\x26V\x1c|\x3c)\x36V(?:\x28VALUE\x18VALUE)?\x00\x00)"
    # Places of page indexes.
    rb"(?:\x16V\x15V\x16V\x15V)?\x00".replace(b"V{", b"(?:V){")
    .replace(b"NAME", _texts(range(1, 64)))
    .replace(b"VALUE", _texts(range(1, 17)))
    .replace(b"V", _VARINT),
    re.DOTALL,
)
"""What most chunks look like: the bytes of thousands are told from others at once, not field by field."""


@dataclass(frozen=True)
class Footer:
    """A file's footer, and where it begins."""

    tree: Struct
    start: int

    @staticmethod
    def read(path: Path) -> "Footer":
        """The footer of a file.

        Raises:
            DataError: it is no Parquet file, or a damaged one.
        """
        size = path.stat().st_size
        with path.open("rb") as handle:
            handle.seek(max(0, size - 8))
            end = handle.read(8)
            length = int.from_bytes(end[:4], "little")
            if end[4:] != MAGIC or length > size - 12:
                raise DataError(f"{path} is no whole Parquet file; build it anew")
            handle.seek(size - 8 - length)
            reader = _Reader(handle.read(length))
        try:
            return Footer(reader.struct(), size - 8 - length)
        except (IndexError, KeyError, struct.error) as error:
            raise DataError(f"the footer of {path} can't be read; build the file anew") from error

    @property
    def groups(self) -> list[Struct]:
        """The row groups; a column chunk is a struct, or the bytes of one without page indexes."""
        found: list[Struct] = self.tree[_GROUPS][1][1]
        return found

    @property
    def group_rows(self) -> list[int]:
        """Rows of each row group."""
        return [int(group[_GROUP_ROWS][1]) for group in self.groups]

    def begin(self, group: int) -> int:
        """Where a row group's bytes begin; behind the last group, where the last one's end."""
        if group == len(self.groups):
            return self.start
        chunks = [chunk[_CHUNK][1] for chunk in chunks_of(self.groups[group])]
        return min(int(chunk[field][1]) for chunk in chunks for field in _PAGE_OFFSETS if field in chunk)


def chunks_of(group: Struct) -> list[Struct]:
    """A row group's column chunks, without page indexes."""
    return [_Reader(chunk).struct() if isinstance(chunk, bytes) else chunk for chunk in group[_COLUMNS][1][1]]


@contextmanager
def splicing(old: Path, before: Footer, keep: int, out: Path) -> Iterator[Callable[[Path], None]]:
    """Copy the first row groups of one file; the function yielded puts all of another's behind them.

    The bytes are copied by a thread, while the other file is made. What comes out has the other's metadata.

    Args:
        old: a Parquet file; the other has the same schema.
        before: its footer, which is used up.
        keep: how many of its row groups to take.
        out: where to.

    Raises:
        DataError: the schemas differ, or a file can't be read.
    """
    stop = Event()
    with old.open("rb") as source, out.open("wb") as written, ThreadPoolExecutor(1) as aside:
        copying = aside.submit(copy_beginning, source, written, before.begin(keep), stop)

        def put_behind(tail: Path) -> None:
            copying.result()
            _put_behind(old, before, keep, tail, written)

        try:
            yield put_behind
        finally:
            stop.set()


def _put_behind(old: Path, before: Footer, keep: int, tail: Path, out: BinaryIO) -> None:
    after = Footer.read(tail)
    if before.tree[_SCHEMA] != after.tree[_SCHEMA]:
        raise DataError(f"{old} and what is to be put behind it have different columns; build it anew")
    end, start = before.begin(keep), after.begin(0)
    with tail.open("rb") as handle:
        copy_part(handle, out, start, after.start, Event())
    kept, added = before.groups[:keep], after.groups
    for group in kept:
        _forget_indexes(group)
    for number, group in enumerate(added, start=keep):
        _move(group, end - start, number)
    kind, (element, _) = after.tree[_GROUPS]
    groups = kept + added
    rows = sum(int(group[_GROUP_ROWS][1]) for group in groups)
    tree = {**after.tree, _ROWS: (_I64, rows), _GROUPS: (kind, (element, groups))}
    footer = _Writer()
    footer.struct(dict(sorted(tree.items())))
    out.write(bytes(footer.out) + len(footer.out).to_bytes(4, "little") + MAGIC)


def _forget_indexes(group: Struct) -> None:
    """Forget what lies outside of a row group."""
    for chunk in group[_COLUMNS][1][1]:
        if isinstance(chunk, bytes):
            continue
        for field in _INDEXES:
            chunk.pop(field, None)
        for field in _BLOOM:
            chunk[_CHUNK][1].pop(field, None)


def _move(group: Struct, by: int, number: int) -> None:
    """Move a row group's places and number it."""

    def move(holder: Struct, field: int) -> None:
        kind, place = holder.get(field, (_I64, 0))
        if place:
            holder[field] = (kind, place + by)

    move(group, _GROUP_OFFSET)
    if _ORDINAL in group:
        group[_ORDINAL] = (_I16, number)
    chunks = chunks_of(group)
    group[_COLUMNS][1][1][:] = chunks
    _forget_indexes(group)
    for chunk in chunks:
        move(chunk, _CHUNK_OFFSET)
        for field in _PAGE_OFFSETS:
            move(chunk[_CHUNK][1], field)


class _Reader:
    """Thrift's compact protocol, to structs."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0
        self._read: dict[int, Callable[[], Any]] = {
            _BYTE: self._byte,
            _I16: self._zigzag,
            _I32: self._zigzag,
            _I64: self._zigzag,
            _DOUBLE: self._double,
            _BINARY: self._binary,
            _LIST: self._list,
            _SET: self._list,
            _STRUCT: self.struct,
        }

    def struct(self) -> Struct:
        found: Struct = {}
        number = 0
        while head := self._byte():
            kind, step = head & 15, head >> 4
            number = number + step if step else self._zigzag()
            found[number] = (kind, kind == _TRUE) if kind in (_TRUE, _FALSE) else (kind, self._read[kind]())
        return found

    def _struct_or_chunk(self) -> Struct | bytes:
        match = _CHUNK_PATTERN.match(self._data, self._at)
        if match is None:
            return self.struct()
        self._at = match.end()
        return match["kept"] + b"\x00"

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        data, at = self._data, self._at
        value = shift = 0
        while (byte := data[at]) & 128:
            value |= (byte & 127) << shift
            shift += 7
            at += 1
        self._at = at + 1
        return value | byte << shift

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _double(self) -> bytes:
        self._at += 8
        return self._data[self._at - 8 : self._at]

    def _binary(self) -> bytes:
        size = self._varint()
        self._at += size
        return self._data[self._at - size : self._at]

    def _list(self) -> tuple[int, list[Any]]:
        head = self._byte()
        kind, size = head & 15, head >> 4
        size = self._varint() if size == 15 else size
        # In a list, unlike in a struct, a truth value is a byte of its own.
        read: Callable[[], Any] = self._byte if kind in (_TRUE, _FALSE) else self._read[kind]
        if kind == _STRUCT:
            read = self._struct_or_chunk
        return kind, [read() for _ in range(size)]


class _Writer:
    """Structs to Thrift's compact protocol."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._write: dict[int, Callable[[Any], None]] = {
            _BYTE: self.out.append,
            _I16: self._zigzag,
            _I32: self._zigzag,
            _I64: self._zigzag,
            _DOUBLE: self.out.extend,
            _BINARY: self._binary,
            _LIST: self._list,
            _SET: self._list,
            _STRUCT: self.struct,
        }

    def struct(self, value: Struct | bytes) -> None:
        if isinstance(value, bytes):
            self.out.extend(value)
            return
        before = 0
        for number, (kind, content) in value.items():
            if 0 < number - before < 16:
                self.out.append((number - before) << 4 | kind)
            else:
                self.out.append(kind)
                self._zigzag(number)
            before = number
            if kind not in (_TRUE, _FALSE):
                self._write[kind](content)
        self.out.append(0)

    def _varint(self, value: int) -> None:
        while value > 127:
            self.out.append(value & 127 | 128)
            value >>= 7
        self.out.append(value)

    def _zigzag(self, value: int) -> None:
        self._varint(value << 1 if value >= 0 else (-value << 1) - 1)

    def _binary(self, value: bytes) -> None:
        self._varint(len(value))
        self.out.extend(value)

    def _list(self, value: tuple[int, list[Any]]) -> None:
        kind, items = value
        if len(items) < 15:
            self.out.append(len(items) << 4 | kind)
        else:
            self.out.append(15 << 4 | kind)
            self._varint(len(items))
        write = self.out.append if kind in (_TRUE, _FALSE) else self._write[kind]
        for item in items:
            write(item)
