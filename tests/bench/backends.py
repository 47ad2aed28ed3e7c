"""What a backend costs the work that it measures: small messages over loopback, with it and without, in turn.

Each round runs every variant once, so that a machine that is busy for a while is so for all; medians of the ratios.
"""

import os
import socket
import statistics
import sys
import time
from collections.abc import Callable

from bwtop.capture.backends import BACKENDS
from bwtop.capture.session import Capture, Loading

ROUNDS = int(os.environ.get("BWTOP_BENCH_ROUNDS", "15"))
MESSAGES = int(os.environ.get("BWTOP_BENCH_MESSAGES", "20000"))

Work = Callable[[], None]


def udp() -> Work:
    """32 bytes sent and received, without a connection."""
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.bind(("127.0.0.1", 0))
    to, message = ours.getsockname(), bytes(32)

    def work() -> None:
        for _ in range(MESSAGES):
            ours.sendto(message, to)
            ours.recvfrom(64)

    return work


def tcp() -> Work:
    """One byte there, and one back."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()

    def work() -> None:
        for _ in range(MESSAGES // 2):
            client.send(b"x")
            server.recv(1)
            server.send(b"x")
            client.recv(1)

    return work


def seconds(work: Work) -> float:
    """Of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def attached(name: str) -> Capture | None:
    """A capture with that backend, if the kernel takes it."""
    backend = next(backend for backend in BACKENDS if backend.name == name)
    return Loading([backend]).finish()[1]


def ratios(work: Work, names: list[str]) -> dict[str, list[float]]:
    """Time with each backend over the time without any, a value a round."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        alone = seconds(work)
        for name in names:
            capture = attached(name)
            assert capture
            work()  # the first one names the process
            found[name].append(seconds(work) / alone)
            capture.close()
    return found


def works(name: str) -> bool:
    """Whether the kernel takes that backend."""
    capture = attached(name)
    if capture:
        capture.close()
    return capture is not None


def main() -> None:
    """Writes a table of all backends that work here."""
    names = [backend.name for backend in BACKENDS if works(backend.name)]
    sys.stdout.write(f"kernel {os.uname().release}: time with a backend over time without it\n")
    for title, work in (("udp, 32 bytes", udp()), ("tcp, 1 byte", tcp())):
        work()
        for name, values in ratios(work, names).items():
            low, median, high = statistics.quantiles(values, n=4)
            sys.stdout.write(
                f"{title:<14} {name:<11} {median:.3f}  (quartiles {low:.3f}, {high:.3f})\n"
            )


if __name__ == "__main__":
    main()
