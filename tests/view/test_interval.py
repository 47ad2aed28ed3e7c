"""Intervals of samples agree with plain sums, at every level."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.filter import EVERYTHING
from bwtop.model.flows import UNKNOWN_IDENTITY, Identity, ProcessKey, Remote, Traffic
from bwtop.model.named import NameSource, RemoteName
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import Sample
from bwtop.view.interval import Interval, Intervals
from bwtop.view.order import Order
from bwtop.view.rows import Branch, Leaf
from tests.build import key, remote, sample, typed
from tests.strategies import samples

timelines = st.lists(samples, min_size=1, max_size=8)


def maker(**options: Any) -> Intervals:
    return Intervals(EVERYTHING, RemoteNames(), **options)


def advanced(timeline: list[Sample]) -> Iterator[tuple[Sample, Interval]]:
    """Yield each reading with its interval."""
    intervals = maker()
    for reading in timeline:
        yield reading, intervals.advance(deepcopy(reading))


def listed(shown: Interval) -> list[tuple[Branch, Sequence[Leaf]]]:
    return [(row, shown.remotes(row)) for row in shown.processes]


@given(timelines)
def test_every_level_is_the_sum_of_the_level_below(timeline: list[Sample]) -> None:
    for _, shown in advanced(timeline):
        for row, remotes in listed(shown):
            for way in (0, 1):
                assert row.counted[way] == sum(far.counted[way] for far in remotes)
        for way in (0, 1):
            assert shown.counted[way] == sum(row.counted[way] for row in shown.processes)


@given(timelines)
def test_interval_has_every_byte_of_its_sample_once(timeline: list[Sample]) -> None:
    for reading, shown in advanced(timeline):
        rows = [
            ((row.key, far.remote), far.counted[:2])
            for row, remotes in listed(shown)
            for far in remotes
        ]
        assert len(dict(rows)) == len(rows)
        assert dict(rows) == {
            (process, far): traffic
            for process, remotes in reading.traffic.items()
            for far, traffic in remotes.items()
            if any(traffic)
        }


@given(timelines)
def test_totals_are_plain_sums_for_as_long_as_the_process_lives(timeline: list[Sample]) -> None:
    of_processes: dict[ProcessKey, tuple[int, int]] = {}
    of_remotes: dict[tuple[ProcessKey, Remote], tuple[int, int]] = {}
    of_all = (0, 0)
    for reading, shown in advanced(timeline):
        for process, remotes in reading.traffic.items():
            for far, traffic in remotes.items():
                flow = process, far
                of_all = added(of_all, traffic)
                of_processes[process] = added(of_processes.get(process, (0, 0)), traffic)
                of_remotes[flow] = added(of_remotes.get(flow, (0, 0)), traffic)
        assert shown.counted[4:] == of_all
        for row, fars in listed(shown):
            assert row.key
            assert row.counted[4:] == of_processes[row.key]
            for leaf in fars:
                assert leaf.counted[4:] == of_remotes[row.key, leaf.remote]
        for process in reading.exited:
            of_processes.pop(process, None)
            for flow in [flow for flow in of_remotes if flow[0] == process]:
                del of_remotes[flow]


def added(total: tuple[int, int], traffic: Traffic) -> tuple[int, int]:
    return total[0] + traffic.rx, total[1] + traffic.tx


@given(timelines)
def test_rates_are_bytes_by_elapsed_time(timeline: list[Sample]) -> None:
    for reading, shown in advanced(timeline):
        assert shown.elapsed == reading.elapsed
        rows = [shown.counted, *(row.counted for row in shown.processes)]
        rows += [far.counted for _, remotes in listed(shown) for far in remotes]
        for counted in rows:
            assert counted[2:4] == tuple(
                amount / reading.elapsed if reading.elapsed else 0 for amount in counted[:2]
            )


def only_row(shown: Interval) -> Branch:
    (row,) = shown.processes
    return row


def moved(rx: int = 100, **more: object) -> Sample:
    """Return a reading in which process 1 received that much."""
    reading = sample({key(1): {remote(): Traffic(rx, 0)}})
    for name, value in more.items():
        setattr(reading, name, value)
    return reading


def test_process_that_exits_is_counted_once_more_and_then_forgotten() -> None:
    intervals = maker()
    intervals.advance(moved(100))
    assert only_row(intervals.advance(moved(10, exited={key(1)}))).counted.rx_total == 110
    after = intervals.advance(moved(1))
    assert only_row(after).counted.rx_total == 1
    assert after.remotes(only_row(after))[0].counted.rx_total == 1
    assert after.counted.rx_total == 111, (
        "the sum over all keeps the bytes of processes that are gone"
    )


def test_reused_pid_is_a_new_process() -> None:
    intervals = maker()
    old, new = ProcessKey(10, 7), ProcessKey(20, 7)
    intervals.advance(sample({old: {remote(): Traffic(100)}}))
    assert only_row(intervals.advance(sample({new: {remote(): Traffic(1)}}))).counted.rx_total == 1


def test_exec_is_a_new_process() -> None:
    intervals = maker()
    old, new = key(1), key(1)._replace(exec=1)
    both = sample(
        {old: {remote(): Traffic(100)}, new: {remote(): Traffic(1)}},
        identities={old: Identity("bash"), new: Identity("curl")},
        exited={old},
    )
    rows = intervals.advance(both).processes
    assert {row.identity.name: row.counted.rx_total for row in rows} == {"bash": 100, "curl": 1}
    assert only_row(intervals.advance(sample({new: {remote(): Traffic(1)}}))).counted.rx_total == 2


def test_new_identity_renames_and_keeps_the_totals() -> None:
    intervals = maker()
    intervals.advance(moved(100, identities={key(1): Identity("bash")}))
    row = only_row(intervals.advance(moved(1, identities={key(1): Identity("curl")})))
    assert (row.identity.name, row.counted.rx_total) == ("curl", 101)


def test_new_identity_in_an_interval_without_traffic_is_not_forgotten() -> None:
    intervals = maker()
    intervals.advance(moved(identities={key(1): Identity("bash")}))
    intervals.advance(sample(identities={key(1): Identity("curl")}))
    assert only_row(intervals.advance(moved())).identity.name == "curl"


def test_process_without_identity_is_unknown() -> None:
    assert only_row(maker().advance(moved())).identity == UNKNOWN_IDENTITY


def test_process_that_moved_no_byte_is_left_out() -> None:
    """A datagram without payload is a call, but no traffic."""
    empty = sample({key(1): {remote(): Traffic(0, 0)}})
    assert maker().advance(empty).processes == []


def test_quiet_interval_has_no_rows_and_keeps_the_totals() -> None:
    intervals = maker()
    intervals.advance(moved(100))
    quiet = intervals.advance(sample())
    assert (quiet.processes, quiet.counted) == ([], (0, 0, 0.0, 0.0, 100, 0))


def test_idle_remotes_beyond_the_limit_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are removed; active remotes stay, and the totals of the process keep everything."""
    monkeypatch.setattr("bwtop.model.ledger.MAX_REMOTES", 3)
    intervals = maker()
    first = remote("192.0.2.1")
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"):
        intervals.advance(sample({key(1): {remote(address): Traffic(rx=10)}}))
    again = intervals.advance(sample({key(1): {first: Traffic(rx=1)}}))
    assert only_row(again).counted.rx_total == 41
    (row,) = again.remotes(only_row(again))
    assert row.counted.rx_total == 1, "forgotten, and begun anew"
    busy = intervals.advance(
        sample({key(1): {remote(f"192.0.2.{n}"): Traffic(rx=1) for n in range(1, 7)}})
    )
    rows = busy.remotes(only_row(busy))
    assert {r.remote.address[-1]: r.counted.rx_total for r in rows}[1] == 2
    assert only_row(busy).counted.rx_total == 47


