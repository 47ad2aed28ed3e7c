"""bwtop --demo: processes that move bytes over loopback, so that a newcomer sees the full screen at work.

Two generations, forked before bwtop has loaded or opened anything.  The first process connects all sockets, and keeps
the far ends: it plays the rest of the world.  Its children are the demo's processes and have a near end each for their
remotes.  None of them listens once all are connected.

They end at their deadline, or with bwtop, in whatever way that ends: the kernel kills who has lost the parent, and
everybody holds the reading end of a pipe of which bwtop has the only writing end.  That one works for processes, too,
whose parent was gone before they could ask for the signal.
"""

import contextlib
import ctypes
import functools
import math
import os
import resource
import select
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, Self

from bwtop.measure.intervals import STOP_SIGNALS, Status
from bwtop.model.flows import TCP, UDP
from bwtop.rights import privileges
from bwtop.rights.account import Account

SECONDS: Final = 600.0
"""How long there is traffic; then all of the demo's processes end."""

FAR_END: Final = "demo-internet"
"""The name of the process that plays all remotes."""

TICK: Final = 0.1
"""Seconds between two times that a process sends what is due and takes what has come."""

PATIENCE: Final = 1.0
"""Seconds for a connection over loopback, which a firewall might swallow, and for all processes to end by themselves."""

MOST_DESCRIPTORS: Final = 96
"""Of one process: standard ones, the pipe, and the sockets of all connections while they are made."""

_SHIFT: Final = 0.15
"""How much of a period a process's remote is behind the one before it."""

_PR_SET_NAME: Final = 15

_PAYLOAD: Final = memoryview(bytes(1 << 18))
_WASTE: Final = bytearray(1 << 18)

Rhythm = Callable[[float], float]
"""The part of the full rate, 0 to 1, at a point of the period, 0 to 1."""


def steady(_: float) -> float:
    """Always the full rate."""
    return 1.0


def bursts(point: float) -> float:
    """The full rate for a third of the time, else nothing."""
    return 1.0 if point < 1 / 3 else 0.0


def waves(point: float) -> float:
    """Slowly rising, and falling again."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * point)


@dataclass(frozen=True)
class Process:
    """One of the demo's processes, as it is seen in the list."""

    name: str
    """At most 15 bytes, as the kernel keeps it (TASK_COMM_LEN in linux/sched.h)."""
    protocol: int
    remotes: tuple[str, ...]
    """Addresses."""
    rx: int
    """Bytes/s received at the full rate, from all remotes together."""
    tx: int
    """Bytes/s sent."""
    rhythm: Rhythm
    period: float = 1.0
    """Seconds after which the rhythm begins anew."""
    datagram: int = 0
    """Bytes of a datagram; of TCP, which has none, 0."""
    serves: bool = False
    """Whether its remotes have connected to it, and not it to them."""

    def level(self, seconds: float, remote: int) -> float:
        """The part of the full rate, 0 to 1, after so many seconds, for the remote of that index."""
        return self.rhythm((seconds / self.period - remote * _SHIFT) % 1)


def _addresses(network: str, count: int) -> tuple[str, ...]:
    return tuple(f"{network}.{host}" for host in range(1, count + 1))


PROCESSES: Final = (
    Process("demo-download", TCP, _addresses("127.80.0", 2), 6_000_000, 30_000, waves, 40),
    Process("demo-backup", TCP, _addresses("127.22.0", 1), 8_000, 2_400_000, bursts, 15),
    Process(
        "demo-web", TCP, _addresses("127.100.0", 12), 60_000, 1_500_000, bursts, 9, serves=True
    ),
    Process("demo-sync", TCP, ("127.60.0.1", "::1"), 120_000, 40_000, waves, 20),
    Process("demo-call", UDP, _addresses("127.50.0", 1), 150_000, 150_000, steady, datagram=1_000),
    Process("demo-dns", UDP, _addresses("127.53.0", 8), 3_200, 1_600, steady, datagram=100),
)
"""All there are, but for the far end.  With all at their full rates 11 MB/s are received, and as many sent."""


