"""Make flows: each is a small datagram a second to an address of loopback of its own, from up to SENDERS processes.

`python -m tests.bench.flows FLOWS SECONDS` says "flowing" when it begins.  The datagrams go to a socket that is never
read: it is full at once, and further datagrams are dropped without the ICMP error that a closed port sends for each.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.kernel.mmsg import Batch, address_v4

SENDERS: Final = 50
"""Processes that share the flows."""

PARTS: Final = 20
"""Times a second that a sender wakes up to send a part of its flows."""

LATE: Final = 1.0
"""Seconds behind its plan after which a sender gives up: figures for so many flows would be of fewer."""

PAYLOAD: Final = bytes(16)

CHECKOUT: Final = Path(__file__).resolve().parents[2]

ADDRESSES: Final = 254 << 16
"""Those of loopback that are used: 127.1.0.0 and on, but for the /16 with its broadcast address."""

_PR_SET_PDEATHSIG: Final = 1


@contextmanager
def flowing(flows: int, seconds: int) -> Iterator[None]:
    """Make so many flows until the block ends, or for those seconds; make none for 0."""
    if not flows:
        yield
        return
    generator = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.flows", str(flows), str(seconds)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
    )
    assert generator.stdout
    try:
        assert generator.stdout.readline() == b"flowing\n", "no flows were made"
        yield
        assert generator.poll() is None, "the flows ended before they should"
    finally:
        generator.terminate()
        generator.wait()
        generator.stdout.close()


def sink() -> socket.socket:
    """Return a socket that receives at every address of loopback, and is full at once."""
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    found.bind(("0.0.0.0", 0))
    return found


def address(number: int) -> str:
    """Return a different address for each number below ADDRESSES."""
    return f"127.{(number >> 16) + 1}.{number >> 8 & 255}.{number & 255}"


def die_with_parent() -> None:
    """See PR_SET_PDEATHSIG in prctl(2)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def send(numbers: range, port: int, begun: float, seconds: int) -> None:
    """Send a datagram to each of these addresses in every second; `begun` is of time.monotonic()."""
    batch = Batch([(PAYLOAD, address_v4(address(number), port)) for number in numbers])
    parts = min(len(numbers), PARTS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for step in range(seconds * parts):
            wait_until(begun + step / parts)
            part = step % parts
            batch.send(sock, len(numbers) * part // parts, len(numbers) * (part + 1) // parts)


def wait_until(moment: float) -> None:
    """Sleep until a moment of time.monotonic(); exit if it was more than LATE seconds ago."""
    left = moment - time.monotonic()
    if left < -LATE:
        raise SystemExit(f"{-left:.1f} s late: this machine cannot send so much")
    time.sleep(max(left, 0))


def main() -> None:
    """Start the senders, and end as soon as one of them does."""
    flows, seconds = int(sys.argv[1]), int(sys.argv[2])
    senders = min(flows, SENDERS)
    begun = time.monotonic() + 1
    with sink() as taking:
        port = taking.getsockname()[1]
        for number in range(senders):
            if os.fork() == 0:
                die_with_parent()
                share = range(flows * number // senders, flows * (number + 1) // senders)
                send(share, port, begun + number / senders / PARTS, seconds)
                return
        wait_until(begun)
        sys.stdout.write("flowing\n")
        sys.stdout.flush()
        _, status = os.wait()
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
