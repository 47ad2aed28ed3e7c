"""The real capture with as many active flows as are asked for."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bwtop.capture.session import Capture, Loading
from tests.kernel.running import run, start

MOST: Final = 65_536
"""Flows that the kernel's map has room for by default."""

_PORT: Final = 9
"""A port without a listener; an unconnected socket is not told."""


@contextmanager
def capturing() -> Iterator[Capture]:
    """Attach probes, and yield their capture."""
    capture = Loading().start()
    try:
        yield capture
    finally:
        capture.close()


def fill(flows: int) -> None:
    """Send from one process to so many addresses of loopback, each of which is a flow."""
    run(lambda: _send(flows))


@contextmanager
def filling(flows: int) -> Iterator[Callable[[], None]]:
    """Start a process that stays; yield a function that lets it send through the same flows once more."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        ours.close()
        while theirs.recv(1):
            _send(flows)
            theirs.send(b"x")

    def again() -> None:
        ours.send(b"x")
        assert ours.recv(1)

    with ours, theirs:
        process = start(serve)
        theirs.close()
        yield again
        ours.close()
        process.wait()


def _send(flows: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(1, flows + 1):
            sock.sendto(b"x", (_address(number), _PORT))


def _address(number: int) -> str:
    return f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
