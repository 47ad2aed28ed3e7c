"""What bwtop says on standard error: one line each time."""

import contextlib
import os
import sys
from typing import Final, NoReturn

from bwtop.text.escape import printable

CANNOT: Final = 2
"""Exit status when bwtop cannot do what was asked."""


def fail(message: str) -> NoReturn:
    """Ends with one line on standard error."""
    say(message)
    sys.exit(CANNOT)


def say(message: str) -> None:
    """One line on standard error; a closed one is no reason to stop."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"bwtop: {printable(' '.join(message.split()))}\n")
        sys.stderr.flush()


def discard_output() -> None:
    """Python writes at its end what is still buffered: not there, where it failed once."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
