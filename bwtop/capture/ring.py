"""Reads a BPF ring buffer by its memory alone: that takes no rights and no system call.

The layout is that of kernel/bpf/ringbuf.c: a page with the position that user space has read up to, a page with the one
that programs have written up to, and the records, mapped twice in a row so that none is broken at the end.
"""

import mmap
from collections.abc import Iterator
from typing import Final

from bwtop.capture import bulk

_BUSY: Final = 1 << 31
"""A record that is being written."""

_DISCARDED: Final = 1 << 30

_HEADER: Final = 8


class Ring:
    """The records that programs have written."""

    def __init__(self, fd: int, size: int) -> None:
        """size: of the ring, in bytes.  Raises OSError."""
        self._size = size
        self._read = bulk.Mapped(fd, mmap.PAGESIZE)
        length = mmap.PAGESIZE + 2 * size
        self._written = bulk.Mapped(fd, length, mmap.PAGESIZE, mmap.PROT_READ)

    def records(self) -> Iterator[bytes]:
        """Yield the records up to the one that is the last now, and give their room back as each is taken."""
        position, end = self._read.longs[0], self._written.longs[0]
        while position < end:
            place = mmap.PAGESIZE + position % self._size
            header = self._written.words[place // 4]
            if header & _BUSY:
                return
            length = header & ~_DISCARDED
            if not header & _DISCARDED:
                yield self._written.part(place + _HEADER, length)
            position += (_HEADER + length + 7) & ~7
            self._read.longs[0] = position

    def close(self) -> None:
        """Give the memory back."""
        self._read.close()
        self._written.close()
