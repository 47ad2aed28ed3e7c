"""Calls of libbpf that need no program."""

import fcntl
import os
import sys
import termios
import threading

from bwtop.capture import libbpf
from tests.build import eventually
from tests.kernel.running import HANG


def test_iterator_is_read_to_its_end() -> None:
    """EAGAIN is not its end: the kernel rests after each million objects."""
    reading, writing = os.pipe2(os.O_NONBLOCK)
    reader = threading.Thread(target=libbpf.read_out, args=(reading,), daemon=True)
    reader.start()
    os.write(writing, bytes(10_000))
    assert eventually(lambda: not waiting(reading))
    reader.join(0.05)
    assert reader.is_alive()
    os.close(writing)
    reader.join(HANG)
    assert not reader.is_alive()
    os.close(reading)


def waiting(pipe: int) -> int:
    """Return the number of bytes in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
