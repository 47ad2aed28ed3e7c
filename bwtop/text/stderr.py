"""One-line messages on standard error."""

import contextlib
import os
import sys
from typing import Final, NoReturn

from bwtop.text.escape import printable

CANNOT: Final = 2
"""Exit status on failure or wrong usage."""


def fail(message: str) -> NoReturn:
    """Write one line to standard error and exit with status 2."""
    say(message)
    sys.exit(CANNOT)


def say(message: str) -> None:
    """Write one line to standard error; ignore a closed one."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"bwtop: {printable(' '.join(message.split()))}\n")
        sys.stderr.flush()


def discard_output() -> None:
    """Redirect standard output to /dev/null: Python flushes its buffer at exit, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
