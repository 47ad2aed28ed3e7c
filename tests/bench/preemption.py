"""The bytes and the reported events that each backend misses when a kernel that preempts interrupts its programs.

Eight processes on two processors send and receive small messages over loopback, while a ninth reads five times a second;
all are more often interrupted the slower the machine is.  To run it emulated: make test-kernels ARGS="--kernel newest --exec 'python3 -m tests.bench.preemption'".
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bwtop.capture.backends import BACKENDS
from bwtop.capture.session import Capture, Loading
from bwtop.model.sample import Sample

PROCESSES = 8
MESSAGES = int(os.environ.get("BWTOP_BENCH_MESSAGES", "5000"))
SIZE = 101
PAUSE = 0.2
"""Seconds between two readings; the more often, the more is missed with kprobes."""

PREEMPTION = Path("/sys/kernel/debug/sched/preempt")


def udp() -> None:
    """Send datagrams from a socket to itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        for _ in range(MESSAGES):
            sock.sendto(bytes(SIZE), sock.getsockname())
            sock.recvfrom(SIZE)


def tcp() -> None:
    """Send messages over a connection of this process with itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    for _ in range(MESSAGES):
        client.sendall(bytes(SIZE))
        server.recv(SIZE, socket.MSG_WAITALL)


def in_processes(work: Callable[[], None]) -> set[int]:
    """Start the work in all processes at once; return their pids."""
    pids = set()
    for _ in range(PROCESSES):
        pid = os.fork()
        if not pid:
            work()
            os._exit(0)
        pids.add(pid)
    return pids


def readings(capture: Capture, pids: set[int]) -> Iterator[Sample]:
    """Yield readings until the processes have ended, as often as a screen reads."""
    running = set(pids)
    while running:
        time.sleep(PAUSE)
        running -= {pid for pid in running if os.waitpid(pid, os.WNOHANG)[0]}
        yield capture.read()


def lost(capture: Capture, work: Callable[[], None]) -> tuple[float, int]:
    """Return the part of the bytes that was not counted, and the number of events that the kernel says it skipped."""
    capture.read()
    pids = in_processes(work)
    counted = missed = 0
    for sample in readings(capture, pids):
        missed += sample.loss.missed_events
        counted += sum(
            traffic.rx + traffic.tx
            for process, remotes in sample.traffic.items()
            if process.pid in pids
            for traffic in remotes.values()
        )
    moved = 2 * PROCESSES * MESSAGES * SIZE
    return 1 - counted / moved, missed


def main() -> None:
    """Write a line for each backend that works here, and each kind of traffic."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    mode = PREEMPTION.read_text().strip() if PREEMPTION.exists() else "of unknown kind"
    sys.stdout.write(f"kernel {os.uname().release}, preemption {mode}\n")
    for backend in BACKENDS:
        capture = Loading([backend]).finish()[1]
        if capture is None:
            continue
        for name, work in (("udp", udp), ("tcp", tcp)):
            share, missed = lost(capture, work)
            events = 2 * PROCESSES * MESSAGES
            sys.stdout.write(
                f"{backend.name:<11} {name}  lost {share:9.4%} of the bytes"
                f"  missed {missed} events of {events} messages\n"
            )
            sys.stdout.flush()
        capture.close()


if __name__ == "__main__":
    main()