def test_processes_are_sorted_and_limited_but_sums_are_of_all() -> None:
    traffic = {key(pid): {remote(): Traffic(pid)} for pid in (2, 1, 3)}
    shown = maker(order=Order("rx"), limit=2).advance(sample(traffic))
    assert [row.pid for row in shown.processes] == [3, 2]
    assert (shown.number, shown.counted.rx, shown.counted.rx_total) == (3, 6, 6)


def test_filter_applies_and_names_are_looked_up_for_what_is_written() -> None:
    asked: list[bytes] = []
    near, far = remote("192.0.2.1"), remote("192.0.2.2")

    def name(address: bytes) -> str | None:
        asked.append(address)
        return "www.example.org"

    intervals = Intervals(typed("pid:1,2"), RemoteNames(name), Order("rx"), 1)
    traffic = {key(pid): {near if pid == 2 else far: Traffic(pid)} for pid in (1, 2, 3)}
    shown = intervals.advance(sample(traffic))
    assert (shown.number, shown.counted.rx) == (2, 3)
    assert [row.host for row in shown.remotes(only_row(shown))] == ["www.example.org"]
    assert asked == [near.address]


def test_recorded_names_are_those_of_remotes_and_pass_filters() -> None:
    """Readings of a history: without new ones the last ones hold."""
    curl, far, other = key(1), remote("192.0.2.1"), remote("192.0.2.2")
    reading = sample({curl: {far: Traffic(7), other: Traffic(5)}})
    name = RemoteName("www.example.org", NameSource.SNI)
    reading.named[curl, far] = (name,)
    intervals = Intervals(typed("name:www.example.org"), RemoteNames())
    for each in (reading, sample({curl: {far: Traffic(7), other: Traffic(5)}})):
        ((_, (leaf,)),) = listed(intervals.advance(each))
        assert (leaf.remote, leaf.name) == (far, name)
