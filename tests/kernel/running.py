"""A real bwtop beside the tests, and processes that move known bytes."""

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from bwtop.capture import preemption
from bwtop.capture.backends import in_order, suited
from bwtop.capture.loader import Limits
from bwtop.capture.session import Capture, Loading
from bwtop.model.flows import format_address
from bwtop.model.sample import Sample

LAUNCHER = Path(__file__).resolve().parents[2] / "bwtop.py"

_HIDE = 'umount -a -t cgroup2 && mount -t tmpfs none "/proc/$PPID" && exec "$@"'

WITHOUT_CGROUPS = ["unshare", "--mount", "sh", "-c", _HIDE, "sh"]
"""What to put before a command that is to see no cgroup v2 hierarchy, and nobody who does."""

PATIENCE = float(os.environ.get("BWTOP_TEST_PATIENCE", "1"))
"""How many times longer than on a real processor things take; emulated machines are slow."""

HANG = 60.0 * PATIENCE
"""Seconds after which something that should have happened never will."""

BACKEND = os.environ.get("BWTOP_TEST_BACKEND", "")
"""The backend that is tested; empty: whichever bwtop takes."""

Document = dict[str, Any]


class Flow(NamedTuple):
    """A flow as the output names it."""

    proto: str
    addr: str
    port: int
    role: str


Bytes = tuple[int, int]
"""(received, sent)."""


def command(*flags: str) -> list[str]:
    """bwtop under the interpreter of the tests, which sees the distribution's bcc."""
    return [sys.executable, str(LAUNCHER), *flags]


def command_as(uid: int, *flags: str) -> list[str]:
    """bwtop of another user, who may not be allowed into this checkout: the code is imported first."""
    program = (
        f"import os, sys; sys.path.insert(0, {str(LAUNCHER.parent)!r});"
        " import bwtop.cli, bwtop.tui.app;"
        f" os.setgroups([]); os.setresgid(*3 * [{uid}]); os.setresuid(*3 * [{uid}]);"
        f" bwtop.cli.main({list(flags)!r})"
    )
    return [sys.executable, "-c", program]


def timestamp(text: str) -> float:
    """Return a time of the output in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


FORKED: dict[int, float] = {}
"""When `start` made each process, in seconds since 1970: its pid may have been another's."""

STARTED: list["Bwtop"] = []
"""Every bwtop that a test has started."""


