"""The heap of this process: what many flows at a time have taken is given back to the system.

Python's allocator frees arenas of 1 MiB, and one small object that lives on keeps all of its arena (Objects/obmalloc.c).  So
after a peak of flows most of the memory would stay.  malloc() of glibc gives free pages back, wherever they are
(malloc_trim(3)), but takes a third more time for small objects.  So objects come from it only while there are many flows.
"""

import ctypes
import sys
import time
from contextlib import suppress
from typing import Final

MANY: Final = 16_384
"""Flows from which on objects come from malloc()."""

PERIOD: Final = 30.0
"""Seconds between two times that free pages are given back, which takes some milliseconds."""

UNTRIED: Final = (3, 14)
"""The first version of Python whose allocator was not seen to free what comes from malloc()."""

_RAW: Final = 0
_PYTHONS: Final = (1, 2)
"""PyMemAllocatorDomain: that of malloc(), and those for which Python has an allocator of its own."""

_M_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 128 << 10
"""Bytes from which a block is mapped on its own.  glibc would raise it with each such block that is freed, if it is not set."""


class _Allocator(ctypes.Structure):
    """PyMemAllocatorEx."""

    _fields_ = (
        ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


class Heap:
    """Chooses where objects come from, and gives free pages back from time to time."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None)
        self._trim = getattr(libc, "malloc_trim", None)
        self._next = time.monotonic() + PERIOD
        self._is_many = False
        self._usual: dict[int, _Allocator] = {}
        """By domain; empty where objects cannot come from elsewhere."""
        if self._trim and _is_pymalloc():
            libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
            self._usual = {domain: _allocator(domain) for domain in _PYTHONS}

    def suit(self, flows: int) -> None:
        """Take new objects from where it suits so many flows, and give free pages back if that was long ago."""
        if (flows >= MANY) != self._is_many:
            self._is_many = not self._is_many
            self._switch()
        now = time.monotonic()
        if self._trim and now >= self._next:
            self._next = now + PERIOD
            self._trim(0)

    def _switch(self) -> None:
        """Set the allocator for new objects.

        Python's frees and resizes all: it knows which are its own, as it does anyway for those beyond 512 bytes.
        """
        raw = _allocator(_RAW)
        for domain, usual in self._usual.items():
            chosen = _Allocator.from_buffer_copy(usual)
            if self._is_many:
                chosen.malloc, chosen.calloc = raw.malloc, raw.calloc
            ctypes.pythonapi.PyMem_SetAllocator(domain, ctypes.byref(chosen))


def _is_pymalloc() -> bool:
    """Return True if objects come from the allocator described above, without hooks for debugging and free threads."""
    with suppress(AttributeError):
        name = ctypes.pythonapi._PyMem_GetCurrentAllocatorName
        name.restype = ctypes.c_char_p
        return name() == b"pymalloc" and sys.version_info < UNTRIED and "t" not in sys.abiflags
    return False


def _allocator(domain: int) -> _Allocator:
    found = _Allocator()
    ctypes.pythonapi.PyMem_GetAllocator(domain, ctypes.byref(found))
    return found
