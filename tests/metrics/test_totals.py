"""Test bytes by name: exact in sum, never decreasing, few series, and harmless names."""

from collections import Counter
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bwtop.metrics import totals
from bwtop.metrics.totals import (
    LONGEST,
    LONGEST_FURTHER,
    OTHER,
    TOP,
    CounterLabels,
    Labels,
    MetricsLabel,
    Moved,
    Totals,
    by_labels,
    label,
)
from bwtop.model.flows import UDP, Identity, ProcessKey, Traffic
from bwtop.model.sample import Sample
from tests.build import CONTROLS, HOSTILE, KEYS, REMOTES, key, remote, sample

FEW: Final = 5
"""Number of names with counters: few, so that a test can exhaust them."""

names: Final = st.sampled_from([*(f"program {n}" for n in range(12)), OTHER]) | st.text(max_size=20)
amounts: Final = st.integers(0, 100) | st.integers(0, 2**53)
readings: Final = st.builds(
    sample,
    st.dictionaries(
        st.sampled_from(KEYS),
        st.dictionaries(st.sampled_from(REMOTES), st.builds(Traffic, amounts, amounts), min_size=1),
    ),
    identities=st.dictionaries(st.sampled_from(KEYS), st.builds(Identity, names)),
)

Series = dict[tuple[Labels, CounterLabels, str], int]


def series(found: dict[Labels, Moved]) -> Series:
    return {
        (name, kind, direction): getattr(traffic, direction)
        for name, kinds in found.items()
        for kind, traffic in kinds.items()
        for direction in ("rx", "tx")
    }


def moved(samples: list[Sample]) -> Counter[tuple[CounterLabels, str]]:
    """Return the sum over all names, added up naively."""
    found: Counter[tuple[CounterLabels, str]] = Counter()
    for one in samples:
        for remotes in one.traffic.values():
            for far, traffic in remotes.items():
                protocol = {6: "tcp", 17: "udp"}.get(far.protocol, "other")
                kind = CounterLabels(protocol, far == REMOTES[3])
                found[kind, "rx"] += traffic.rx
                found[kind, "tx"] += traffic.tx
    return found


def one(name: str, amount: int, pid: int = 1) -> Sample:
    """Return a reading with only these bytes."""
    return sample({key(pid): {remote(): Traffic(amount, 0)}}, identities={key(pid): Identity(name)})


def received(counted: Totals) -> dict[str, int]:
    """Return bytes by name."""
    return {
        name: sum(traffic.rx for traffic in kinds.values())
        for (name,), kinds in counted.copy().items()
    }


@given(st.lists(readings, max_size=30), st.integers(1, FEW))
def test_sums_are_exact_and_no_counter_goes_back(samples: list[Sample], top: int) -> None:
    counted = Totals(0, top)
    before: Series = {}
    for number, reading in enumerate(samples):
        counted.add(by_labels(reading))
        after = series(counted.copy())
        assert before.keys() <= after.keys()
        assert all(after[name] >= amount for name, amount in before.items())
        sums: Counter[tuple[CounterLabels, str]] = Counter()
        for (_, kind, direction), amount in after.items():
            sums[kind, direction] += amount
        assert +sums == +moved(samples[: number + 1])
        assert len({name for name, _, _ in after}) <= top + 1
        before = after


@given(st.lists(names | st.sampled_from(HOSTILE), max_size=30))
@example(list(HOSTILE))
def test_names_are_harmless(said: list[str]) -> None:
    for name in said:
        found = label(name)
        assert 0 < len(found) <= LONGEST
        assert not CONTROLS.search(found)
        found.encode()


def test_empty_name_and_other_count_as_other() -> None:
    counted = Totals()
    for name in ("", OTHER):
        counted.add(by_labels(one(name, 1009)))
    counted.add(by_labels(sample({key(1): {remote(): Traffic(7, 0)}})))
    assert received(counted) == {OTHER: 2018, "(unknown)": 7}


def test_first_names_get_counters_at_once() -> None:
    counted = Totals()
    counted.add(by_labels(one("curl", 1009)))
    before = counted.copy()
    counted.add(by_labels(one("nginx", 2003)))
    counted.add(by_labels(one("curl", 4001)))
    assert received(counted) == {OTHER: 0, "curl": 5010, "nginx": 2003}
    assert before[("curl",)] == {CounterLabels("tcp", loopback=False): Traffic(1009, 0)}, (
        "a copy stays"
    )


