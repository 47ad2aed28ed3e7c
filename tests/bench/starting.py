"""bwtop as people start it, and the time at which what it writes is there."""

import functools
import os
import select
import subprocess
import termios
import time
from typing import Final, Self

from tests.bench.year import scratch
from tests.kernel.running import HANG, LAUNCHER

PYTHON: Final = "/usr/bin/python3"
"""The launcher's: the tests' own has more to look through."""

COLUMNS: Final = 132
ROWS: Final = 43


def command(*flags: str) -> list[str]:
    """bwtop from this checkout."""
    return [PYTHON, str(LAUNCHER), *flags]


@functools.cache
def environment() -> dict[str, str]:
    """With byte code, as after an installation or a first run, but not in this checkout; and with nobody's history."""
    found = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    found |= {
        "PYTHONPYCACHEPREFIX": str(scratch() / "compiled"),
        "BWTOP_DB": str(scratch() / "none.db"),
        "XDG_CONFIG_HOME": str(scratch() / "configuration"),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }
    return found


def run(*flags: str) -> float:
    """Seconds from its start to its end."""
    begun = time.monotonic()
    subprocess.run(command(*flags), check=True, stdout=subprocess.DEVNULL, env=environment())
    return time.monotonic() - begun


class Watched:
    """The full screen in a terminal, of which only the bytes are looked at: an emulator would take longer than it."""

    def __init__(self, *flags: str) -> None:
        self._raw = b""
        self._master, slave = os.openpty()
        termios.tcsetwinsize(slave, (ROWS, COLUMNS))
        self.begun = time.monotonic()
        self._process = subprocess.Popen(
            command(*flags),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment(),
            start_new_session=True,
        )
        os.close(slave)

    def when(self, text: bytes) -> float:
        """When that was written, by the monotonic clock: now or before; urwid writes a cell's style in one piece."""
        deadline = time.monotonic() + HANG
        while text not in self._raw:
            assert time.monotonic() < deadline, f"{text!r} never came: {self._raw[-2000:]!r}"
            if select.select([self._master], [], [], 0.1)[0]:
                self._raw += os.read(self._master, 1 << 16)
        return time.monotonic()

    def close(self) -> None:
        """Leaves the screen."""
        os.write(self._master, b"q")
        deadline = time.monotonic() + HANG
        while self._process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            if select.select([self._master], [], [], 0.02)[0]:
                try:
                    os.read(self._master, 1 << 16)
                except OSError:  # EIO: it has closed the terminal
                    time.sleep(0.02)
        os.close(self._master)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