class Demo:
    """The demo at work, and as a context for as long as that lasts; raises OSError if nothing can be forked.

    Make it before any thread, and while 0, 1 and 2 are the only descriptors that others may know of.
    """

    def __init__(self, account: Account, seconds: float) -> None:
        """The processes run as `account` where this one is root."""
        reading, self._hold = os.pipe()
        life = _Life(reading, time.monotonic() + seconds)
        play = functools.partial(_play_far_end, os.getpid(), account, life)
        self.pid = os.fork()
        """The process that plays the far end, and the parent of all others."""
        if self.pid == 0:
            _end_after(play)
        os.close(reading)
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def is_over(self) -> bool:
        """Whether there is no traffic any more."""
        if not self._is_over:
            self._is_over = os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return self._is_over

    def stop(self) -> None:
        """Ends it and waits for that; who is too slow for it, or stopped, is killed."""
        os.close(self._hold)
        patience = time.monotonic() + PATIENCE
        while not self.is_over() and time.monotonic() < patience:
            time.sleep(0.01)
        if not self.is_over():
            os.kill(self.pid, signal.SIGKILL)  # and so, by _bind_to, all others
            os.waitpid(self.pid, 0)
            self._is_over = True

    def status(self) -> Status:
        """How it goes, for where others say how it goes with the history."""
        if self.is_over():
            return Status("demo over", "the demo's traffic has ended; measuring goes on (q quits)")
        return Status("demo traffic, not recording")


@dataclass(frozen=True)
class _Life:
    """How long the demo's processes have something to do."""

    pipe: int
    """Its end comes with bwtop's."""
    deadline: float
    """By time.monotonic()."""

    def wait(self, seconds: float) -> bool:
        """Waits for so long; False as soon as it is over."""
        wanted = min(seconds, self.deadline - time.monotonic())
        return wanted > 0 and not select.select([self.pipe], [], [], wanted)[0]


# The processes.


def _end_after(action: Callable[[], None]) -> NoReturn:
    """What a forked process does, and nothing of its parent's after it."""
    try:
        action()
    finally:
        os._exit(0)


def _play_far_end(parent: int, account: Account, life: _Life) -> None:
    """The first process: lets go of all that is bwtop's, connects, starts the others, and answers them."""
    _let_go(keep=life.pipe)
    _be_harmless()
    privileges.drop(account)
    _bind_to(parent, FAR_END)
    connected = [(process, list(_connect(process))) for process in PROCESSES]
    every = [link for _, links in connected for link in links]
    for process, links in connected:
        _start(process.name, links, every, life)
    for link in every:
        link.near.socket.close()
    _exchange([link.far for link in every], life)
    with contextlib.suppress(ChildProcessError):  # there is none any more, by the rule for SIGCHLD
        os.wait()


def _start(name: str, links: list["_Link"], every: list["_Link"], life: _Life) -> None:
    """Forks one of the others; it keeps nothing but its ends of its own links."""
    parent = os.getpid()
    if os.fork():
        return

    def play() -> None:
        _bind_to(parent, name)
        for link in every:
            link.far.socket.close()
            if link not in links:
                link.near.socket.close()
        _exchange([link.near for link in links], life)

    _end_after(play)


def _let_go(keep: int) -> None:
    """Closes all descriptors but one; the standard ones lead nowhere."""
    for path in list(Path("/proc/self/fd").iterdir()):
        if int(path.name) != keep:
            with contextlib.suppress(OSError):  # that of the directory itself
                os.close(int(path.name))
    for _ in range(3):  # the lowest that are free
        os.open(os.devnull, os.O_RDWR)


def _be_harmless() -> None:
    """Signals of the terminal, which go to all processes of a job, end these without a word or a core."""
    for number in (*STOP_SIGNALS, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children leave no zombies: wait(2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_DESCRIPTORS, MOST_DESCRIPTORS))


