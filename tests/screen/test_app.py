"""One run of the full screen, without probes."""

import fcntl
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from bwtop.history.process import QueryServer
from bwtop.measure import background
from bwtop.measure.intervals import Status
from bwtop.measure.sources import Measurement
from bwtop.model.flows import Traffic
from bwtop.model.sample import Sample
from bwtop.tui import app as app_module
from bwtop.tui.app import App
from bwtop.tui.export import Exporter
from bwtop.tui.keys import DEFAULT
from bwtop.tui.settings import Settings
from bwtop.tui.state import ScreenState
from bwtop.tui.terminal import open_terminal
from tests.build import eventually, key, remote, sample
from tests.history.named import learned
from tests.screen.fake import fake
from tests.screen.terminal import Terminal

HANG = 30.0


class Silence:
    """Readings in which nothing moves."""

    def read(self) -> Sample:
        """See Readings."""
        return sample()


def silent() -> Measurement:
    """Return a measurement of nothing."""
    return Measurement(
        readings=Silence(), status=lambda: Status(""), close=lambda _: None, to_the_end=False
    )


def test_no_thread_starts_before_root_is_dropped() -> None:
    """Dropping it reaches only the thread that does; keys are answered afterwards."""
    written: list[str] = []
    saved: list[Any] = []

    def save(values: Any) -> str:
        saved.append(values)
        return "config"

    server = QueryServer(lambda _: ({"why": "nothing is recorded"}, b""))
    state = ScreenState("host.example", DEFAULT)
    state.exporter = Exporter(lambda name, *_: written.append(name), lambda *_: "")
    state.save_settings = save
    before = {*threading.enumerate()}

    def measure() -> Measurement:
        assert {*threading.enumerate()} <= before
        return silent()

    app = App(state, None, measure, open_terminal(None, {}), server)
    try:
        for keys in (["["], ["w", "ctrl u", *"a.csv", "enter"], ["S", "down", "enter", "esc"]):
            for key in keys:
                app._screen.keypress((80, 24), key)
        assert {*threading.enumerate()} <= before
        app.attach()
        app._clock.stop()  # nothing else is delivered
        while state.history.is_asked or not (written and saved):
            app._delivered.get(timeout=HANG)()  # type: ignore[operator]  # no error
    finally:
        server.close()
    assert written == ["a.csv"]
    assert saved == [{"mouse": False}]


class Asked:
    """A name server that is asked."""

    trouble = ""

    def get(self, address: bytes) -> str | None:
        """See NameLookup."""
        return f"of-{len(address)}.example.net"


@pytest.mark.parametrize(("resolve", "unheard"), [(True, ["of-16.example.net"]), (False, [])])
def test_without_resolving_heard_names_are_shown_and_no_others(
    monkeypatch: pytest.MonkeyPatch, resolve: bool, unheard: list[str]
) -> None:
    monkeypatch.setattr(app_module, "Names", Asked)
    state = ScreenState("host.example", DEFAULT, Settings())
    app = App(state, None, silent, open_terminal(None, {}), resolve=resolve)
    app._clock.stop()
    app.attach()
    reading = sample()
    reading.learned = [learned("www.example.com")]
    state.advance(reading)
    for address, expected in (("192.0.2.1", ["www.example.com"]), ("192.0.2.9", unheard)):
        names = state.names.of(key(1), remote(address))
        assert [name.name for name in names] == expected


def test_samples_wait_merged_while_the_terminal_takes_no_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They were kept one by one, without a bound, and a full pipe stopped measuring and recording."""
    monkeypatch.setattr(background, "MAX_WAITING", 5)
    state = ScreenState("host.example", DEFAULT)
    taken: list[Sample] = []
    monkeypatch.setattr(state, "advance", taken.append)
    readings = [sample({key(7): {remote(): Traffic(rx=number)}}) for number in range(1, 101)]
    monkeypatch.setattr(app_module, "samples", lambda *_: iter(readings))
    app = App(state, None, silent, open_terminal(None, {}))
    fcntl.fcntl(app._wake, fcntl.F_SETPIPE_SZ, 4096)
    os.write(app._wake, bytes(4096))
    app.attach()
    assert app._reader
    app._reader.join(HANG)
    assert not app._reader.is_alive()
    assert app._delivered.qsize() == 1
    app._take_delivered(b".")
    assert len(taken) == 5
    assert sum(each.traffic[key(7)][remote()].rx for each in taken) == sum(range(101))
    assert sum(each.elapsed for each in taken) == 100.0


@pytest.mark.parametrize(
    ("numbers", "status", "grace"),
    [
        ([signal.SIGTERM], -signal.SIGALRM, 1.0),
        ([signal.SIGINT, signal.SIGTERM], -signal.SIGTERM, HANG),
        ([signal.SIGINT, signal.SIGQUIT], -signal.SIGQUIT, HANG),
    ],
)
def test_stopped_output_stops_neither_recording_nor_signals(
    tmp_path: Path, numbers: list[signal.Signals], status: int, grace: float
) -> None:
    """Only SIGKILL ended it; what was not stored by then was lost, and the terminal left as it was."""
    record = tmp_path / "record"
    with Terminal(fake(record=record, grace=grace)) as terminal:
        before = terminal.settings()
        terminal.wait_for("backend none")
        assert terminal.settings() != before
        terminal.type("\x13")
        read = record.stat().st_size
        assert eventually(lambda: record.stat().st_size > read + 5)
        for number in numbers:
            os.kill(terminal.pid, number)
        assert terminal.wait() == status
        assert record.read_bytes().strip(b"r") == b"c"
        assert terminal.modes == (False, False, False, True)
        assert terminal.settings() == before
