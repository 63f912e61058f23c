"""The pages of an SQLite database file, with those of its write-ahead log, read without SQLite.

SQLite refuses a database whose header or schema is damaged, and stops at a damaged page. The functions here read every page for
itself. The format: https://www.sqlite.org/fileformat2.html
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from longview.indexing.sqlite.database.connections import MAX_VALUE_BYTES

MAGIC = b"SQLite format 3\0"
DEFAULT_PAGE_BYTES = 4096
HEADER_BYTES = 100
"""Size of the header of the file, at the beginning of the first page, in bytes."""
TABLE_LEAF, TABLE_INTERIOR, INDEX_LEAF, INDEX_INTERIOR = 0x0D, 0x05, 0x0A, 0x02
"""Types of pages: the first byte of a page."""
WAL_HEADER, WAL_FRAME = struct.Struct(">8I"), struct.Struct(">6I")
WAL_MAGIC = 0x377F0682
"""The first four bytes of a write-ahead log. With the lowest bit set, its checksums are big-endian."""
MAX_COLUMNS = 2000

Value = None | int | float | str | bytes
Row = tuple[Value, ...]


class DamagedPage(Exception):
    """A page, or a cell of one, that is not what the format says."""


class DatabasePages:
    """The pages of a database as its last committed transaction left them. The file stays open until `close`.

    A process that closes a file gives up all locks that it holds on it, also those of SQLite. `close` therefore comes after the
    work that a lock protects.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        header = self._file.read(HEADER_BYTES)
        self.has_header = header.startswith(MAGIC)
        wal = path.with_name(path.name + "-wal")
        self._wal = wal.read_bytes() if wal.exists() else b""
        page_bytes = int.from_bytes(header[16:18], "big") if self.has_header else 0
        page_bytes = 1 << 16 if page_bytes == 1 else page_bytes
        if not _is_page_size(page_bytes) and len(self._wal) >= WAL_HEADER.size:
            page_bytes = WAL_HEADER.unpack_from(self._wal)[2]
        self.page_bytes = page_bytes if _is_page_size(page_bytes) else DEFAULT_PAGE_BYTES
        self._frames, self.lost_commits = self._read_wal()
        """Positions of the committed pages in the log; the number of commits after a damaged frame."""
        self.count = max(-(-path.stat().st_size // self.page_bytes), *self._frames, 0)
        """Number of pages; the last one may be cut off."""
        first = self.page(1) if self.count else b""
        self.has_header = first.startswith(MAGIC)
        self.usable_bytes = self.page_bytes - (first[20] if self.has_header else 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def page(self, number: int) -> bytes:
        """Return a page; pages are counted from 1. What is cut off is zeros."""
        if number in self._frames:
            start = self._frames[number]
            return self._wal[start : start + self.page_bytes]
        self._file.seek((number - 1) * self.page_bytes)
        return self._file.read(self.page_bytes).ljust(self.page_bytes, b"\0")

    def image(self) -> bytes:
        """Return the whole database as a file without a write-ahead log."""
        pages = bytearray(b"".join(map(self.page, range(1, self.count + 1))))
        # The two bytes say whether the file is read and written with a log.
        pages[18:20] = b"\x01\x01"
        return bytes(pages)

    @property
    def user_version(self) -> int | None:
        """The number of migrations that were applied; None if the header is damaged."""
        return int.from_bytes(self.page(1)[60:64], "big") if self.has_header else None

    def free_pages(self) -> frozenset[int]:
        """Return the numbers of the pages that are in no table, as far as the list of them can be read."""
        numbers: set[int] = set()
        trunk = int.from_bytes(self.page(1)[32:36], "big") if self.has_header else 0
        while 0 < trunk <= self.count and trunk not in numbers:
            numbers.add(trunk)
            page = self.page(trunk)
            length = min(int.from_bytes(page[4:8], "big"), self.usable_bytes // 4 - 2)
            numbers |= {int.from_bytes(page[8 + 4 * i : 12 + 4 * i], "big") for i in range(length)}
            trunk = int.from_bytes(page[:4], "big")
        return frozenset(numbers)

    def tree(self, root: int) -> Iterator[int]:
        """Yield the pages of the table or index that begins at a page. Damaged pages, and what is below them, are left out."""
        waiting, visited_pages = [root], set[int]()
        while waiting:
            number = waiting.pop()
            if not 0 < number <= self.count or number in visited_pages:
                continue
            visited_pages.add(number)
            kind = self.kind(number)
            if kind in (TABLE_LEAF, INDEX_LEAF, TABLE_INTERIOR, INDEX_INTERIOR):
                yield number
            if kind in (TABLE_INTERIOR, INDEX_INTERIOR):
                page, start = self.page(number), _start(number)
                waiting.append(int.from_bytes(page[start + 8 : start + 12], "big"))
                waiting += [int.from_bytes(page[cell : cell + 4], "big") for cell in self._cells(number)]

    def kind(self, number: int) -> int:
        """Return the type of a page."""
        return self.page(number)[_start(number)]

    def cell_count(self, number: int) -> int:
        """Return the number of cells of a page: rows of a table, or entries of an index."""
        return len(self._cells(number))

    def rows(self, number: int) -> Iterator[tuple[int, Row]]:
        """Yield the rows of a leaf page of a table with their numbers. Damaged rows are left out."""
        page = self.page(number)
        for cell in self._cells(number):
            try:
                payload_bytes, position = _varint(page, cell)
                row_number, position = _varint(page, position)
                yield _to_signed(row_number), _decode(self._payload(page, position, payload_bytes))
            except (DamagedPage, UnicodeDecodeError, struct.error, IndexError):
                continue

    def _cells(self, number: int) -> list[int]:
        """Return the positions of the cells of a page; [] if it has none that could be."""
        page, start = self.page(number), _start(number)
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        first = start + (12 if page[start] in (TABLE_INTERIOR, INDEX_INTERIOR) else 8)
        if first + 2 * count > self.usable_bytes:
            return []
        positions = [int.from_bytes(page[first + 2 * i : first + 2 * i + 2], "big") for i in range(count)]
        return [position for position in positions if first + 2 * count <= position < self.usable_bytes]

    def _payload(self, page: bytes, position: int, size: int) -> bytes:
        """Return the content of a row. The end of a long one is in pages of its own."""
        usable = self.usable_bytes
        if size > min(self.count * usable, MAX_VALUE_BYTES):
            raise DamagedPage
        smallest = (usable - 12) * 32 // 255 - 23
        local = smallest + (size - smallest) % (usable - 4)
        local = size if size <= usable - 35 else (local if local <= usable - 35 else smallest)
        content = page[position : position + local]
        number = int.from_bytes(page[position + local : position + local + 4], "big") if local < size else 0
        while len(content) < size:
            if not 0 < number <= self.count:
                raise DamagedPage
            overflow = self.page(number)
            content += overflow[4 : 4 + min(usable - 4, size - len(content))]
            number = int.from_bytes(overflow[:4], "big")
        return content

    def _read_wal(self) -> tuple[dict[int, int], int]:
        """Return the positions of the pages that are committed in the log, and the number of commits after a damaged frame."""
        wal, frames, pending, lost_count = self._wal, dict[int, int](), dict[int, int](), 0
        if len(wal) < WAL_HEADER.size:
            return frames, lost_count
        magic, _, page_bytes, _, *salts, sum0, sum1 = WAL_HEADER.unpack_from(wal)
        if magic & ~1 != WAL_MAGIC or page_bytes != self.page_bytes:
            return frames, lost_count
        order = ">" if magic & 1 else "<"
        sums, is_intact = _checksum(wal[:24], order, (0, 0)), True
        if sums != (sum0, sum1):
            return frames, lost_count
        for start in range(WAL_HEADER.size, len(wal) - WAL_FRAME.size - page_bytes + 1, WAL_FRAME.size + page_bytes):
            number, committed_pages, *frame_salts, sum0, sum1 = WAL_FRAME.unpack_from(wal, start)
            # Frames of an earlier use of the file follow the present ones.
            if frame_salts != salts:
                break
            if is_intact:
                content = start + WAL_FRAME.size
                sums = _checksum(wal[content : content + page_bytes], order, _checksum(wal[start : start + 8], order, sums))
                is_intact = sums == (sum0, sum1)
            if not is_intact:
                lost_count += bool(committed_pages)
                continue
            pending[number] = start + WAL_FRAME.size
            if committed_pages:
                frames |= pending
                pending = {}
        return frames, lost_count


def _start(number: int) -> int:
    return HEADER_BYTES if number == 1 else 0


def _is_page_size(size: int) -> bool:
    return 512 <= size <= 1 << 16 and size & (size - 1) == 0


def _checksum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        byte = data[position + i]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, position + i + 1
    return value << 8 | data[position + 8], position + 9


def _to_signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)


def _decode(payload: bytes) -> Row:
    header_bytes, position = _varint(payload, 0)
    kinds = []
    while position < header_bytes:
        kind, position = _varint(payload, position)
        kinds.append(kind)
    if position != header_bytes or len(kinds) > MAX_COLUMNS:
        raise DamagedPage
    values: list[Value] = []
    for kind in kinds:
        size = _INTEGER_BYTES[kind] if kind < 7 else 8 if kind == 7 else 0 if kind < 12 else (kind - 12) // 2
        content = payload[position : position + size]
        position += size
        if len(content) != size or kind in (10, 11):
            raise DamagedPage
        if kind == 0:
            values.append(None)
        elif kind == 7:
            values.append(float(struct.unpack(">d", content)[0]))
        elif kind < 10:
            values.append(int.from_bytes(content, "big", signed=True) if kind < 7 else kind - 8)
        else:
            values.append(content.decode() if kind % 2 else content)
    if position != len(payload):
        raise DamagedPage
    return tuple(values)
