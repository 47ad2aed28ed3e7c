"""Checks of bwtop's modes, for tests of all the ways in which it can be installed."""

import json
import random
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bwtop import __version__
from tests.kernel.running import HANG, Bwtop, Flow
from tests.kernel.running import run as forked
from tests.packaging.making import run
from tests.screen.terminal import Terminal
from tests.web.serving import serving

SIZE = 1009
DISCARD = 9
"""The port; nobody reads there."""


class Sender(NamedTuple):
    """A process that has sent SIZE bytes, to an address of its own: a history of minutes has pids that were used twice."""

    pid: int
    host: str


@dataclass(frozen=True)
class Installed:
    """An installed bwtop."""

    command: Callable[..., list[str]]
    """Returns the command that starts it with flags."""
    database: str
    """The path of a history that it may record to, as it sees it."""
    cwd: Path
    """The directory that it is started in: no checkout."""

    def says(self, *flags: str) -> str:
        """Run bwtop, which must succeed; return its standard output."""
        return run(*self.command(*flags), cwd=self.cwd)


def check_proof(bwtop: Installed) -> None:
    """Check that --check moves known bytes, and counts all of them."""
    lines = bwtop.says("--check").splitlines()
    proof = lines[next(i for i, line in enumerate(lines) if line.startswith("known bytes")) :]
    counted = [line for line in proof if not line.startswith("known bytes")]
    assert len(counted) >= 13
    assert all(line.endswith(": exact") for line in counted), lines


def check_batch(bwtop: Installed) -> None:
    with Bwtop(started=bwtop.command) as running:
        sender = send()
        flow = Flow("udp", sender.host, DISCARD, "client")
        assert running.settled_flows(sender.pid) == {flow: (0, SIZE)}


def check_history(bwtop: Installed) -> None:
    with recording(bwtop.command("--record", "--db", bwtop.database), bwtop.cwd) as said:
        sender = send()
    assert "recording to" in said[0]
    assert "recorded" in "".join(said[1:])
    assert sent(bwtop.says(*question(sender), "--db", bwtop.database)) == SIZE


@contextmanager
def recording(command: list[str], cwd: Path) -> Iterator[list[str]]:
    """Run a recorder during the block, from the line that says that it records; check that it ends well.

    Yield the lines that it says, up to that one; after the block, all of them.
    """
    with subprocess.Popen(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        said: list[str] = []
        try:
            while not said or "recording to" not in said[-1]:
                said.append(process.stderr.readline())
                assert said[-1], said
            yield said
            process.send_signal(signal.SIGTERM)
            said += process.stderr
            assert process.wait(HANG) == 0, said
        finally:
            if process.poll() is None:
                process.kill()


def question(sender: Sender) -> tuple[str, ...]:
    """Return the flags that ask for the bytes of a process."""
    who = ("--pid", str(sender.pid), "--remote", sender.host)
    return ("--history", "24h", "--by", "process", *who, "--format", "json")


def sent(report: str) -> int:
    """Return the sent bytes in the answer to that question."""
    return int(json.loads(report)["total"]["tx"])


def check_serving(bwtop: Installed) -> None:
    """Check that bwtop serves the page, the charts, and the API."""
    with serving(started=bwtop.command) as web:
        page = web.ask("/")
        assert page.status == 200
        assert "<title>" in page.body.decode()
        for name in ("/main.js", "/style.css", "/chart.js"):
            assert web.ask(name).status == 200, name
        assert web.ask("/api/v1/about").document["version"] == __version__
        status = web.stop()
        assert status == 0, f"exit status {status}"


def check_screen(bwtop: Installed) -> None:
    command = bwtop.command("--no-resolve", "--no-record")
    with Terminal(command, cwd=bwtop.cwd) as terminal:
        terminal.wait_for("backend ", HANG)
        terminal.type("q")
        assert terminal.wait() == 0


def send() -> Sender:
    """Send a datagram to loopback from a process of its own."""
    host = f"127.{random.randrange(64, 256)}.{random.randrange(256)}.{random.randrange(1, 255)}"

    def go() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((host, DISCARD))  # or a service that may not hook cgroups has no remote
            sock.send(bytes(SIZE))

    return Sender(forked(go), host)


MODES = (check_proof, check_batch, check_history, check_serving, check_screen)
