"""bwtop --record: log lines, service manager, and the last interval."""

import contextlib
import io
import os
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bwtop.measure import intervals as live
from bwtop.measure.intervals import Status
from bwtop.measure.sources import Measurement
from bwtop.model.flows import Identity, Traffic
from bwtop.model.sample import Sample
from bwtop.modes import service
from bwtop.modes.service import NOTICE, WARNING, Log, notifier
from bwtop.sqlite.recorder import Recorder
from bwtop.sqlite.writer import RecordingOptions
from tests.build import CONTROLS, HOSTILE, key, remote
from tests.history import recording
from tests.history.recording import START, answer, intervals
from tests.processes import descriptors_of

# Log


def journal(out: io.TextIOWrapper) -> dict[str, str]:
    """Return the environment of a service whose standard error goes to the journal."""
    found = os.fstat(out.fileno())
    return {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}


@pytest.fixture
def err(tmp_path: Path) -> Iterator[io.TextIOWrapper]:
    with (tmp_path / "stderr").open("w+", encoding="utf-8", errors="backslashreplace") as out:
        yield out


def lines(out: io.TextIOWrapper) -> list[str]:
    """Return the flushed lines."""
    return Path(out.name).read_text(encoding="utf-8").split("\n")


def test_lines_for_the_journal_have_their_priority(err: io.TextIOWrapper) -> None:
    log = Log(err, journal(err))
    log("begun", NOTICE)
    log("trouble")
    assert lines(err) == ["<5>begun", "<4>trouble", ""]
    assert (NOTICE, WARNING) == (5, 4), "see syslog(3)"


@pytest.mark.parametrize(
    "stream",
    [None, "", ":", "x", "0:0", "{dev}:", "{dev}", ":{ino}", "{dev}:0", "0:{ino}", "{ino}:{dev}"],
)
def test_lines_outside_the_journal_have_no_priority(
    stream: str | None, err: io.TextIOWrapper
) -> None:
    """Children of a service inherit the variable, even with another standard error."""
    found = os.fstat(err.fileno())
    environment = {}
    if stream is not None:
        environment["JOURNAL_STREAM"] = stream.format(dev=found.st_dev, ino=found.st_ino)
    log = Log(err, environment)
    log("begun", NOTICE)
    log("trouble")
    assert lines(err) == ["bwtop: begun", "bwtop: trouble", ""]
    out = io.StringIO()
    Log(out, {"JOURNAL_STREAM": "1:2"})("begun")
    assert out.getvalue() == "bwtop: begun\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_one_line(text: str, err: io.TextIOWrapper) -> None:
    log = Log(err, journal(err))
    log(text)
    log(f"  a {text}\n<0>b ")
    first, second, end = lines(err)
    assert end == ""
    assert first.startswith("<4>")
    assert second.startswith("<4>a ")
    assert second.endswith(" <0>b")
    assert not CONTROLS.search(first + second)


@pytest.mark.parametrize("how", ["full", "broken pipe", "closed", "closed before"])
def test_stream_that_takes_nothing_does_not_stop_bwtop(how: str) -> None:
    if how == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    out = os.fdopen(descriptor, "w", encoding="utf-8")
    if how == "closed before":
        os.close(descriptor)
    log = Log(out, {})
    if how == "closed":
        out.close()
    log("begun", NOTICE)
    log("trouble")
    with contextlib.suppress(OSError, ValueError):
        out.close()


# The service manager

for_ever = pytest.mark.filterwarnings(
    "ignore:.*unclosed <socket:ResourceWarning", "ignore:Exception ignored.*socket"
)
"""The socket stays open while the service runs."""


def received(sock: socket.socket) -> list[bytes]:
    """Return all waiting messages."""
    sock.setblocking(False)
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(sock.recv(4096))
    return found


@for_ever
@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_service_manager_is_notified(kind: str, tmp_path: Path) -> None:
    """Children do not inherit the socket."""
    name = str(tmp_path / "notify") if kind == "path" else f"@bwtop-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if kind == "abstract" else name)
        before = descriptors_of("socket:")
        tell = notifier({"NOTIFY_SOCKET": name})
        (added,) = descriptors_of("socket:") - before
        assert not os.get_inheritable(added)
        tell("READY=1")
        tell("STOPPING=1")
        assert received(manager) == [b"READY=1", b"STOPPING=1"]
    tell("gone by now")