class Bwtop:
    """`bwtop --batch --format json`, its output read as it comes; it records only to a history of its own."""

    def __init__(
        self,
        *flags: str,
        prefix: Sequence[str] = (),
        launcher: str = "",
        started: Callable[..., list[str]] = command,
        resolve: bool = False,
    ) -> None:
        arguments = ["--batch", "--format", "json", "-d", "0.2", *flags]
        arguments += [] if resolve else ["--no-resolve"]
        arguments += [] if "--db" in flags else ["--no-record"]
        arguments += ["--backend", BACKEND] if BACKEND and "--backend" not in flags else []
        self.process = subprocess.Popen(
            [
                *prefix,
                *(["/usr/bin/python3", launcher, *arguments] if launcher else started(*arguments)),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        STARTED.append(self)
        self.documents: list[Document] = []
        self.messages: list[str] = []
        self._ready = threading.Event()
        self._readers = [
            threading.Thread(target=self._read_documents, daemon=True),
            threading.Thread(target=self._read_messages, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        if not self._ready.wait(HANG) or not self.messages:
            raise AssertionError(f"bwtop did not start: {self.messages}")

    def _read_documents(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.documents.append(json.loads(line))

    def _read_messages(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.messages.append(line.rstrip("\n"))
            if "measuring" in line:
                self._ready.set()
        self._ready.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def sees_datagrams(self) -> bool:
        """Whether its backend sees datagrams, their peers and sizes themselves, or only what calls say of them."""
        return not any("backend: tracepoint" in message for message in self.messages)

    def stop(self, signal_number: int = signal.SIGINT) -> int:
        """End it; all output has been read afterwards.  Return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        status = self.process.wait(HANG)
        for reader in self._readers:
            reader.join(HANG)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()
        return status

    def settle(self, clock_ahead: float = 0.0) -> None:
        """Wait until the documents have all that has moved so far: for an interval that began after now.

        Documents are not counted: those of before now may still be in the pipe.
        clock_ahead: seconds that bwtop's clock is ahead of the test's.
        """
        now = time.time() + clock_ahead
        deadline = time.monotonic() + HANG
        while not self._began_after(now):
            assert self.process.poll() is None, f"bwtop ended: {self.messages}"
            assert time.monotonic() < deadline, (
                f"no interval came: {self.documents[-3:]}, {self.messages}, {now}"
            )
            time.sleep(0.02)

    def _began_after(self, now: float) -> bool:
        """Return whether the last interval began after now: at the end of the one before it."""
        ends = [timestamp(document["time"]) for document in self.documents[-2:]]
        return len(ends) == 2 and all(now < each < now + HANG for each in ends)

    def entries(self, pid: int) -> list[Document]:
        """Return the entries of all processes that have had a pid."""
        return [p for d in list(self.documents) for p in d["processes"] if p["pid"] == pid]

    def processes(self, pid: int) -> list[Document]:
        """Return a process's entries, one for each interval in which it moved bytes."""
        made = FORKED.get(pid, 0.0) - 0.05
        mine = [p for p in self.entries(pid) if timestamp(p["start"]) > made]
        first = min((p["start"] for p in mine), default="")
        return [p for p in mine if p["start"] == first]

    def await_entries(self, pid: int, count: int) -> list[Document]:
        """Return the process's entries, once there are so many."""
        deadline = time.monotonic() + HANG
        while len(entries := self.processes(pid)) < count:
            assert time.monotonic() < deadline, "the process moved nothing"
            self.settle()
        return entries

    def flows(self, pid: int) -> dict[Flow, Bytes]:
        """All flows of a process with the bytes of all intervals, checked against every sum that the output has."""
        rx: Counter[Flow] = Counter()
        tx: Counter[Flow] = Counter()
        last: dict[Flow, Bytes] = {}
        for process in self.processes(pid):
            assert process["rx"] == sum(r["rx"] for r in process["remotes"])
            assert process["tx"] == sum(r["tx"] for r in process["remotes"])
            for remote in process["remotes"]:
                flow = Flow(remote["proto"], remote["addr"], remote["port"], remote["role"])
                rx[flow] += remote["rx"]
                tx[flow] += remote["tx"]
                last[flow] = (remote["rx_total"], remote["tx_total"])
        assert last == {flow: (rx[flow], tx[flow]) for flow in last}
        return last

    def settled_flows(self, pid: int) -> dict[Flow, Bytes]:
        """`flows` after `settle`."""
        self.settle()
        return self.flows(pid)


@dataclass(frozen=True)
class Child:
    """A process of the test's own."""

    pid: int

    def wait(self) -> int:
        """Wait for its end, which must be a good one; return its pid."""
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, f"the child of the test failed (wait status {status})"
        return self.pid


def start(action: Callable[[], object]) -> Child:
    """Run a function in a forked process."""
    now = time.time()
    pid = os.fork()
    if pid:
        FORKED[pid] = now
        return Child(pid)
    status = 1
    try:
        signal.alarm(int(HANG))
        action()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def run(action: Callable[[], object]) -> int:
    """Run a function in a forked process and wait for its end; return its pid."""
    return start(action).wait()


def run_as(pid: int, action: Callable[[], object]) -> None:
    """Run a function in a process of this pid: clone3(2), with struct clone_args and its set_tid."""
    wanted = ctypes.c_int32(pid)
    arguments = struct.pack(
        "=11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0
    )
    found = ctypes.PyDLL(None).syscall(435, arguments, len(arguments))  # the child has the GIL, too
    if not found:
        try:
            action()
        finally:
            os._exit(0)
    assert os.waitpid(found, 0)[0] == pid


def has_protocol(protocol: int) -> bool:
    """Whether this kernel has a stream protocol, which it may load as a module only now."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol).close()
    except OSError:
        return False
    return True


@contextmanager
def sink() -> Iterator[int]:
    """Yield a UDP port that nobody reads: what does not fit is dropped after it has been sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        yield sock.getsockname()[1]


def send_datagram(port: int, size: int) -> None:
    """One datagram to 127.0.0.1, from a socket of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(bytes(size), ("127.0.0.1", port))


@contextmanager
def capturing(
    flows: int = 65536, processes: int = 16384, cache: Path | None = None
) -> Iterator[Capture]:
    """Start a capture in this process, with maps of the test's size; cache: a folder of compiled programs."""
    mode = preemption.mode()
    backends = [suited(BACKEND, mode)] if BACKEND else in_order(mode)
    reports, capture = Loading(backends, Limits(flows, processes), cache).finish()
    assert capture, reports
    try:
        yield capture
    finally:
        capture.close()


def sent(samples: Iterable[Sample], pid: int) -> int:
    """Bytes that a process sent over all samples."""
    return sum(sent_by_remote(samples, pid).values())


def sent_by_remote(samples: Iterable[Sample], pid: int) -> Counter[str]:
    """Bytes that a process sent over all samples, by address."""
    found: Counter[str] = Counter()
    for sample in samples:
        for process, remotes in sample.traffic.items():
            if process.pid == pid:
                for remote, traffic in remotes.items():
                    found[format_address(remote.address)] += traffic.tx
    return +found


def waiting_bytes(descriptor: int) -> int:
    """Return how many bytes could be read without waiting: FIONREAD of tcp(7) and pipe(7)."""
    answer = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, "little")
