"""A reader that takes the output slowly, or not at all, costs no line, no interval and no recorded byte."""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.recorded import STRETCHED, recorded, send
from tests.kernel.running import HANG, command
from tests.processes import waited
from tests.screen.terminal import Terminal

pytestmark = pytest.mark.kernel


@contextmanager
def printing(database: Path, *, blocking: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """Run a batch that is not read yet, unbuffered, with the smallest pipe."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, blocking)
    flags = ("--batch", "--format", "json", "--no-resolve", "-d", "0.1", "--db", str(database))
    with subprocess.Popen(
        command(*flags),
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        os.close(writer)
        assert process.stderr
        try:
            while b"measuring" not in process.stderr.readline():
                assert process.poll() is None
            process.stdout = os.fdopen(reader, "rb", buffering=0)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("blocking", [True, False])
def test_slow_reader_gets_whole_lines_of_even_intervals(
    tmp_path: Path, sink: int, blocking: bool
) -> None:
    """A signal cut a line in two, with status 0; a non-blocking pipe ended bwtop in the middle of one."""
    with printing(tmp_path / "history.db", blocking=blocking) as process:
        for _ in range(3):
            send(sink, 100)
            time.sleep(1.0)
        allowed = STRETCHED + waited(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.stdout
        text = b""
        while piece := process.stdout.read(1000):
            text += piece
            time.sleep(0.001)
        assert process.wait(HANG) == 0
    documents = [json.loads(line) for line in text.splitlines()]
    assert text.endswith(b"\n")
    assert max(document["interval"] for document in documents) < allowed, (
        "nothing waits for the reader"
    )
    assert sent(documents, sink) == recorded(tmp_path / "history.db", sink) == 300_000


def sent(documents: list[dict[str, object]], port: int) -> int:
    """Return the bytes sent to a port by all documents."""
    return sum(
        remote["tx"]
        for document in documents
        for process in document["processes"]  # type: ignore[attr-defined]
        for remote in process["remotes"]
        if remote["port"] == port and remote["role"] == "client"
    )


@pytest.mark.parametrize(
    ("signals", "status"),
    [
        ([signal.SIGTERM], -signal.SIGALRM),
        ([signal.SIGINT, signal.SIGTERM], -signal.SIGTERM),  # two of the same may be one
    ],
)
def test_output_that_is_not_taken_costs_no_recorded_byte(
    tmp_path: Path, sink: int, signals: list[signal.Signals], status: int
) -> None:
    """It was killed by SIGALRM, and the last seconds with it."""
    with printing(tmp_path / "history.db") as process:
        for _ in range(10):
            send(sink, 100)
            time.sleep(0.2)
        for number in signals:
            process.send_signal(number)
        assert process.wait(HANG) == status
    assert recorded(tmp_path / "history.db", sink) == 1_000_000


def test_screen_whose_output_is_stopped_costs_no_recorded_byte(tmp_path: Path, sink: int) -> None:
    """The last bytes are still in the kernel's maps when the second signal comes."""
    database = tmp_path / "history.db"
    with Terminal(command("--no-resolve", "--db", str(database))) as terminal:
        terminal.wait_for("recording", HANG)
        terminal.type("\x13")
        for _ in range(15):
            send(sink, 100)
            time.sleep(0.2)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(terminal.pid, number)
        assert terminal.wait() == -signal.SIGTERM
    assert recorded(database, sink) == 1_500_000
