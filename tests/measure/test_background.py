"""Samples go on while nobody takes them."""

import threading
from collections.abc import Iterator

import pytest

from bwtop.measure import background
from bwtop.measure.background import Background
from bwtop.model.flows import Traffic
from bwtop.model.sample import Sample
from tests.build import eventually, key, remote, sample

HANG = 10.0


class Source:
    """Samples that come as fast as they are taken, until somebody stops them."""

    def __init__(self, count: int = 1_000_000) -> None:
        self.taken = 0
        self.stopped = threading.Event()
        self._count = count

    def __iter__(self) -> Iterator[Sample]:
        while self.taken < self._count and not self.stopped.wait(0.001):
            self.taken += 1
            yield sample({key(7): {remote(): Traffic(rx=self.taken, tx=1)}}, elapsed=1.0)


def test_a_consumer_that_is_late_gets_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MAX_WAITING", 5)
    source = Source(100)
    with Background(iter(source), source.stopped.set) as samples:
        assert eventually(lambda: source.taken == 100)
        taken = list(samples)
    assert len(taken) <= 6
    assert sum(each.elapsed for each in taken) == 100.0
    flows = [each.traffic[key(7)][remote()] for each in taken]
    assert sum(flow.rx for flow in flows) == sum(range(101))
    assert sum(flow.tx for flow in flows) == 100
    assert [flow.rx for flow in flows[:4]] == [1, 2, 3, 4], "the oldest ones stay as they are"


def test_many_flows_wait_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "MAX_FLOWS", 2)
    source = Source(10)
    with Background(iter(source), source.stopped.set) as samples:
        assert eventually(lambda: samples._is_over)
        assert len(list(samples)) == 2


def test_the_end_of_the_block_ends_the_thread() -> None:
    source = Source()
    with Background(iter(source), source.stopped.set) as samples:
        assert next(iter(samples)).elapsed == 1.0
    taken = source.taken
    assert not any(thread.name == "bwtop-reader" for thread in threading.enumerate())
    assert source.taken == taken


def test_an_error_of_the_thread_is_raised_after_its_samples() -> None:
    def broken() -> Iterator[Sample]:
        yield sample()
        raise OSError("the kernel refuses")

    with Background(broken(), lambda: None) as samples:
        found = iter(samples)
        next(found)
        with pytest.raises(OSError, match="refuses"):
            next(found)
