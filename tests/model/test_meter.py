"""Rates and totals agree with plain sums, at every level."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.flows import UNKNOWN_IDENTITY, Identity, ProcessKey, Remote, Traffic
from bwtop.model.meter import Counted, Interval, Meter, ProcessRow, rate
from bwtop.model.sample import Sample
from tests.build import key, remote, sample, samples

timelines = st.lists(samples, min_size=1, max_size=8)


def advance_all(timeline: list[Sample]) -> list[Interval]:
    meter = Meter()
    return [meter.advance(deepcopy(reading)) for reading in timeline]


@given(timelines)
def test_every_level_is_the_sum_of_the_level_below(timeline: list[Sample]) -> None:
    for interval in advance_all(timeline):
        for row in interval.processes:
            assert row.rx == sum(far.rx for far in row.remotes)
            assert row.tx == sum(far.tx for far in row.remotes)
        assert interval.rx == sum(row.rx for row in interval.processes)
        assert interval.tx == sum(row.tx for row in interval.processes)


@given(timelines)
def test_interval_has_every_byte_of_its_sample_once(timeline: list[Sample]) -> None:
    for reading, interval in zip(timeline, advance_all(timeline), strict=True):
        shown = {
            (row.key, far.remote): (far.rx, far.tx)
            for row in interval.processes
            for far in row.remotes
            if far.rx or far.tx
        }
        moved = {
            (process, far): (traffic.rx, traffic.tx)
            for process, remotes in reading.traffic.items()
            for far, traffic in remotes.items()
            if traffic.rx or traffic.tx
        }
        assert shown == moved


@given(timelines)
def test_totals_are_plain_sums_for_as_long_as_the_process_lives(timeline: list[Sample]) -> None:
    of_processes: dict[ProcessKey, tuple[int, int]] = {}
    of_remotes: dict[tuple[ProcessKey, Remote], tuple[int, int]] = {}
    of_all = (0, 0)
    for reading, interval in zip(timeline, advance_all(timeline), strict=True):
        for process, remotes in reading.traffic.items():
            for far, traffic in remotes.items():
                of_all = added(of_all, traffic)
                of_processes[process] = added(of_processes.get(process, (0, 0)), traffic)
                of_remotes[process, far] = added(of_remotes.get((process, far), (0, 0)), traffic)
        assert (interval.rx_total, interval.tx_total) == of_all
        for row in interval.processes:
            assert (row.rx_total, row.tx_total) == of_processes[row.key]
            for flow in row.remotes:
                assert (flow.rx_total, flow.tx_total) == of_remotes[row.key, flow.remote]
        for process in reading.exited:
            of_processes.pop(process, None)
            for flow_key in [k for k in of_remotes if k[0] == process]:
                del of_remotes[flow_key]


def added(total: tuple[int, int], traffic: Traffic) -> tuple[int, int]:
    return total[0] + traffic.rx, total[1] + traffic.tx


@given(timelines)
def test_rates_are_bytes_by_elapsed_time(timeline: list[Sample]) -> None:
    for reading, interval in zip(timeline, advance_all(timeline), strict=True):
        assert interval.elapsed == reading.elapsed
        rows: list[Counted] = [interval, *interval.processes]
        for process in interval.processes:
            rows += process.remotes
        for row in rows:
            assert row.rx_rate == (row.rx / reading.elapsed if reading.elapsed else 0)
            assert row.tx_rate == (row.tx / reading.elapsed if reading.elapsed else 0)


@pytest.mark.parametrize(
    ("amount", "elapsed", "expected"),
    [(100, 2.0, 50.0), (1, 0.5, 2.0), (0, 1.0, 0.0), (100, 0.0, 0.0), (100, -1.0, 0.0)],
)
def test_rate_of_an_interval_of_no_length_is_zero(
    amount: int, elapsed: float, expected: float
) -> None:
    assert rate(amount, elapsed) == expected


def only_row(interval: Interval) -> ProcessRow:
    (row,) = interval.processes
    return row


def moved(rx: int = 100, **more: object) -> Sample:
    """Return a reading in which process 1 received that much."""
    reading = sample({key(1): {remote(): Traffic(rx, 0)}})
    for name, value in more.items():
        setattr(reading, name, value)
    return reading


def test_process_that_exits_is_counted_once_more_and_then_forgotten() -> None:
    meter = Meter()
    meter.advance(moved(100))
    assert only_row(meter.advance(moved(10, exited={key(1)}))).rx_total == 110
    after = meter.advance(moved(1))
    assert only_row(after).rx_total == 1
    assert only_row(after).remotes[0].rx_total == 1
    assert after.rx_total == 111, "the sum over all keeps the bytes of processes that are gone"


def test_reused_pid_is_a_new_process() -> None:
    meter = Meter()
    old, new = ProcessKey(10, 7), ProcessKey(20, 7)
    meter.advance(sample({old: {remote(): Traffic(100)}}))
    assert only_row(meter.advance(sample({new: {remote(): Traffic(1)}}))).rx_total == 1


def test_exec_renames_and_keeps_the_totals() -> None:
    meter = Meter()
    meter.advance(moved(100, identities={key(1): Identity("bash")}))
    row = only_row(meter.advance(moved(1, identities={key(1): Identity("curl")})))
    assert (row.identity.name, row.rx_total) == ("curl", 101)


def test_exec_in_an_interval_without_traffic_is_not_forgotten() -> None:
    meter = Meter()
    meter.advance(moved(identities={key(1): Identity("bash")}))
    meter.advance(sample(identities={key(1): Identity("curl")}))
    assert only_row(meter.advance(moved())).identity.name == "curl"


def test_process_without_identity_is_unknown() -> None:
    assert only_row(Meter().advance(moved())).identity == UNKNOWN_IDENTITY


def test_process_that_moved_no_byte_is_left_out() -> None:
    """A datagram without payload is a call, but no traffic."""
    empty = sample({key(1): {remote(): Traffic(0, 0)}})
    assert Meter().advance(empty).processes == []


def test_quiet_interval_has_no_rows_and_keeps_the_totals() -> None:
    meter = Meter()
    meter.advance(moved(100))
    quiet = meter.advance(sample())
    assert (quiet.processes, quiet.rx, quiet.rx_rate, quiet.rx_total) == ([], 0, 0.0, 100)


def test_idle_remotes_beyond_the_limit_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are removed; active remotes stay, and the totals of the process keep everything."""
    monkeypatch.setattr("bwtop.model.ledger.MAX_REMOTES", 3)
    meter = Meter()
    first = remote("192.0.2.1")
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"):
        meter.advance(sample({key(1): {remote(address): Traffic(rx=10)}}))
    (again,) = meter.advance(sample({key(1): {first: Traffic(rx=1)}})).processes
    assert again.rx_total == 41
    assert again.remotes[0].rx_total == 1, "forgotten, and begun anew"
    (busy,) = meter.advance(
        sample({key(1): {remote(f"192.0.2.{n}"): Traffic(rx=1) for n in range(1, 7)}})
    ).processes
    assert [row.rx_total for row in busy.remotes][:2] == [2, 1]
    assert busy.rx_total == 47
