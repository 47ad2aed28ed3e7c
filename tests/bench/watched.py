"""A bwtop as users run it, with a reader of its output, and its cost to the machine."""

import os
import re
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from tests import processes
from tests.bench.flows import CHECKOUT
from tests.bench.tables import MIB
from tests.kernel.running import HANG
from tests.web.serving import connect, request

SIZE: Final = (43, 132)
"""Rows and columns of the terminal."""

VIEWERS: Final = 10
"""Pages that are open."""

PAGE: Final = "/api/v1/stream?idle=show&limit=101&each=200&remotes=none&past=show"
"""The request of a page that has just been opened."""

ENVIRONMENT: Final = {
    "TERM": "xterm-256color",
    "LANG": "C.UTF-8",
    "XDG_CONFIG_HOME": "/nonexistent",
}
"""With nobody's configuration."""

OURS: Final = ("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE")
"""Of the benchmark itself: with them bwtop would not have the bytecode that is installed with it."""

IN_SESSION: Final = ("env", "--default-signal", "setsid", "--ctty")
"""Becomes the command, with the same pid, in a session whose terminal that is."""


@dataclass(frozen=True)
class Mode:
    """A way to run bwtop."""

    name: str
    flags: Sequence[str]
    ready: bytes
    """Its output once it measures."""
    records: bool = True
    screen: bool = False
    viewers: int = 0


BATCH: Final = Mode("batch", ["--batch", "--no-resolve"], b"measuring", records=False)
JSON: Final = Mode(
    "batch, JSON", ["--batch", "--no-resolve", "--format", "json"], b"measuring", records=False
)
RECORD: Final = Mode("recorder", ["--record"], b"recording to")
SCREEN: Final = Mode("screen, recording", ["--no-resolve"], b"backend ", screen=True)
SERVE: Final = Mode(
    f"web with {VIEWERS} pages, recording",
    ["--serve", "--bind", "127.0.0.1:0", "--no-resolve"],
    b"measuring",
    viewers=VIEWERS,
)
MODES: Final = (BATCH, JSON, RECORD, SCREEN, SERVE)


@contextmanager
def installed() -> Iterator[Path]:
    """Yield the command, installed by `make install`: nothing is compiled when it starts."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # bwtop is root only when it begins
        command = ["make", "-s", "install", f"DESTDIR={directory}"]
        subprocess.run(command, cwd=CHECKOUT, env=_environment(), check=True)
        yield Path(directory, "usr/local/bin/bwtop")


def _environment() -> dict[str, str]:
    """Return the environment as users have it."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return kept | ENVIRONMENT


class Watched:
    """A running bwtop; its output is read at once."""

    def __init__(self, bwtop: Path, mode: Mode) -> None:
        self._end = ExitStack()
        self._written = b""
        self._more = threading.Condition()
        try:
            self._begin(bwtop, mode)
        except BaseException:
            self._end.close()
            raise

    def _begin(self, bwtop: Path, mode: Mode) -> None:
        directory = self._end.enter_context(tempfile.TemporaryDirectory())
        history = ["--db", f"{directory}/history.db"] if mode.records else ["--no-record"]
        self.process = self._start([str(bwtop), *mode.flags, *history], screen=mode.screen)
        self.await_text(mode.ready)
        if mode.viewers:
            port = int(self.await_text(rb"serving on http://\S+:([0-9]+)/")[1])
            for _ in range(mode.viewers):
                self._view(port)

    @property
    def pid(self) -> int:
        """The pid of the first process."""
        return self.process.pid

    def _start(self, command: list[str], *, screen: bool) -> subprocess.Popen[bytes]:
        master, theirs = os.openpty() if screen else os.pipe()
        if screen:
            termios.tcsetwinsize(theirs, SIZE)
            command = [*IN_SESSION, *command]
        process = subprocess.Popen(
            command,
            stdin=theirs if screen else subprocess.DEVNULL,
            stdout=theirs if screen else subprocess.DEVNULL,
            stderr=theirs,
            env=_environment(),
        )
        os.close(theirs)
        self._drain(master, self._note)
        self._end.callback(self._stop, process)
        return process

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(HANG)
        process.kill()
        process.wait()

    def _view(self, port: int) -> None:
        """Open a page that reads everything and does nothing with it."""
        sock = self._end.enter_context(connect(port))
        sock.sendall(request(port, PAGE))
        self._drain(os.dup(sock.fileno()), lambda _: None)

    def _drain(self, descriptor: int, take: Callable[[bytes], None]) -> None:
        """Read a descriptor to its end in a thread, and close it."""

        def work() -> None:
            with suppress(OSError):  # EIO: nobody has the terminal open any more
                while part := os.read(descriptor, 1 << 16):
                    take(part)
            os.close(descriptor)

        threading.Thread(target=work, daemon=True).start()

    def _note(self, part: bytes) -> None:
        with self._more:
            if len(self._written) < MIB:
                self._written += part
            self._more.notify()

    def await_text(self, pattern: bytes) -> re.Match[bytes]:
        """Wait until the output matches; return the match.  urwid writes a cell's style in one piece."""

        def found() -> re.Match[bytes] | None:
            return re.search(pattern, self._written)

        with self._more:
            match = self._more.wait_for(found, HANG)
        assert match, self._written
        return match

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.close()


# What it takes, with all of its processes.


_Number = TypeVar("_Number", int, float)


def of_tree(measure: Callable[[int], _Number], pid: int) -> _Number:
    """Return the sum of a measure over the tree; a descendant that ends meanwhile counts nothing."""
    whole = measure(pid)
    for each in processes.family(pid)[1:]:
        with suppress(OSError):
            whole += measure(each)
    return whole


def processor_seconds(pid: int) -> float:
    """Return the user and system time of the tree, to the nanosecond (clock_getcpuclockid(3), whose clock is made of the pid)."""
    return of_tree(lambda each: time.clock_gettime(~each << 3 | 2), pid)


def memory(pid: int) -> float:
    """Return the PSS of the tree, in MiB."""
    return of_tree(own_memory, pid)


def own_memory(pid: int) -> float:
    """Return the PSS of one process, in MiB."""
    return processes.proportional_memory(pid) / MIB


def threads(pid: int) -> int:
    """Return the number of threads of the tree."""
    return of_tree(processes.threads, pid)


def descriptors(pid: int) -> int:
    """Return the number of open descriptors of the tree."""
    return of_tree(processes.descriptors, pid)
