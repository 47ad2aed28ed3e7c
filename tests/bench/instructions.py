"""The instructions that a message takes with each backend, over those without bwtop, where the clock counts them.

Works in a guest: python -m tests.vm --kernel 6.12 --count --exec "python3 -m tests.bench.instructions".  Python's own calls
are part of a message.
"""

import os
import socket
import statistics
import sys
import time
from collections.abc import Callable

from bwtop.capture.backends import BACKENDS
from tests.bench.programs import capture_with

ROUNDS = 15
MESSAGES = 200
"""Of a round."""

Work = Callable[[], None]


def udp() -> Work:
    """Return a work: a datagram of 32 bytes to oneself, by a connected socket."""
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.bind(("127.0.0.1", 0))
    ours.connect(ours.getsockname())
    return pair(ours, ours)


def tcp() -> Work:
    """Return a work: 32 bytes over a connection with oneself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return pair(client, listener.accept()[0])


def pair(one: socket.socket, other: socket.socket) -> Work:
    """Return a work between two sockets."""
    message, send, receive = bytes(32), one.send, other.recv

    def work() -> None:
        for _ in range(MESSAGES):
            send(message)
            receive(64)

    return work


WORKS = {"udp": udp, "tcp": tcp}


def figures() -> dict[str, float]:
    """Return the nanoseconds of a message, by work: the median of the rounds."""
    return {name: measured(make()) for name, make in WORKS.items()}


def measured(work: Work) -> float:
    """Return the nanoseconds of a message."""
    times = []
    for _ in range(ROUNDS + 2):
        begun = time.perf_counter_ns()
        work()
        times.append((time.perf_counter_ns() - begun) / MESSAGES)
    return statistics.median(times[2:])


def main() -> None:
    """Write a line without bwtop, and one for each backend that works here."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    alone = figures()
    sys.stdout.write("nobody      " + "  ".join(f"{n} {f:.0f}" for n, f in alone.items()) + "\n")
    for backend in BACKENDS:
        if not (capture := capture_with(backend)):
            continue
        found = figures()
        layers = "one layer" if capture.report.backend.has_one_layer else ""
        capture.close()
        words = (f"{n} +{f - alone[n]:.0f} (x {f / alone[n]:.3f})" for n, f in found.items())
        sys.stdout.write(f"{backend.name:<11} {'  '.join(words)}  {layers}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