def test_busiest_of_many_new_names_get_counters() -> None:
    traffic = {key(n): {remote(): Traffic(n * 1000, 0)} for n in range(1, 301)}
    counted = Totals()
    counted.add(by_labels(sample(traffic, identities={k: Identity(f"p{k.pid}") for k in traffic})))
    found = received(counted)
    shown = sorted(int(name[1:]) for name in found if name != OTHER)
    assert shown == list(range(301 - len(shown), 301))
    assert 50 < len(shown) < TOP
    assert sum(found.values()) == 1000 * 300 * 301 // 2


def test_many_small_names_leave_room_for_a_large_one() -> None:
    """A due name has its own counter from then on; its earlier bytes stay in `other`."""
    counted = Totals()
    counted.add(by_labels(one("large", 10**9)))
    for number in range(2000):
        counted.add(by_labels(one(f"small {number}", 900)))
    assert received(counted).keys() == {"large", OTHER}
    counted.add(by_labels(one("late", 900)))
    before = received(counted)
    assert "late" not in before
    counted.add(by_labels(one("late", 10**8)))
    after = received(counted)
    assert after["late"] == 10**8
    assert after[OTHER] == before[OTHER]


def test_name_keeps_its_counter_when_all_are_taken() -> None:
    counted = Totals(0, 3)
    for name in ("a", "b", "c"):
        counted.add(by_labels(one(name, 1000)))
    counted.add(by_labels(one("d", 10**12)))
    assert received(counted) == {"a": 1000, "b": 1000, "c": 1000, OTHER: 10**12}


def test_candidates_are_few_and_the_largest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is due with a millionth of all bytes; what is known of small ones is forgotten."""
    monkeypatch.setattr(totals, "MAX_CANDIDATES", 10)
    counted = Totals()
    counted.add(by_labels(one("large", 10**12)))
    for number in range(50):
        counted.add(by_labels(one(f"p{number}", 500_000 + number)))
    for number in (0, 49):
        counted.add(by_labels(one(f"p{number}", 500_200)))
    assert received(counted).keys() == {"large", "p49", OTHER}


def test_processes_of_a_name_are_summed_by_kind() -> None:
    far = {
        remote(): Traffic(1, 2),
        remote("127.0.0.1"): Traffic(10, 20),
        remote("::1", 53, UDP): Traffic(100, 200),
        remote("192.0.2.9", 0, 1): Traffic(1000, 2000),
        remote("192.0.2.9", 0, 58): Traffic(10_000, 20_000),
    }
    keys: list[ProcessKey] = [key(1), key(2)]
    reading = sample(dict.fromkeys(keys, far), identities=dict.fromkeys(keys, Identity("curl")))
    assert by_labels(reading) == {
        ("curl",): {
            CounterLabels("tcp", loopback=False): Traffic(2, 4),
            CounterLabels("tcp", loopback=True): Traffic(20, 40),
            CounterLabels("udp", loopback=True): Traffic(200, 400),
            CounterLabels("other", loopback=False): Traffic(22_000, 44_000),
        }
    }


def test_further_labels_are_bounded_and_harmless() -> None:
    """Each container restarted under a new id is a new series: beyond the limit they count as others."""
    further = (MetricsLabel.CONTAINER, MetricsLabel.UNIT)
    counted = Totals(2, FEW)
    for number in range(3 * FEW):
        who = Identity("nginx", unit="\x1b[2J" * 99, container=f"docker:{number}")
        reading = sample({key(1): {remote(): Traffic(10**number, 0)}}, identities={key(1): who})
        counted.add(by_labels(reading, further))
    found = counted.copy()
    assert len(found) == FEW + 1
    assert sum(traffic.rx for kinds in found.values() for traffic in kinds.values()) == int(
        "1" * 3 * FEW
    )
    name, container, unit = next(labels for labels in found if labels != (OTHER, "", ""))
    assert (name, container) == ("nginx", "docker:0")
    assert unit == label("\x1b[2J" * 99, LONGEST_FURTHER)
    named = Identity("nginx", container="docker:0", container_name="proxy")
    reading = sample({key(1): {remote(): Traffic(1, 0)}}, identities={key(1): named})
    assert list(by_labels(reading, further)) == [("nginx", "proxy", "")]
    pod = "monitoring/kube-prometheus-stack-prometheus-node-exporter-x7k2p"
    pair = {
        key(pid): Identity("exporter", container=f"docker:{pid}", container_name=f"{pod}/{end}")
        for pid, end in ((1, "node-exporter"), (2, "proxy"))
    }
    both = {process: {remote(): Traffic(1, 0)} for process in pair}
    assert {labels[1] for labels in by_labels(sample(both, identities=pair), further)} == {
        f"{pod}/node-exporter",
        f"{pod}/proxy",
    }
    host = by_labels(one("sshd", 1), further)
    assert list(host) == [("sshd", "", "")], "absent, and not named"
