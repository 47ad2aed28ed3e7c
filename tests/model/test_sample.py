"""Readings of one interval become one sample."""

from copy import deepcopy
from dataclasses import replace
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.flows import Identity, Loss, ProcessKey, Remote, Traffic
from bwtop.model.named import Learned, NameSource
from bwtop.model.sample import MOST_LEARNED, FlowTraffic, Sample, add_traffic
from tests.build import key, remote, sample
from tests.strategies import samples


def sums(readings: list[Sample]) -> FlowTraffic:
    """Return plain sums, flow by flow."""
    counters: dict[ProcessKey, dict[Remote, list[int]]] = {}
    for reading in readings:
        for process, remotes in reading.traffic.items():
            for far, traffic in remotes.items():
                total = counters.setdefault(process, {}).setdefault(far, [0, 0])
                for index, amount in enumerate(traffic):
                    total[index] += amount
    return {p: {r: Traffic(*t) for r, t in remotes.items()} for p, remotes in counters.items()}


@given(st.lists(samples, min_size=1, max_size=5))
def test_absorbing_is_adding(readings: list[Sample]) -> None:
    expected_traffic = sums(readings)
    expected_loss = Loss(*map(sum, zip(*(reading.loss for reading in readings), strict=True)))
    expected_elapsed = reduce(float.__add__, [reading.elapsed for reading in readings])
    expected_exited = set().union(*(reading.exited for reading in readings))

    joined = deepcopy(readings[0])
    for later in readings[1:]:
        joined.absorb(later)

    assert joined.traffic == expected_traffic
    assert joined.loss == expected_loss
    assert joined.elapsed == expected_elapsed
    assert joined.exited == expected_exited
    assert joined.time == readings[-1].time


@given(samples, samples)
def test_absorbing_leaves_the_later_reading_as_it_was(first: Sample, later: Sample) -> None:
    copy = deepcopy(later)
    first.absorb(later)
    first.absorb(later)
    assert later == copy


def test_the_newest_names_are_kept_in_order() -> None:
    seen = [
        Learned(key(1), remote().address, None, f"name{number}", NameSource.DNS, 3600)
        for number in range(MOST_LEARNED + 2)
    ]
    first = replace(sample(), learned=seen[:1])
    copied = replace(first)
    first.absorb(replace(sample(), learned=seen[1:]))
    assert first.learned == seen[2:]
    assert copied.learned == seen[:1]


def test_the_later_identity_counts() -> None:
    joined = sample(identities={key(1): Identity("bash"), key(2): Identity("sshd")})
    joined.absorb(sample(identities={key(1): Identity("curl")}))
    assert joined.identities == {key(1): Identity("curl"), key(2): Identity("sshd")}


def test_adding_traffic_touches_one_flow_only() -> None:
    traffic: FlowTraffic = {key(1): {remote(): Traffic(1, 1)}}
    add_traffic(traffic, key(1), remote(), Traffic(2, 3))
    add_traffic(traffic, key(1), remote("*"), Traffic(7))
    add_traffic(traffic, key(2), remote(), Traffic(tx=9))
    assert traffic == {
        key(1): {remote(): Traffic(3, 4), remote("*"): Traffic(7)},
        key(2): {remote(): Traffic(tx=9)},
    }
