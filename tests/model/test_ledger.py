"""The ledger books each byte once: in its flow, in the sum of its process, in the sum over all."""

from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from datetime import timedelta
from functools import reduce
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.flows import (
    PROTOCOL_NAMES,
    TCP,
    UDP,
    UNKNOWN_IDENTITY,
    Identity,
    Loss,
    Remote,
    Traffic,
)
from bwtop.model.ledger import CATEGORIES, Frame, Ledger, Process, Tally, category
from bwtop.model.sample import Sample
from tests.build import KEYS, NOW, REMOTES, key, remote, sample
from tests.strategies import losses

Name = tuple[object, object]
"""A counted thing: (process, remote), (process, category) or ("all", category)."""

Sums = dict[Name, tuple[int, int]]

LENGTHS = (0.125, 0.5, 1.0, 1.0625, 5.0, 12.5, 45.0)
"""Lengths of intervals, in seconds; their sums are exact."""

amounts = st.integers(0, 10**12)
readings = st.builds(
    sample,
    st.dictionaries(
        st.sampled_from(KEYS),
        st.dictionaries(st.sampled_from(REMOTES), st.builds(Traffic, amounts, amounts), min_size=1),
    ),
    elapsed=st.sampled_from(LENGTHS),
    identities=st.dictionaries(
        st.sampled_from(KEYS),
        st.builds(Identity, name=st.sampled_from(["curl", "sshd"]), uid=st.integers(0, 1)),
    ),
    exited=st.sets(st.sampled_from(KEYS), max_size=1),
    loss=losses,
)
timelines = st.lists(readings, max_size=6)


def plain(timeline: Iterable[Sample]) -> Sums:
    """Return the moved bytes, without zeros."""
    rx: Counter[Name] = Counter()
    tx: Counter[Name] = Counter()
    for reading in timeline:
        for process, remotes in reading.traffic.items():
            for far, traffic in remotes.items():
                for name in ((process, far), (process, category(far)), ("all", category(far))):
                    rx[name] += traffic.rx
                    tx[name] += traffic.tx
    return {name: (rx[name], tx[name]) for name in rx if rx[name] or tx[name]}


def tallies(ledger: Ledger) -> dict[Name, Tally]:
    """Return all tallies of a ledger, by the same names."""
    found: dict[Name, Tally] = {("all", of): tally for of, tally in ledger.sums.items()}
    for name, process in ledger.processes.items():
        found |= {(name, of): tally for of, tally in process.sums.items()}
        found |= {(name, far): flow for far, flow in process.flows.items()}
    return found


def totals(ledger: Ledger) -> Sums:
    return {name: (t.rx, t.tx) for name, t in tallies(ledger).items() if t.rx or t.tx}


def names(ledger: Ledger) -> dict[object, Identity]:
    return {name: process.identity for name, process in ledger.processes.items()}


def booked(timeline: Iterable[Sample]) -> Ledger:
    ledger = Ledger()
    for reading in timeline:
        ledger.book(ledger.take(reading))
    return ledger


@given(timelines)
def test_every_byte_is_booked_once_at_every_level(timeline: list[Sample]) -> None:
    ledger = Ledger()
    for number, reading in enumerate(timeline, 1):
        before = totals(ledger)
        frame = ledger.take(reading)
        assert totals(ledger) == before, "no number changes before it is booked"
        moved = {of: both for (who, of), both in plain([reading]).items() if who == "all"}
        assert frame.sums() == moved
        ledger.book(frame)
        assert totals(ledger) == plain(timeline[:number])


