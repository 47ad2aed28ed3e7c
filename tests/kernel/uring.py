"""A minimal io_uring(7): one request at a time, through the bare system calls."""

import ctypes
import mmap
import os
import struct
from typing import Final

IORING_OP_SEND: Final = 26
IORING_OP_RECV: Final = 27
_SETUP: Final = 425
_ENTER: Final = 426
_GETEVENTS: Final = 1
_OFFSET_SQES: Final = 0x10000000

_LIBC = ctypes.CDLL(None, use_errno=True)


class Ring:
    """Rings of four entries; offsets are those of struct io_uring_params (uapi/linux/io_uring.h)."""

    def __init__(self) -> None:
        params = ctypes.create_string_buffer(120)
        self._fd = _check(_LIBC.syscall(_SETUP, 4, params))
        # sq_off at 40: head, tail, ring_mask, ring_entries, flags, dropped, array; cq_off at 80: head, tail, mask, …
        sq = struct.unpack_from("<7I", params.raw, 40)
        cq = struct.unpack_from("<6I", params.raw, 80)
        self._sq_tail, self._sq_array = sq[1], sq[6]
        self._cq_head, self._cq_tail, self._cqes = cq[0], cq[1], cq[5]
        self._ring = mmap.mmap(self._fd, 4096)  # one mapping for both (IORING_FEAT_SINGLE_MMAP)
        self._sqes = mmap.mmap(self._fd, 4096, offset=_OFFSET_SQES)

    def submit(self, opcode: int, fd: int, buffer: "ctypes.Array[ctypes.c_char]") -> int:
        """Make one request and wait for it; return its result."""
        address = ctypes.addressof(buffer)
        self._sqes[:64] = struct.pack(
            "<BBHiQQIIQ24x", opcode, 0, 0, fd, 0, address, len(buffer), 0, 1
        )
        (tail,) = struct.unpack_from("<I", self._ring, self._sq_tail)
        struct.pack_into("<I", self._ring, self._sq_array + 4 * (tail & 3), 0)
        struct.pack_into("<I", self._ring, self._sq_tail, tail + 1)
        _check(_LIBC.syscall(_ENTER, self._fd, 1, 1, _GETEVENTS, None, 0))
        (head,) = struct.unpack_from("<I", self._ring, self._cq_head)
        entry = self._cqes + 16 * (head & 7)
        _, result = struct.unpack_from("<Qi", self._ring, entry)
        struct.pack_into("<I", self._ring, self._cq_head, head + 1)
        return _check(int(result))


def _check(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
