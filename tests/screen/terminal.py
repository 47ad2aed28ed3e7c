"""A terminal for tests: a command in a real pseudo-terminal, and the screen that a user would see.

The command leads a session with this controlling terminal, as under `ssh -t` or `xterm -e`:
the kernel signals Ctrl-C, new sizes and hangups. To test Ctrl-Z, run a shell that runs the
command: the kernel does not stop orphaned jobs.

"""

import contextlib
import copy
import os
import select
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import pyte

from bwtop.tui.background import QUESTION

HANG = 30.0
"""Seconds after which a missing event counts as a hang."""

GRACE = 5.0
"""Seconds for a command to end after its terminal was closed."""

BUSY = 5.0
"""Seconds to read from a command that never pauses; pyte handles some 200 kB a second."""

TICK = 0.02
"""Seconds between two checks for the end of the command."""

# Private modes as pyte keeps them in `Screen.mode`: shifted by five.
_CURSOR = 25 << 5
_SAVING = 1049 << 5
ALTERNATE = (47, 1047, 1049)
_BRACKETS = 2004 << 5
_MOUSE = {mode << 5 for mode in (9, 1000, 1001, 1002, 1003)}

_IN_SESSION = ["env", "--default-signal", "setsid", "--ctty"]
"""Become the command, with the same pid. nohup(1) or a job list may have left signals ignored."""


class Screen(pyte.Screen):
    """The screen of pyte with xterm's second buffer, whose modes pyte only records.

    Of these modes 1049 also saves the cursor and clears the second buffer on the way in;
    programs that set 47, as urwid 2.1, do so themselves.

    """

    def __init__(self, columns: int, lines: int, alternate: Sequence[int] = ALTERNATE) -> None:
        super().__init__(columns, lines)
        self.alternate = False
        """True while the second buffer is shown."""
        self._alternate = {mode << 5 for mode in alternate}
        self._hidden = self.buffer.copy()
        self._saved = self.cursor

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        before = set(self.mode)
        super().set_mode(*modes, **kwargs)
        entered = self._alternate.intersection(self.mode - before)
        if entered and not self.alternate:
            self._switch()
            if _SAVING in entered:
                self.buffer.clear()
                self._saved = copy.copy(self.cursor)

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        before = set(self.mode)
        super().reset_mode(*modes, **kwargs)
        left = self._alternate.intersection(before - self.mode)
        if self.alternate and left:
            self._switch()
        if _SAVING in left:
            self.cursor = self._saved
            self._keep_cursor_inside()

    def _switch(self) -> None:
        self.buffer, self._hidden = self._hidden, self.buffer
        self.alternate = not self.alternate

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        """Resize; pyte drops lines at the top and forgets to move the cursor with them."""
        before = self.lines
        super().resize(lines, columns)
        self.cursor.y -= max(0, before - self.lines)
        self._keep_cursor_inside()

    def _keep_cursor_inside(self) -> None:
        self.ensure_hbounds()
        self.ensure_vbounds()