@given(st.lists(readings, min_size=2, max_size=5))
def test_merged_frames_are_booked_like_separate_ones(timeline: list[Sample]) -> None:
    ledger = Ledger()
    for second, reading in enumerate(timeline):
        reading.time = NOW + timedelta(seconds=second)
    frames = [ledger.take(deepcopy(reading)) for reading in timeline]
    frame = reduce(absorbed, frames)
    ledger.book(frame)
    assert totals(ledger) == plain(timeline)
    assert names(ledger) == names(booked(timeline))
    assert frame.time == timeline[-1].time
    assert frame.elapsed == sum(reading.elapsed for reading in timeline)
    assert frame.exited == set().union(*(reading.exited for reading in timeline))
    assert frame.loss == reduce(Loss.plus, (reading.loss for reading in timeline))
    assert len(set(frame.flows)) == len(frame.flows), "each flow once"
    runs = [process for process, _ in groupby(frame.flows, key=lambda flow: flow.process)]
    assert len(set(runs)) == len(runs), "a process's flows follow each other"


def absorbed(frame: Frame, later: Frame) -> Frame:
    frame.absorb(later)
    return frame


@given(st.lists(readings, min_size=2, max_size=3))
def test_booking_does_not_change_readings(timeline: list[Sample]) -> None:
    """Readings are shared with other users."""
    before = deepcopy(timeline)
    ledger = Ledger()
    ledger.book(reduce(absorbed, [ledger.take(reading) for reading in timeline]))
    assert timeline == before


def test_flow_that_moved_no_byte_is_left_out() -> None:
    frame = Ledger().take(
        sample(
            {
                key(1): {remote(): Traffic(0, 0)},
                key(2): {remote(): Traffic(0, 7), remote("192.0.2.2"): Traffic()},
            }
        )
    )
    ((flow, rx, tx),) = frame.entries()
    assert (flow.process.key, flow.remote, rx, tx) == (key(2), remote(), 0, 7)


def test_known_process_keeps_its_object_and_is_renamed_when_that_is_booked() -> None:
    ledger = booked([sample({key(1): {remote(): Traffic(1)}}, identities={key(1): Identity("sh")})])
    process = ledger.processes[key(1)]
    frame = ledger.take(
        sample({key(1): {remote(): Traffic(2)}}, identities={key(1): Identity("w")})
    )
    assert process.identity == Identity("sh")
    ledger.book(frame)
    assert ledger.processes == {key(1): process}
    assert process.identity == Identity("w")
    assert process.flows[remote()].rx == 3


def test_exec_of_an_unknown_process_is_ignored() -> None:
    assert booked([sample(identities={key(1): Identity("sh")})]).processes == {}


def test_process_without_identity_is_unknown() -> None:
    assert names(booked([sample({key(1): {remote(): Traffic(1)}})])) == {key(1): UNKNOWN_IDENTITY}


def test_total_keeps_the_bytes_of_forgotten_flows() -> None:
    both = {remote(): Traffic(1, 2), remote("::1"): Traffic(4, 8)}
    ledger = booked([sample({key(1): dict(both), key(2): dict(both)})])
    assert ledger.size() == 4
    forgotten = ledger.forget(key(1))
    assert isinstance(forgotten, Process)
    assert ledger.forget(key(1)) is None
    assert ledger.size() == 2
    of_all = {name: both for name, both in totals(ledger).items() if name[0] == "all"}
    assert of_all == {
        ("all", category(remote())): (2, 4),
        ("all", category(remote("::1"))): (8, 16),
    }
    again = ledger.take(sample({key(1): {remote(): Traffic(1)}}))
    ledger.book(again)
    assert ledger.processes[key(1)] is not forgotten, "a process that comes back begins anew"
    assert totals(ledger)[key(1), remote()] == (1, 0)


@pytest.mark.parametrize("protocol", [*PROTOCOL_NAMES, 200])
@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True)]
    + [(other, False) for other in ("128.0.0.1", "192.0.2.1", "::2", "2001:db8::1", "*")],
)
def test_category_is_a_class_of_protocols_on_loopback_or_not(
    protocol: int, address: str, loopback: bool
) -> None:
    name = {TCP: "tcp", UDP: "udp"}.get(protocol, "other")
    assert CATEGORIES[category(remote(address, 1, protocol))] == (name, loopback)


def test_there_is_a_category_for_each_class_and_place() -> None:
    assert sorted(CATEGORIES.values()) == [
        (name, loopback) for name in ("other", "tcp", "udp") for loopback in (False, True)
    ]


