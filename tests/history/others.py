"""Other users: directories that they can reach, and what they see there."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

NOBODY: Final = 65534

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 and not os.environ.get("CI"), reason="other users and mounts need root"
)
"""Where CI is set these run without root, too, and fail."""


@contextmanager
def public_directory() -> Iterator[Path]:
    """Yield a directory that other users can read: those of pytest are private."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def as_nobody(read: Callable[[], object], expected: object) -> None:
    """Check the result of a read as a user without rights."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            found = read()
            if found != expected:
                os.write(2, f"{found!r}\n".encode())
            status = 0 if found == expected else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