class Terminal:
    """A command in a terminal of this many cells.

    Output is read when a test asks for the screen, which is then up to date.
    A test that sleeps instead makes the command wait once the kernel's buffer is full.

    """

    def __init__(
        self,
        command: list[str],
        columns: int = 80,
        rows: int = 24,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        background: str | None = None,
    ) -> None:
        """Start the command; `background` is the answer to OSC 11, such as "rgb:ffff/ffff/ffff"."""
        self.raw = b""
        self._answer = background and f"\x1b]11;{background}\x1b\\".encode()
        self._screen = Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._master: int | None
        self._master, slave = os.openpty()
        termios.tcsetwinsize(slave, (rows, columns))
        self._process = subprocess.Popen(
            [*_IN_SESSION, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=_environment(env),
            cwd=cwd,
        )
        os.close(slave)

    @property
    def pid(self) -> int:
        """Return the pid of the command, which is also its process group and session."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up and, after `GRACE`, kill the rest of the session."""
        self.hang_up()
        if not self._ended(GRACE):
            self._process.kill()
        for pid in _session(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    # Output

    def text(self) -> str:
        """Return the screen, without trailing blanks and trailing empty lines."""
        return "\n".join(self.lines()).rstrip("\n")

    def lines(self) -> list[str]:
        """Return all rows of the screen, without trailing blanks."""
        self._drain()
        return [self._line(row) for row in range(self._screen.lines)]

    def _line(self, row: int) -> str:
        """Return a row; the cell after a wide character holds an empty string."""
        line = self._screen.buffer[row]
        return "".join(line[x].data for x in range(self._screen.columns)).rstrip()

    @property
    def screen(self) -> Screen:
        """Return the emulator's screen, for drawing."""
        self._drain()
        return self._screen

    @property
    def alternate(self) -> bool:
        """True if the alternate buffer is shown: xterm's private modes 47, 1047 and 1049."""
        return self.screen.alternate

    @property
    def mouse(self) -> bool:
        """True if the mouse is reported to the command instead of selecting text."""
        return not _MOUSE.isdisjoint(self.screen.mode)

    @property
    def brackets(self) -> bool:
        """True if pasted text comes between brackets: xterm's private mode 2004."""
        return _BRACKETS in self.screen.mode

    @property
    def cursor_visible(self) -> bool:
        """True if the cursor is shown: DECTCEM."""
        return _CURSOR in self.screen.mode

    @property
    def modes(self) -> tuple[bool, bool, bool, bool]:
        """Return whether the second buffer, mouse reports, bracketed paste and the cursor are on."""
        return self.alternate, self.mouse, self.brackets, self.cursor_visible

    def settings(self) -> list[Any]:
        """Return the termios(3) settings of the terminal, also after the end of the command."""
        assert self._master is not None, "the terminal was closed"
        return termios.tcgetattr(self._master)

    # Input

    def type(self, keys: str | bytes) -> None:
        r"""Type keys: "\x03" is Ctrl-C, "\x1a" Ctrl-Z, "\r" Enter, "\x1b[A" the arrow up."""
        assert self._master is not None, "the terminal was closed"
        left = keys.encode() if isinstance(keys, str) else keys
        while left:
            left = left[os.write(self._master, left) :]

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window; the kernel sends SIGWINCH to the foreground job."""
        self._drain()
        self._screen.resize(rows, columns)
        self.announce(columns, rows)

    def announce(self, columns: int, rows: int) -> None:
        """Make the kernel report this size, whatever that of the window."""
        assert self._master is not None, "the terminal was closed"
        termios.tcsetwinsize(self._master, (rows, columns))

    def hang_up(self) -> None:
        """Close the window; the command gets SIGHUP. The screen stays as it was."""
        if self._master is not None:
            self._drain()
            os.close(self._master)
            self._master = None

    # Waiting

    def wait_for(self, what: str | Callable[[str], bool], hang: float = HANG) -> str:
        """Wait until the screen holds this text, or until this is true of its text.

        Return the screen. Fail after this many seconds, or when the command ends first.

        """
        deadline = time.monotonic() + hang
        while True:
            ended = self._ended()  # before reading, so that nothing can come after
            shown = self.text()
            if what in shown if isinstance(what, str) else what(shown):
                return shown
            if ended:
                raise self._failure(
                    f"the command ended ({self._process.returncode}) without {what!r}"
                )
            if time.monotonic() > deadline:
                raise self._failure(f"{what!r} did not come in {hang} s")
            self._take(TICK)

    def watch(self, seconds: float) -> str:
        """Watch for this many seconds; return the final screen."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._take(left)
        return self.text()

    def wait(self, timeout: float = HANG) -> int:
        """Return the exit status of the command, negative if a signal ended it; all output is read.

        Fail if it has not ended after this many seconds.

        """
        if not self._ended(timeout):
            raise self._failure(f"the command did not end in {timeout} s")
        self._drain()
        return self._process.wait()

    def _failure(self, message: str) -> AssertionError:
        rule = "-" * self._screen.columns
        return AssertionError(f"{message}; the screen:\n{rule}\n{self.text()}\n{rule}")

    def _ended(self, timeout: float = 0.0) -> bool:
        """Return True if the command has ended; wait up to this many seconds for that, reading on."""
        deadline = time.monotonic() + timeout
        while self._process.poll() is None:
            if time.monotonic() >= deadline:
                return False
            self._take(TICK)
        return True

    def _drain(self) -> None:
        """Read the available output, for at most `BUSY`."""
        deadline = time.monotonic() + BUSY
        while self._take() and time.monotonic() < deadline:
            pass

    def _take(self, timeout: float = 0.0) -> bool:
        """Read the available output; wait up to this many seconds for the first byte."""
        if self._master is None:
            time.sleep(timeout)
            return False
        if not select.select([self._master], [], [], timeout)[0]:
            return False
        try:
            output = os.read(self._master, 65536)
        except OSError:  # EIO: no process has the terminal open any more
            time.sleep(timeout)
            return False
        if self._answer and QUESTION.encode() in (self.raw[1 - len(QUESTION) :] + output):
            self.type(self._answer)
        self.raw += output
        self._stream.feed(output)
        return True


def _environment(more: dict[str, str] | None) -> dict[str, str]:
    """Return a small environment, the same wherever the tests run."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.environ.get("HOME", "/"),
        "BWTOP_DB": os.environ["BWTOP_DB"],
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        **(more or {}),
    }


def _session(leader: int) -> list[int]:
    """Return all processes of a session: the command, and jobs that it has left."""
    members = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(int(directory.name)) == leader:
                members.append(int(directory.name))
    return members
