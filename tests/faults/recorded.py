"""Bytes that a test has moved, by the history."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.kernel.running import HANG, LAUNCHER, run, send_datagram

STRETCHED: Final = 2.5
"""Seconds: no interval of 0.1 or 0.2 s is that long on any machine but by waiting, which took 3 to 60."""


def send(port: int, count: int) -> None:
    """Send so many datagrams of 1,000 bytes from a process of its own."""

    def go() -> None:
        for _ in range(count):
            send_datagram(port, 1000)

    run(go)


def recorded(database: Path, port: int) -> int:
    """Return the bytes sent to a port by `bwtop --history`."""
    command = [sys.executable, str(LAUNCHER), "--history", "1h", "--format", "csv", "--by", "port"]
    report = subprocess.run(
        [*command, "--db", str(database)],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG,
    )
    lines = [line.split(",") for line in report.stdout.splitlines()]
    return sum(int(line[-1]) for line in lines[1:] if line[0] == str(port))
