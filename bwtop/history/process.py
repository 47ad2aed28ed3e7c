"""Queries of the history in processes of their own: with limits, and killed when the client has left.

A server is forked at the start, while nothing is open and no thread runs.  It forks a process for each query: what a
query holds up, or takes, is its own, and the system has all of its memory back afterwards.

A question is a text.  An answer is a line of JSON, and a body in a file in memory (memfd_create(2)), which can be sent
on without being read.  Nothing is unpickled.
"""

import contextlib
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

from bwtop.rights import opening
from bwtop.rights.privileges import PrivilegeError

NICE: Final = 5
"""Added to the nice value of queries: others have three times as much of a busy processor (sched(7))."""

LOOK: Final = 0.1
"""Seconds between two looks at whether a client has left."""

_GRACE: Final = 0.2
"""Seconds in which a server ends by itself; longer, it is stopped (SIGSTOP), or waits for a file system."""

_LONGEST: Final = 1 << 16
"""Most bytes of a question, and of an answer without its body."""

_READY: Final = b"ready"

BUG: Final = "bug"
"""Key of the head of an answer: an unexpected error."""

NOT_STARTED: Final = "not started"
"""The same: the system has no room for the process of the query."""

NARROWER: Final = "choose a shorter range or fewer groups"

Answer = tuple[Mapping[str, Any], bytes]
"""A head, which becomes JSON, and a body."""


@dataclass(frozen=True)
class QueryLimits:
    """The limits of queries."""

    memory: int = 512 << 20
    """Bytes that a query may take."""
    seconds: float = 30.0
    """Time that a query may take once it has its turn."""
    at_once: int = 2
    """Queries that run at once: they compete with measuring for the processor."""
    patience: float = 20.0
    """Seconds that a query waits for its turn."""


LIMITS: Final = QueryLimits()


class QueryError(Exception):
    """A query without an answer; the text says why, and what to do."""


class BusyError(QueryError):
    """Other queries run; the same one may have an answer later."""


class QueryServer:
    """The process that forks a process for each query; `ask` may be called from any thread."""

    def __init__(
        self,
        answer: Callable[[str], Answer],
        prepare: Callable[[], object] = lambda: None,
        limits: QueryLimits = LIMITS,
        warm_up: Callable[[], object] = lambda: None,
    ) -> None:
        """Fork the server, which calls `warm_up`, at `start` `prepare`, and `answer` in a process for each question."""
        self._limits = limits
        self._turns = threading.BoundedSemaphore(limits.at_once)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._control.close()
                warm_up()
                _serve(theirs, answer, prepare, limits.memory)
            finally:
                os._exit(0)
        theirs.close()

    def start(self) -> None:
        """Let the server prepare itself and wait until it has; raise PrivilegeError if it cannot."""
        with contextlib.suppress(OSError):
            self._control.send(b".")
        told = self._control.recv(_LONGEST)
        if told != _READY:
            raise PrivilegeError(told.decode() or "the query process has ended")

    def close(self) -> None:
        """End the server; it does so by itself when this process ends."""
        with contextlib.suppress(OSError):  # it has ended
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        deadline = time.monotonic() + _GRACE
        while not os.waitpid(self.pid, os.WNOHANG)[0]:
            if time.monotonic() >= deadline:
                with contextlib.suppress(PermissionError):  # it may run as another user
                    opening.end(self.pid)
                return
            time.sleep(0.001)

    def ask(
        self,
        question: str,
        is_gone: Callable[[], bool] = lambda: False,
        patience: float | None = None,
    ) -> tuple[dict[str, Any], BinaryIO]:
        """Return the head and the body of an answer; raise QueryError, and RuntimeError for an unexpected error.

        Kill the query when its time is over, or when its client `is_gone`.  `patience` replaces that of the limits.
        """
        self._take_turn(self._limits.patience if patience is None else patience, is_gone)
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with ours:
                with theirs:
                    socket.send_fds(self._control, [question.encode()], [theirs.fileno()])
                self._await(ours, is_gone)
                head, files, _, _ = socket.recv_fds(ours, _LONGEST, 1)
        except OSError as error:
            raise QueryError(
                f"the query process cannot be reached ({error}); restart bwtop"
            ) from error
        finally:
            self._turns.release()
        found: dict[str, Any] = json.loads(head) if head else {}
        if NOT_STARTED in found:
            raise QueryError(f"the query could not be started ({found[NOT_STARTED]}); try again")
        if found and not files:
            raise QueryError("too many files are open to take the answer; try again")
        if not files:
            raise QueryError(f"stopped at {self._limits.memory >> 20} MiB of memory; {NARROWER}")
        body = os.fdopen(files[0], "rb")
        if BUG in found:
            body.close()
            raise RuntimeError(found[BUG])
        return found, body

    def _take_turn(self, patience: float, is_gone: Callable[[], bool]) -> None:
        deadline = time.monotonic() + patience
        while not self._turns.acquire(timeout=min(LOOK, patience)):
            _check(is_gone)
            if time.monotonic() >= deadline:
                raise BusyError("too many queries at once; try again")

    def _await(self, connection: socket.socket, is_gone: Callable[[], bool]) -> None:
        """Wait for an answer, or for the end of the process."""
        deadline = time.monotonic() + self._limits.seconds
        waiting = select.poll()
        waiting.register(connection, select.POLLIN)
        while not waiting.poll(min(LOOK, self._limits.seconds) * 1000):
            _check(is_gone)
            if time.monotonic() >= deadline:
                raise QueryError(f"stopped after {self._limits.seconds:g} seconds; {NARROWER}")