@pytest.mark.parametrize(
    "name",
    [
        *(None, "", "relative", "vsock:2:1234", "/nonexistent/notify", "@bwtop-nobody-listens"),
        *("/" + "x" * 200, "@"),
    ],
)
def test_missing_service_manager_is_ignored(
    name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative name is none, even of a socket that is there."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("relative")
        before = descriptors_of("socket:")
        notifier({} if name is None else {"NOTIFY_SOCKET": name})("READY=1")
        assert descriptors_of("socket:") == before
        assert received(manager) == []


# Recording


class Passing:
    """A clock that jumps to each deadline, with matching readings."""

    def __init__(self, stop: float, events: list[str]) -> None:
        self.clocks = recording.Clock()
        self.reads = 0
        self._events = events
        self._stop = self.clocks.awake + stop
        self._since = self.clocks.awake

    def monotonic(self) -> float:
        return self.clocks.awake

    def wait(self, deadline: float) -> bool:
        self.clocks.go(min(deadline, self._stop) - self.clocks.awake)
        return deadline < self._stop

    def read(self) -> Sample:
        elapsed, self._since = self.clocks.awake - self._since, self.clocks.awake
        self.reads += 1
        self._events.append("read")
        return Sample(
            datetime.fromtimestamp(self.clocks.wall, UTC),
            elapsed,
            {key(7): {remote(): Traffic(rx=1000 + self.reads, tx=self.reads)}},
            {key(7): Identity("curl", 0, cgroup="/system.slice/cron.service")},
        )


@pytest.fixture
def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, err: io.TextIOWrapper
) -> Callable[[float], list[str]]:
    """Record for a while and return all events in order, but that the disk is slow."""
    monkeypatch.setattr("bwtop.sqlite.recorder.SLOW", 60.0)

    def go(seconds: float) -> list[str]:
        events: list[str] = []
        passing = Passing(seconds, events)
        monkeypatch.setattr(live, "time", passing)
        recorder = Recorder(
            RecordingOptions(tmp_path / "history.db"), events.append, passing.clocks
        )
        recorder.open()
        recorder.start()

        def close(give_up: Callable[[], bool]) -> None:
            events.append("close")
            recorder.close(give_up)

        class Told(Log):
            def __call__(self, text: str, priority: int = WARNING) -> None:
                super().__call__(text, priority)
                events.append(text)

        measurement = Measurement(
            readings=passing,
            backend="tracepoint",
            status=lambda: Status(""),
            close=close,
            on_reading=recorder.put,
            recorder=recorder,
        )
        service.run(measurement, recorder, passing, Told(err, journal(err)), events.append)
        return [event for event in events if not event.startswith("EXTEND_TIMEOUT_USEC=")]

    return go


@pytest.mark.parametrize(
    ("seconds", "reads", "recorded"), [(2.4, 3, "2 seconds"), (1.3, 2, "1 second")]
)
def test_start_and_stop_are_logged(
    told: Callable[[float], list[str]],
    tmp_path: Path,
    err: io.TextIOWrapper,
    seconds: float,
    reads: int,
    recorded: str,
) -> None:
    begun = f"recording to {tmp_path / 'history.db'} (backend: tracepoint)"
    ended = f"stopped; {recorded} recorded"
    around = [begun, "READY=1"], ["STOPPING=1", "close", ended]
    assert told(seconds) == [*around[0], *["read"] * reads, *around[1]]
    assert lines(err) == [f"<5>{begun}", f"<5>{ended}", ""]


@pytest.mark.parametrize(
    ("seconds", "stored"),
    [(2.4, [(0, 1), (1, 1), (2, 0.4)]), (0.3, [(0, 0.3)]), (3.0, [(0, 1), (1, 1), (2, 1)])],
)
def test_last_partial_interval_is_stored(
    seconds: float,
    stored: list[tuple[float, float]],
    told: Callable[[float], list[str]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "history.db"
    told(seconds)
    assert intervals(path) == stored
    count = len(stored)
    whole = answer(path, "process", "unit", now=START + 60)
    (row,) = whole.rows
    assert row.labels == ("curl", None, 0, False, "cron.service", None, None, None)
    assert (row.rx, row.tx) == (1000 * count + count * (count + 1) // 2, count * (count + 1) // 2)
    assert whole.seconds == pytest.approx(seconds)
