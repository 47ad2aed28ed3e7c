"""Test the source of live intervals."""

from collections import deque
from pathlib import Path
from unittest.mock import PropertyMock

import pytest

from bwtop.measure.intervals import Status, ThreadClock
from bwtop.measure.sources import Measurement
from bwtop.model.flows import Traffic
from bwtop.model.sample import Sample
from bwtop.web.access import Address
from bwtop.web.broadcaster import Broadcaster
from bwtop.web.history import LocalHistory
from bwtop.web.serve import ServeOptions, Service
from bwtop.web.server import WebServer
from bwtop.web.source import LiveSource
from tests.build import key, remote, sample
from tests.web.serving import FILES, reports_of


class Recorder:
    """The recording of another bwtop, which ends after the second reading; its last bytes are in the third."""

    def __init__(self, clock: ThreadClock) -> None:
        self.clock = clock
        self.readings: deque[int | None] = deque((5, None, 7, None, None))
        self.ended = False

    def read(self) -> Sample:
        amount = self.readings.popleft()
        self.ended = self.ended or amount == 7
        if len(self.readings) == 1:  # there is a last reading after that
            self.clock.stop()
        return sample({key(1): {remote(): Traffic(amount, 0)}} if amount else {})

    def status(self) -> Status:
        return Status("no bwtop records", "it has ended") if self.ended else Status("recorded")


@pytest.mark.parametrize("following", [True, False])
def test_without_a_recorder_no_interval_is_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, following: bool
) -> None:
    """The last recorded bytes are passed on; a measuring bwtop passes on idle intervals as zero.

    What is not passed on is not in the metrics either: time in which nothing measures is not measured.
    """
    clock = ThreadClock()
    recorder = Recorder(clock)
    passed: list[int] = []

    def note(_: Broadcaster, one: Sample, __: str) -> None:
        passed.append(sum(map(len, one.traffic.values())))

    with WebServer(Address("127.0.0.1", 0)) as server:
        reports = reports_of(LocalHistory(tmp_path / "none.db"))
        service = Service(server, FILES, ServeOptions(reports, 0.1, names=False))
        monkeypatch.setattr(Broadcaster, "put", note)
        service.measure(
            Measurement(
                readings=recorder,
                backend="",
                status=recorder.status,
                close=lambda _: None,
                following=following,
            ),
            clock,
        )
        reports.close()
    assert passed == ([1, 0, 1] if following else [1, 0, 1, 0, 0])
    figures = service.watch.figures()
    assert (sum(figures.durations.counts), figures.measured) == (len(passed), len(passed))
    assert figures.backend == ("none" if following else "history")


def test_measurement_that_is_lost_meanwhile_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    source = LiveSource()
    found = Measurement(
        readings=Recorder(ThreadClock()), status=lambda: Status(""), close=lambda _: None
    )
    monkeypatch.setattr(
        LiveSource, "_measurement", PropertyMock(side_effect=[found, None]), raising=False
    )
    assert source.is_ours
