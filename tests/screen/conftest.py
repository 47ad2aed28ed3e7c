"""A fixture of several modules: a process of this machine."""

import subprocess
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that waits for its end; its command line has room in the details."""
    code = "import sys, time; print(flush=True); time.sleep(600)"
    command = ["python3", "-c", code]
    with subprocess.Popen(command, executable=sys.executable, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()