# Forgotten remotes.

MANY = [remote(f"192.0.2.{n}") for n in range(1, 9)]


@given(st.lists(st.dictionaries(st.sampled_from(MANY), st.integers(1, 9).map(Traffic), min_size=1)))
def test_remotes_beyond_the_limit_are_forgotten_unless_they_move_bytes(
    timeline: list[dict[Remote, Traffic]],
) -> None:
    ledger = Ledger()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bwtop.model.ledger.MAX_REMOTES", 3)
        for remotes in timeline:
            ledger.book(ledger.take(sample({key(1): remotes})))
            known = ledger.processes[key(1)].flows if ledger.processes else {}
            assert known.keys() >= remotes.keys()
            assert len(known) <= max(3, len(remotes))
    moved = sum(traffic.rx for remotes in timeline for traffic in remotes.values())
    of_process = sum(t.rx for p in ledger.processes.values() for t in p.sums.values())
    assert (of_process, sum(t.rx for t in ledger.sums.values())) == (moved, moved)


@given(timelines)
def test_flows_beyond_the_limit_for_all_are_forgotten_unless_they_move_bytes(
    timeline: list[Sample],
) -> None:
    ledger = Ledger()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bwtop.model.ledger.MAX_FLOWS", 4)
        for reading in timeline:
            ledger.book(ledger.take(reading))
            known = {(k, far) for k, p in ledger.processes.items() for far in p.flows}
            moved = {
                (k, far)
                for k, remotes in reading.traffic.items()
                for far, traffic in remotes.items()
                if traffic.rx or traffic.tx
            }
            assert known >= moved
            assert ledger.size() == len(known) <= max(4, len(moved) + 1)
            for k in reading.exited:
                ledger.forget(k)
        assert ledger.size() == sum(len(p.flows) for p in ledger.processes.values())
    of_all = {name: sums for name, sums in plain(timeline).items() if name[0] == "all"}
    assert {("all", of): (t.rx, t.tx) for of, t in ledger.sums.items() if t.rx or t.tx} == of_all


def test_process_with_the_most_flows_forgets_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bwtop.model.ledger.MAX_FLOWS", 8)
    first = sample({key(1): dict.fromkeys(MANY[:5], Traffic(10)), key(2): {MANY[0]: Traffic(10)}})
    ledger = booked([first, sample({key(3): dict.fromkeys(MANY[:3], Traffic(1))})])
    assert {k.pid: len(p.flows) for k, p in ledger.processes.items()} == {1: 3, 2: 1, 3: 3}
    assert list(ledger.processes[key(1)].flows) == MANY[2:5]
    assert totals(ledger)[key(1), category(MANY[0])] == (50, 0)


def test_the_oldest_remotes_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bwtop.model.ledger.MAX_REMOTES", 3)
    ledger = booked(sample({key(1): {far: Traffic(10)}}) for far in MANY[:4])
    assert list(ledger.processes[key(1)].flows) == MANY[1:4]
    ledger.book(ledger.take(sample({key(1): {MANY[1]: Traffic(1), MANY[5]: Traffic(1)}})))
    assert list(ledger.processes[key(1)].flows) == [MANY[1], MANY[3], MANY[5]]
    assert totals(ledger)[key(1), MANY[1]] == (11, 0)
    assert totals(ledger)[key(1), category(MANY[0])] == (42, 0)


def test_pause_of_the_booking_keeps_the_bytes_of_remotes_forgotten_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frames are taken during a pause and booked long after."""
    monkeypatch.setattr("bwtop.model.ledger.MAX_REMOTES", 1)
    ledger = Ledger()
    frames = [ledger.take(sample({key(1): {far: Traffic(10)}})) for far in MANY]
    assert list(ledger.processes[key(1)].flows) == MANY[-1:]
    for frame in frames:
        ledger.book(frame)
    assert totals(ledger)[key(1), category(MANY[0])] == (80, 0)