def _check(is_gone: Callable[[], bool]) -> None:
    if is_gone():
        raise QueryError("the client has left")


# The server, and the process of a query.


def _serve(
    control: socket.socket,
    answer: Callable[[str], Answer],
    prepare: Callable[[], object],
    memory: int,
) -> None:
    """Be the server until the other end is closed, which is also so when its process has ended."""
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # a SIGCONT may be for the other end alone
    if control.recv(1):
        _prepare(control, prepare, memory)
    while (received := socket.recv_fds(control, _LONGEST, 1))[0]:
        question, files = received[:2]
        for descriptor in files:  # none where this process had no room for it
            with socket.socket(fileno=descriptor) as connection:
                if _fork(connection) == 0:
                    control.close()
                    _run(connection, answer, question.decode())


def _prepare(control: socket.socket, prepare: Callable[[], object], memory: int) -> None:
    """Prepare the server, and set what the processes of queries inherit."""
    try:
        prepare()
    except (PrivilegeError, OSError) as error:
        control.send(str(error).encode())
        raise
    os.nice(NICE)
    most = _address_space() + memory
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no process waits for theirs
    gc.disable()  # a query makes few cycles, and ends soon
    control.send(_READY)


def _fork(connection: socket.socket) -> int | None:
    """Fork; where the system has no room for a process, tell the client and return None."""
    try:
        return os.fork()
    except OSError as error:
        with contextlib.suppress(OSError):  # it has left
            connection.send(json.dumps({NOT_STARTED: error.strerror}).encode())
        return None


def _run(connection: socket.socket, answer: Callable[[str], Answer], question: str) -> NoReturn:
    """Be the process of a query; one that lacks memory ends without an answer."""
    try:
        _die_with(connection)
        head, body = _answered(answer, question)
        with os.fdopen(os.memfd_create("answer"), "wb+") as file:
            file.write(body)
            file.seek(0)
            socket.send_fds(connection, [json.dumps(head).encode()], [file.fileno()])
    finally:
        os._exit(0)


def _answered(answer: Callable[[str], Answer], question: str) -> Answer:
    try:
        return answer(question)
    except MemoryError:
        raise
    except Exception as error:
        return {BUG: repr(error)}, b""


def _address_space() -> int:
    """Return the bytes of this process's address space (proc_pid_statm(5))."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _die_with(connection: socket.socket) -> None:
    """Let the kernel kill this process when the other end is closed: no code of it has to run for that.

    A socket signals that something can be read or written, the end included (O_ASYNC in fcntl(2)); nothing else comes
    before the answer has been read.
    """
    fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(connection, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(connection, fcntl.F_GETFL)
    fcntl.fcntl(connection, fcntl.F_SETFL, flags | os.O_ASYNC)
    waiting = select.poll()
    waiting.register(connection, 0)
    if waiting.poll(0):  # closed already
        os._exit(0)
