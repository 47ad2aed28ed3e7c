"""bwtop --demo: processes that move bytes over loopback, as something to see on the full screen.

bwtop forks a first process before it loads or opens anything.  That process connects all sockets and plays all remotes
with their far ends.  It forks the demo's processes, which hold the near ends.  No process listens once all sockets are
connected.

All of them end at their deadline or with bwtop, however bwtop ends.  The kernel kills a process when its parent dies.
Each process also holds the reading end of a pipe whose only writing end is in bwtop: that covers a process whose parent
died before it could request the signal.
"""

import contextlib
import ctypes
import functools
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
from bwtop.model.flows import UDP
from bwtop.modes.demo_processes import PROCESSES, DemoProcess
from bwtop.rights import privileges
from bwtop.rights.account import Account

SECONDS: Final = 600.0
"""Duration of the traffic; then all demo processes end."""

FAR_END: Final = "demo-internet"
"""Name of the process that plays all remotes."""

TICK: Final = 0.1
"""Seconds between two moves of a process: send the due bytes, receive all that arrived."""

PATIENCE: Final = 1.0
"""Seconds to wait for a loopback connection, which a firewall may drop, and for all processes to end."""

MOST_DESCRIPTORS: Final = 96
"""Limit of one process: the standard descriptors, the pipe, and the sockets of all connections during setup."""

_PR_SET_NAME: Final = 15

_PAYLOAD: Final = memoryview(bytes(1 << 18))
_WASTE: Final = bytearray(1 << 18)


class Demo:
    """The running demo, as a context manager; raises OSError if it cannot fork.

    Create it before any thread, and while 0, 1 and 2 are the only descriptors in use.
    """

    def __init__(self, account: Account, seconds: float) -> None:
        """Start the processes, as `account` if this process is root."""
        reading, self._hold = os.pipe()
        life = _Life(reading, time.monotonic() + seconds)
        play = functools.partial(_play_far_end, os.getpid(), account, life)
        self.pid = os.fork()
        """Process id of the far end, the parent of all other demo processes."""
        if self.pid == 0:
            _end_after(play)
        os.close(reading)
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def is_over(self) -> bool:
        """Return whether the traffic has ended."""
        if not self._is_over:
            self._is_over = os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return self._is_over

    def stop(self) -> None:
        """Stop the demo and wait for its end; kill it if it is stopped or too slow."""
        os.close(self._hold)
        patience = time.monotonic() + PATIENCE
        while not self.is_over() and time.monotonic() < patience:
            time.sleep(0.01)
        if not self.is_over():
            os.kill(self.pid, signal.SIGKILL)  # and, through _bind_to, all others
            os.waitpid(self.pid, 0)
            self._is_over = True

    def status(self) -> Status:
        """Return the status to show in place of the recorder's."""
        if self.is_over():
            return Status(
                "demo over", "the demo traffic has ended; bwtop keeps measuring (q quits)"
            )
        return Status("demo traffic, not recording")


@dataclass(frozen=True)
class _Life:
    """The lifetime of the demo's processes."""

    pipe: int
    """A pipe that reaches end of file when bwtop ends."""
    deadline: float
    """In time.monotonic()."""

    def wait(self, seconds: float) -> bool:
        """Wait for `seconds`; return False as soon as the lifetime is over."""
        wanted = min(seconds, self.deadline - time.monotonic())
        return wanted > 0 and not select.select([self.pipe], [], [], wanted)[0]


# The processes.


def _end_after(action: Callable[[], None]) -> NoReturn:
    """Run `action` in a forked process, then exit without running any code of the parent."""
    try:
        action()
    finally:
        os._exit(0)


def _play_far_end(parent: int, account: Account, life: _Life) -> None:
    """Run the first process: close bwtop's descriptors, connect, start the others, exchange bytes with them."""
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
    with contextlib.suppress(
        ChildProcessError
    ):  # SIGCHLD is ignored, so the kernel has reaped them
        os.wait()


def _start(name: str, links: list["_Link"], every: list["_Link"], life: _Life) -> None:
    """Fork a demo process, which keeps only its own ends of its own links."""
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
    """Close all descriptors except `keep`, and open the standard ones on /dev/null."""
    for path in list(Path("/proc/self/fd").iterdir()):
        if int(path.name) != keep:
            with contextlib.suppress(OSError):  # the descriptor of the directory itself
                os.close(int(path.name))
    for _ in range(3):  # the lowest free descriptors: 0, 1 and 2
        os.open(os.devnull, os.O_RDWR)


def _be_harmless() -> None:
    """Let the terminal's signals to the job end this process without a message or a core dump."""
    for number in (*STOP_SIGNALS, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children leave no zombies: wait(2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_DESCRIPTORS, MOST_DESCRIPTORS))


def _bind_to(parent: int, name: str) -> None:
    """Set the name, and die with the parent; call it after dropping root, which resets that (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    privileges.die_with_parent(parent)


# Connections.


class LinkEnd:
    """One end of a link.  It sends in the rhythm of its process and discards received bytes."""

    def __init__(self, sock: socket.socket, process: DemoProcess, remote: int, rate: int) -> None:
        """Take the index of the remote, and the full rate in bytes/s over all remotes."""
        sock.settimeout(0)
        self.socket = sock
        self._process = process
        self._remote = remote
        self._rate = rate / len(process.remotes)
        self._due = 0.0

    def move(self, seconds: float, elapsed: float) -> bool:
        """Receive all that arrived and send the due bytes, `seconds` after the start, `elapsed` since the last move.

        Return False if the other end is closed.
        """
        grown = self._rate * self._process.level(seconds, self._remote) * elapsed
        self._due = min(
            self._due + grown, self._rate
        )  # after a stop, catch up on one second at most
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
    """Both ends of a connection: near in the process, far in its remote."""

    near: LinkEnd
    far: LinkEnd


def _exchange(ends: Iterable[LinkEnd], life: _Life) -> None:
    """Move bytes until the lifetime is over or all other ends are closed."""
    left = list(ends)
    begun = before = time.monotonic()
    while left and life.wait(TICK):
        now = time.monotonic()
        left = [end for end in left if end.move(now - begun, now - before)]
        before = now


def _connect(process: DemoProcess) -> Iterator[_Link]:
    """Yield the links of a process; skip those that fail, such as ::1 without IPv6."""
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
                    LinkEnd(near, process, index, process.tx),
                    LinkEnd(far, process, index, process.rx),
                )


def _socket(address: str, kind: socket.SocketKind) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)


def _listen(address: str) -> socket.socket:
    """Listen on a free port of a loopback address."""
    listener = _socket(address, socket.SOCK_STREAM)
    listener.settimeout(PATIENCE)
    listener.bind((address, 0))
    listener.listen()
    return listener


def _stream(client: str, listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a TCP connection, the client's first."""
    opened = _socket(client, socket.SOCK_STREAM)
    opened.settimeout(PATIENCE)
    opened.bind((client, 0))
    opened.connect(listener.getsockname())
    accepted, peer = listener.accept()
    if peer != opened.getsockname():
        raise ConnectionAbortedError("another process has connected")
    return opened, accepted


def _datagrams(server: str) -> tuple[socket.socket, socket.socket]:
    """Return two UDP sockets that receive only from each other, the client's first.

    The server binds to an explicit port number: else the kernel does not record which of the two is the server.
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
