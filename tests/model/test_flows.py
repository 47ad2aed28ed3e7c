"""Addresses, protocols, and sums of traffic and losses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model import containers
from bwtop.model.flows import (
    Host,
    Identity,
    Loss,
    Traffic,
    format_address,
    is_loopback,
    pack_address,
    protocol_class,
    protocol_name,
    stored_identity,
)
from tests.build import packed
from tests.strategies import losses, traffics


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (bytes.fromhex("00000000000000000000ffff c0000201"), "192.0.2.1"),
        (bytes.fromhex("20010db8000000000000000000000001"), "2001:db8::1"),
        (bytes.fromhex("00000000000000000000000000000001"), "::1"),
        (bytes.fromhex("00000000000000000000ffff00000000"), "0.0.0.0"),
        (bytes(16), "*"),
    ],
)
def test_address_is_shown_in_its_own_family(address: bytes, shown: str) -> None:
    assert format_address(address) == shown


@given(st.binary(min_size=16, max_size=16) | st.ip_addresses().map(str).map(packed))
def test_address_as_text_is_packed_again(address: bytes) -> None:
    assert pack_address(format_address(address)) == (address if any(address) else None)


@given(st.ip_addresses(v=4))
def test_v4_address_is_packed_as_flows_have_it(address: object) -> None:
    assert pack_address(str(address)) == packed(str(address))


@pytest.mark.parametrize(
    "text",
    ["", "*", "example.org", "192.0.2", "192.0.2.1/32", "1", "\x00", "\udcff", "[::1]", "漢"],
)
def test_invalid_address_is_not_packed(text: str) -> None:
    assert pack_address(text) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("128.0.0.1", False),
        ("::2", False),
        ("192.0.2.1", False),
        ("*", False),
    ],
)
def test_loopback_is_127_8_and_1(address: str, *, expected: bool) -> None:
    assert is_loopback(packed(address)) is expected


@pytest.mark.parametrize(
    ("protocol", "name", "toggle"),
    [
        (6, "tcp", "tcp"),
        (17, "udp", "udp"),
        (1, "icmp", "other"),
        (58, "icmpv6", "other"),
        (132, "sctp", "other"),
        (136, "udplite", "other"),
        (0, "packet", "other"),
        (254, "other", "other"),
        (200, "ip-200", "other"),
    ],
)
def test_protocol_has_a_name_and_a_toggle(protocol: int, name: str, toggle: str) -> None:
    assert protocol_name(protocol) == name
    assert protocol_class(protocol) == toggle


@given(traffics, traffics)
def test_traffic_since_an_earlier_count_is_what_was_added(before: Traffic, added: Traffic) -> None:
    assert before.plus(added).minus(before) == added


@given(losses, losses)
def test_loss_since_an_earlier_count_is_what_was_added(before: Loss, added: Loss) -> None:
    assert before.plus(added).minus(before) == added


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"name": "", "uid": -1, "exe": "", "user": "", "unit": "", "container": "", "pod": "", "kernel": 0},
        {"uid": None, "exe": None, "user": None, "unit": None, "container": None, "pod": None, "kernel": None},
    ],
    ids=["missing", "empty", "null"],
)  # fmt: skip
def test_unknown_values_of_a_stored_identity_are_none(row: dict[str, object]) -> None:
    assert stored_identity(row) == Identity("")


@pytest.mark.parametrize(
    ("identity", "text"),
    [
        (Identity("a"), None),
        (Identity("a", container="docker:0b190b0d9e42"), "docker:0b190b0d9e42"),
        (
            Identity("a", container="docker:0b190b0d9e42", container_name="web"),
            "docker:0b190b0d9e42 web",
        ),
        (Identity("a", container="lxc:web", container_name="web"), "lxc:web"),
        (Identity("a", container="nspawn:a\\x2db", container_name="a-b"), "nspawn:a\\x2db"),
        (Identity("a", container="lxc:0b190b0d9e42 web", container_name="0b190b0d9e42 web"), "lxc:0b190b0d9e42 web"),
    ],
)  # fmt: skip
def test_stores_keep_a_container_with_its_name(identity: Identity, text: str | None) -> None:
    assert containers.storable(identity.container, identity.container_name) == text
    assert stored_identity({"name": "a", "container": text}) == identity


def test_stored_identity_has_its_columns_and_details() -> None:
    row = {"name": "curl", "uid": 0, "exe": "/bin/curl", "user": "root", "kernel": 1, "pid": 7}
    row |= {"unit": "a.service", "container": "docker:1", "pod": "p"}
    host = Host("a", "1")
    assert stored_identity(row, host=host, cmdline="curl -O") == Identity(
        "curl",
        0,
        "curl -O",
        "/bin/curl",
        kernel=True,
        user="root",
        unit="a.service",
        container="docker:1",
        pod="p",
        host=host,
    )
