"""The filter decides which flows count."""

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.filter import Filter, Loopback
from bwtop.model.flows import TCP, UDP, Identity, Loss, ProcessKey, Remote, Traffic
from bwtop.model.sample import FlowTraffic, Sample
from tests.build import KEYS, key, remote, sample, samples

CURL, SSHD, NGINX = key(10), key(20), key(30)

WEB = remote("192.0.2.1", 443)
WEB6 = remote("2001:db8::1", 443)
DNS = remote("198.51.100.53", 53, UDP)
PING = remote("192.0.2.77", 0, 1)
LOCAL = remote("127.0.0.1", 8080)
LOCAL6 = remote("::1", 8080)
UNKNOWN = remote("*", 0, TCP)

REMOTES = (WEB, WEB6, DNS, PING, LOCAL, LOCAL6, UNKNOWN)
IDENTITIES = {
    CURL: Identity("curl", uid=1000),
    SSHD: Identity("sshd", uid=0),
    NGINX: Identity("nginx-worker", uid=33),
}


def everything() -> Sample:
    """Return each process with each remote."""
    traffic: FlowTraffic = {p: dict.fromkeys(REMOTES, Traffic(3, 5)) for p in IDENTITIES}
    return sample(traffic, identities=dict(IDENTITIES), exited={SSHD}, loss=Loss(1, 2, 3, 4, 5, 6))


def networks(*texts: str) -> Filter:
    return Filter(networks=tuple(map(ipaddress.ip_network, texts)))


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (Filter(pids=frozenset({10})), {CURL}),
        (Filter(pids=frozenset({10, 30})), {CURL, NGINX}),
        (Filter(pids=frozenset({99})), set()),
        (Filter(uids=frozenset({0})), {SSHD}),
        (Filter(uids=frozenset({0, 1000})), {SSHD, CURL}),
        (Filter(names=("curl",)), {CURL}),
        (Filter(names=("nginx*", "ss?d")), {NGINX, SSHD}),
        (Filter(names=("nginx",)), set()),
        (Filter(names=("CURL",)), set()),
        (Filter(pids=frozenset({10, 20}), uids=frozenset({0, 33})), {SSHD}),
        (Filter(pids=frozenset({10}), names=("sshd",)), set()),
        (Filter(), {CURL, SSHD, NGINX}),
    ],
)
def test_conditions_on_processes(keep: Filter, expected: set[ProcessKey]) -> None:
    passed = keep.apply(everything())
    assert passed.traffic.keys() == expected
    assert all(remotes.keys() == set(REMOTES) for remotes in passed.traffic.values())


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (Filter(classes=frozenset({"tcp"})), {WEB, WEB6, LOCAL, LOCAL6, UNKNOWN}),
        (Filter(classes=frozenset({"udp"})), {DNS}),
        (Filter(classes=frozenset({"other"})), {PING}),
        (Filter(classes=frozenset({"udp", "other"})), {DNS, PING}),
        (Filter(classes=frozenset({"tcp", "udp", "other"})), set(REMOTES)),
        (networks("192.0.2.1"), {WEB}),
        (networks("192.0.2.0/24"), {WEB, PING}),
        (networks("0.0.0.0/0"), {WEB, DNS, PING, LOCAL}),
        (networks("2001:db8::/32"), {WEB6}),
        (networks("::/0"), {WEB6, LOCAL6}),
        (networks("192.0.2.0/25", "2001:db8::1"), {WEB, PING, WEB6}),
        (networks("203.0.113.0/24"), set()),
        (Filter(loopback=Loopback.SHOW), set(REMOTES)),
        (Filter(loopback=Loopback.HIDE), {WEB, WEB6, DNS, PING, UNKNOWN}),
        (Filter(loopback=Loopback.ONLY), {LOCAL, LOCAL6}),
        (replace(networks("192.0.2.0/24"), classes=frozenset({"tcp"})), {WEB}),
        (replace(networks("0.0.0.0/0"), loopback=Loopback.HIDE), {WEB, DNS, PING}),
        (Filter(classes=frozenset({"udp"}), loopback=Loopback.ONLY), set()),
    ],
)
def test_conditions_on_remotes(keep: Filter, expected: set[Remote]) -> None:
    passed = keep.apply(everything())
    assert passed.traffic == (
        {p: dict.fromkeys(expected, Traffic(3, 5)) for p in IDENTITIES} if expected else {}
    )


def test_conditions_on_processes_and_remotes_must_both_hold() -> None:
    keep = Filter(classes=frozenset({"udp"}), uids=frozenset({1000}))
    assert keep.apply(everything()).traffic == {CURL: {DNS: Traffic(3, 5)}}


def test_unknown_process_matches_no_name() -> None:
    unknown = sample({CURL: {WEB: Traffic(1)}})
    assert Filter(names=("curl",)).apply(unknown).traffic == {}


def test_unknown_process_is_not_matched_as_root() -> None:
    """Absent, never a false 0: the owner of those bytes is unknown."""
    unknown = sample({CURL: {WEB: Traffic(1)}})
    assert Filter(uids=frozenset({0})).apply(unknown).traffic == {}


def test_losses_exits_and_identities_pass_every_filter() -> None:
    before, after = everything(), Filter(pids=frozenset({99})).apply(everything())
    assert (after.loss, after.exited, after.identities) == (
        before.loss,
        before.exited,
        before.identities,
    )
    assert (after.time, after.elapsed) == (before.time, before.elapsed)


filters = st.builds(
    Filter,
    classes=st.frozensets(st.sampled_from(["tcp", "udp", "other"])),
    pids=st.frozensets(st.sampled_from([key.pid for key in KEYS])),
    uids=st.frozensets(st.integers(0, 2)),
    names=st.lists(st.sampled_from(["curl", "s*", "?url"])).map(tuple),
    networks=st.lists(
        st.sampled_from(["192.0.2.0/31", "::/0", "0.0.0.0/0"]).map(ipaddress.ip_network)
    ).map(tuple),
    loopback=st.sampled_from(Loopback),
)


@given(filters, samples)
def test_filtering_twice_is_filtering_once(keep: Filter, reading: Sample) -> None:
    once = keep.apply(reading)
    assert keep.apply(once) == once


@given(filters, samples)
def test_passing_flows_are_unchanged_and_dropped_flows_fail_a_condition(
    keep: Filter, reading: Sample
) -> None:
    kept = {
        (p, r): t for p, remotes in keep.apply(reading).traffic.items() for r, t in remotes.items()
    }
    for process, remotes in reading.traffic.items():
        identity = reading.identities.get(process, Identity("(unknown)"))
        for far, traffic in remotes.items():
            passes = keep.takes_process(process, identity) and keep.takes_remote(far)
            assert kept.pop((process, far), None) == (traffic if passes else None)
    assert not kept, "flows came from nowhere"


@given(st.sets(st.sampled_from(["tcp", "udp", "other"]), min_size=1, max_size=2), samples)
def test_a_set_of_protocols_and_the_rest_make_up_everything(
    classes: set[str], reading: Sample
) -> None:
    rest = {"tcp", "udp", "other"} - classes
    taken = Filter(classes=frozenset(classes)).apply(reading)
    left = Filter(classes=frozenset(rest)).apply(reading)
    taken.absorb(left)
    assert taken.traffic == reading.traffic


@given(samples)
def test_loopback_alone_and_the_rest_make_up_everything(reading: Sample) -> None:
    alone = Filter(loopback=Loopback.ONLY).apply(reading)
    alone.absorb(Filter(loopback=Loopback.HIDE).apply(reading))
    assert alone.traffic == reading.traffic
