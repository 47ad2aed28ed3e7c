"""Make new remotes and new processes all the time: remotes without earlier traffic, and processes that end at once.

`python -m tests.bench.churn REMOTES PROCESSES SECONDS`: so many a second.  Each process sends one datagram.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.bench.flows import ADDRESSES, CHECKOUT, PAYLOAD, address, die_with_parent, sink

STEPS: Final = 20
"""Steps of a second."""


@contextmanager
def churning(remotes: int, processes: int, seconds: int) -> Iterator[None]:
    """Make so many new remotes and processes a second until the block ends."""
    churner = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.churn", *map(str, (remotes, processes, seconds))],
        cwd=CHECKOUT,
    )
    try:
        yield
        assert churner.poll() is None, "the churn ended before it should"
    finally:
        churner.terminate()
        churner.wait()


def come_and_go(remotes: int, processes: int, seconds: int) -> None:
    """Make so many new remotes and processes a second, by a process that has ended when this returns."""
    numbers = map(str, (remotes, processes, seconds))
    command = [sys.executable, "-m", "tests.bench.churn", *numbers]
    subprocess.run(command, cwd=CHECKOUT, check=True)


def churn(remotes: int, processes: int, seconds: int) -> None:
    """Make so many new remotes and processes a second; a machine that is too slow for that takes longer."""
    begun = time.monotonic()
    with sink() as taking, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        port = taking.getsockname()[1]
        for step in range(seconds * STEPS):
            time.sleep(max(begun + step / STEPS - time.monotonic(), 0))
            for number in _share(remotes, step):
                sock.sendto(PAYLOAD, (address(number % ADDRESSES), port))
            for _ in _share(processes, step):
                _live_and_die(port)


def _share(a_second: int, step: int) -> range:
    """Return the numbers that are due in a step; the steps of a second have `a_second` numbers."""
    return range(a_second * step // STEPS, a_second * (step + 1) // STEPS)


def _live_and_die(port: int) -> None:
    pid = os.fork()
    if pid == 0:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(PAYLOAD, ("127.0.0.1", port))
        os._exit(0)
    os.waitpid(pid, 0)


if __name__ == "__main__":
    die_with_parent()
    churn(*map(int, sys.argv[1:]))
