"""Maps of the kernel, whole or many entries at a time: mapped into memory, or by batch calls.

Kernels that can do neither are asked for one entry after the other.  Every call raises OSError with the kernel's error
number.
"""

import contextlib
import ctypes
import errno
import functools
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from bwtop.capture import libbpf

BATCH: Final = 8192
"""Entries asked for by one batch call.  The kernel answers ENOSPC when one hash bucket holds more, which none does."""

_NOT_SUPPORTED: Final = (errno.EINVAL, libbpf.ENOTSUPP)
"""EINVAL of a command that the kernel does not know, ENOTSUPP of one that a kind of map does not."""


def delete_all(
    fd: int, keys: Sequence[bytes], around: Callable[[], AbstractContextManager[None]]
) -> None:
    """Delete the entries of a hash map with these keys, all of which are there.

    around: makes the context of each call that deletes more than one.
    """
    done = 0
    while done < len(keys):
        count = ctypes.c_uint32(min(BATCH, len(keys) - done))
        packed = b"".join(keys[done : done + count.value])
        with around():
            result = libbpf.library().bpf_map_delete_batch(fd, packed, ctypes.byref(count), None)
        if -result in _NOT_SUPPORTED:
            break
        libbpf.check(result)
        done += count.value
    for key in keys[done:]:
        libbpf.map_delete(fd, key)


def can_be_mapped() -> bool:
    """Return whether arrays can be mapped into memory (kernel 5.5+)."""
    shape = libbpf.MapInfo(
        type=libbpf.MAP_TYPE_ARRAY,
        key_size=4,
        value_size=8,
        max_entries=1,
        map_flags=libbpf.MAP_MMAPABLE,
    )
    try:
        os.close(libbpf.map_create(shape))
    except OSError:
        return False
    return True


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


class Mapped:
    """A part of a map in this process's memory; Python's own mmap would keep a descriptor open for each."""

    def __init__(
        self,
        fd: int,
        length: int,
        offset: int = 0,
        protection: int = mmap.PROT_READ | mmap.PROT_WRITE,
    ) -> None:
        """offset: a multiple of the size of a page.  Raises OSError."""
        address = _libc().mmap(None, length, protection, mmap.MAP_SHARED, fd, offset)
        if address == ctypes.c_void_p(-1).value:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        self._address, self._length = address, length
        self.words = (
            memoryview((ctypes.c_uint32 * (length // 4)).from_address(address)).cast("B").cast("I")
        )
        self.longs = self.words.cast("B").cast("Q")

    def content(self) -> bytes:
        """Return a copy of all of it."""
        return ctypes.string_at(self._address, self._length)

    def part(self, offset: int, length: int) -> bytes:
        """Return a copy of a part of it."""
        return ctypes.string_at(self._address + offset, length)

    def clear(self, offset: int, length: int) -> None:
        """Write zeros."""
        ctypes.memset(self._address + offset, 0, length)

    def close(self) -> None:
        """Give the memory back; nothing may be read or written afterwards."""
        self.longs.release()
        self.words.release()
        _libc().munmap(self._address, self._length)


class WholeArray:
    """Reads an array map whole: mapped into memory, or one by one where the kernel cannot."""

    def __init__(self, fd: int, entries: int, value_size: int) -> None:
        """value_size: a multiple of 8."""
        self._fd, self._entries, self._value_size = fd, entries, value_size
        self._map: Mapped | None = None
        with contextlib.suppress(OSError):
            self._map = Mapped(fd, entries * value_size)
        self.is_mapped = self._map is not None

    def content(self) -> bytes:
        """Return all values."""
        if self._map is not None:
            return self._map.content()
        keys = (index.to_bytes(4, "little") for index in range(self._entries))
        return b"".join(libbpf.map_lookup(self._fd, key, self._value_size) or b"" for key in keys)

    def close(self) -> None:
        """Give the memory back."""
        if self._map is not None:
            self._map.close()


class BatchReader:
    """Reads all entries of hash maps with the same sizes of keys and values, through buffers that are kept."""

    def __init__(
        self,
        key_size: int,
        value_size: int,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """around: makes the context in which each batch call runs."""
        self._key_size = key_size
        self._value_size = value_size
        self._around = around
        self._keys = ctypes.create_string_buffer(BATCH * key_size)
        self._values = ctypes.create_string_buffer(BATCH * value_size)
        self.in_batches = True
        """True while the kernel reads many entries in one call (5.6+); else they are read one by one."""

    def read(self, fd: int, *, delete: bool = False) -> Iterator[tuple[memoryview, memoryview]]:
        """Yield (keys, values), each the packed records of one batch, valid until the next."""
        read = self._read_batches if self.in_batches else self._read_singly
        for count in read(fd, delete=delete):
            yield (
                memoryview(self._keys)[: count * self._key_size],
                memoryview(self._values)[: count * self._value_size],
            )

    def _read_batches(self, fd: int, *, delete: bool) -> Iterator[int]:
        """Fill the buffers again and again, and yield the number of entries in them."""
        lib = libbpf.library()
        call = lib.bpf_map_lookup_and_delete_batch if delete else lib.bpf_map_lookup_batch
        position = ctypes.c_uint32()
        start = None
        more = True
        while more:
            count = ctypes.c_uint32(BATCH)
            with self._around():
                result = call(
                    fd,
                    start,
                    ctypes.byref(position),
                    self._keys,
                    self._values,
                    ctypes.byref(count),
                    None,
                )
            if start is None and -result in _NOT_SUPPORTED:
                self.in_batches = False
                yield from self._read_singly(fd, delete=delete)
                return
            more = result != -errno.ENOENT
            if more:
                libbpf.check(result)
            start = ctypes.byref(position)
            if count.value:
                yield count.value

    def _read_singly(self, fd: int, *, delete: bool) -> Iterator[int]:
        """Do the same with one to three calls for each entry; nothing else may change the map meanwhile."""
        count = 0
        key = libbpf.map_next_key(fd, None, self._key_size)
        while key is not None:
            value = libbpf.map_lookup(fd, key, self._value_size)
            assert value is not None, "nothing else removes entries"
            ctypes.memmove(ctypes.byref(self._keys, count * self._key_size), key, len(key))
            ctypes.memmove(ctypes.byref(self._values, count * self._value_size), value, len(value))
            count += 1
            following = libbpf.map_next_key(
                fd, key, self._key_size
            )  # of a deleted one it is the first
            if delete:
                libbpf.map_delete(fd, key)
            key = following
            if count == BATCH:
                yield count
                count = 0
        if count:
            yield count
