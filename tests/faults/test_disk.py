"""A disk that stands still: a stop waits for what is not stored, and says what it gives up."""

import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.disk import Disk
from tests.faults.recorded import recorded, send
from tests.history.recording import is_sound
from tests.kernel.running import HANG, Bwtop
from tests.processes import until

pytestmark = pytest.mark.kernel


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Yield a file system; what writes to it has ended before it goes."""
    with closing(Disk(tmp_path)) as made:
        yield made


def stop_while_frozen(running: Bwtop, disk: Disk, port: int) -> None:
    """Stop the disk, move bytes, and send the signal to end."""
    send(port, 10)
    running.settle()
    until(lambda: recorded(disk.path / "history.db", port) >= 10_000)
    disk.freeze()
    send(port, 74)
    running.settle()
    running.process.send_signal(signal.SIGTERM)
    await_message(running, "not recorded yet")


def await_message(running: Bwtop, part: str) -> None:
    """Wait until bwtop says something."""
    until(lambda: any(part in message for message in running.messages), lambda: running.messages)


def test_a_stop_waits_for_the_disk_and_loses_nothing(disk: Disk, sink: int) -> None:
    """Of 74,000 bytes sent before the stop none was recorded, with status 0."""
    database = disk.path / "history.db"
    with Bwtop("-d", "1", "--db", str(database)) as running:
        stop_while_frozen(running, disk, sink)
        time.sleep(7)
        assert running.process.poll() is None
        disk.thaw()
        assert running.process.wait(HANG) == 0
    assert is_sound(database)
    assert recorded(database, sink) == 84_000


def test_a_second_signal_gives_up_and_says_what(disk: Disk, sink: int) -> None:
    database = disk.path / "history.db"
    with Bwtop("-d", "1", "--db", str(database)) as running:
        stop_while_frozen(running, disk, sink)
        running.process.send_signal(signal.SIGTERM)
        await_message(running, "given up")
        disk.thaw()  # a process that waits for a disk cannot end before
        assert running.process.wait(HANG) == 1
        (told,) = [message for message in running.messages if "given up" in message]
        assert int(told.split()[3]) >= 74_000
    assert is_sound(database)
    found = recorded(database, sink)
    assert 10_000 <= found <= 84_000
    assert found % 1000 == 0, "an interval is stored whole or not at all"