def _bind_to(parent: int, name: str) -> None:
    """Takes a name, and dies with its parent: after root is dropped, which would undo that (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    privileges.die_with_parent(parent)


# Connections.


class _End:
    """One end of a link, which sends in its process's rhythm and throws away what it gets."""

    def __init__(self, sock: socket.socket, process: Process, remote: int, rate: int) -> None:
        """`remote` is its index; `rate` the full one in bytes/s, of all remotes together."""
        sock.settimeout(0)
        self.socket = sock
        self._process = process
        self._remote = remote
        self._rate = rate / len(process.remotes)
        self._due = 0.0

    def move(self, seconds: float, elapsed: float) -> bool:
        """Takes what has come, sends what is due, `seconds` after the start and `elapsed` after the move before.

        False: the other end is gone.
        """
        grown = self._rate * self._process.level(seconds, self._remote) * elapsed
        self._due = min(self._due + grown, self._rate)  # nobody catches up on more than a second
        try:
            if self._receive():
                self._send()
                return True
        except OSError:
            pass  # reset, or refused
        self.socket.close()
        return False

    def _receive(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            while self.socket.recv_into(_WASTE):
                pass
            return False
        return True

    def _send(self) -> None:
        size = self._process.datagram
        with contextlib.suppress(BlockingIOError):  # the other end is slower
            while self._due >= max(size, 1):
                self._due -= self.socket.send(_PAYLOAD[: size or int(self._due)])


@dataclass(frozen=True, eq=False)
class _Link:
    """Both ends of a connection: a process's, and that of its remote."""

    near: _End
    far: _End


def _exchange(ends: Iterable[_End], life: _Life) -> None:
    """Moves bytes until that is over, or all other ends are."""
    left = list(ends)
    begun = before = time.monotonic()
    while left and life.wait(TICK):
        now = time.monotonic()
        left = [end for end in left if end.move(now - begun, now - before)]
        before = now


def _connect(process: Process) -> Iterator[_Link]:
    """A process's links; what cannot be had, such as ::1 where there is no IPv6, is left out."""
    with ExitStack() as listening:
        listener = functools.cache(lambda address: listening.enter_context(_listen(address)))
        for index, remote in enumerate(process.remotes):
            here = "::1" if ":" in remote else "127.0.0.1"
            client, server = (remote, here) if process.serves else (here, remote)
            with contextlib.suppress(OSError):
                if process.protocol == UDP:
                    ends = _datagrams(server)
                else:
                    ends = _stream(client, listener(server))
                near, far = reversed(ends) if process.serves else ends
                yield _Link(
                    _End(near, process, index, process.tx), _End(far, process, index, process.rx)
                )


def _socket(address: str, kind: socket.SocketKind) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)


def _listen(address: str) -> socket.socket:
    """Takes connections at some free port of a loopback address."""
    listener = _socket(address, socket.SOCK_STREAM)
    listener.settimeout(PATIENCE)
    listener.bind((address, 0))
    listener.listen()
    return listener


def _stream(client: str, listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """A TCP connection's two ends, the client's first."""
    opened = _socket(client, socket.SOCK_STREAM)
    opened.settimeout(PATIENCE)
    opened.bind((client, 0))
    opened.connect(listener.getsockname())
    accepted, peer = listener.accept()
    if peer != opened.getsockname():
        raise ConnectionAbortedError("somebody else has connected")
    return opened, accepted


def _datagrams(server: str) -> tuple[socket.socket, socket.socket]:
    """Two UDP sockets that take from each other alone, the client's first.

    The server's asks bind() for a port by its number: without that the kernel does not say later which of them serves.
    """
    with _socket(server, socket.SOCK_DGRAM) as finder:
        finder.bind((server, 0))
        free = finder.getsockname()
    answering = _socket(server, socket.SOCK_DGRAM)
    answering.bind(free)
    asking = _socket(server, socket.SOCK_DGRAM)
    asking.connect(answering.getsockname())
    answering.connect(asking.getsockname())
    return asking, answering
