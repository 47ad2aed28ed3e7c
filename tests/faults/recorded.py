"""Bytes that a test has moved, by the history."""

from pathlib import Path
from typing import Final

from tests.kernel.running import command, run, send_datagram
from tests.processes import ran

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
    question = ("--history", "1h", "--format", "csv", "--by", "port")
    report = ran(command(*question, "--db", str(database)), check=True)
    lines = [line.split(",") for line in report.stdout.splitlines()]
    return sum(int(line[-1]) for line in lines[1:] if line[0] == str(port))
