"""The class of a remote address: by fixed ranges, connected prefixes, and names of the configuration."""

import contextlib
import ipaddress
import re
import sqlite3
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.flows import Host, format_address, parse_address
from bwtop.model.networks import RESERVED, Network, Networks, parse_named, parse_network
from tests.build import packed

NAMED = {
    "office": ["10.8.0.0/16", "2001:db8:8::/48"],
    "lab": ["10.8.7.0/24", "::ffff:198.51.100.0/120"],
    "backup": ["192.0.2.10"],
    "all6": ["::/0"],
}
CONNECTED = [ipaddress.ip_network(text) for text in ("203.0.113.0/24", "10.8.7.0/25", "0.0.0.0/0")]


def known(named: dict[str, list[str]] = NAMED, connected: Sequence[Network] = ()) -> Networks:
    return Networks(parse_named(named), lambda: connected)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("*", "unknown"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("128.0.0.0", "internet"),
        ("::1", "loopback"),
        ("10.0.0.0", "lan"),
        ("10.255.255.255", "lan"),
        ("11.0.0.0", "internet"),
        ("172.15.255.255", "internet"),
        ("172.31.255.255", "lan"),
        ("192.168.1.1", "lan"),
        ("169.254.1.1", "lan"),
        ("255.255.255.255", "lan"),
        ("255.255.255.254", "internet"),
        ("100.64.0.1", "internet"),
        ("224.0.0.251", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.0", "internet"),
        ("ff02::fb", "multicast"),
        ("fe80::1", "lan"),
        ("fd00::1", "lan"),
        ("fe00::1", "all6"),
        ("2001:db8::1", "all6"),
        ("2001:db8:8:ffff::1", "office"),
        ("10.8.1.1", "office"),
        ("10.8.7.1", "lab"),
        ("198.51.100.9", "lab"),
        ("192.0.2.10", "backup"),
        ("192.0.2.11", "internet"),
        ("203.0.113.9", "lan"),
        ("203.0.114.0", "internet"),
    ],
)
def test_class_of_an_address(address: str, expected: str) -> None:
    by_name = {**NAMED, "all6": ["2000::/3", "fe00::/9"]}
    assert known(by_name, CONNECTED).of(packed(address)) == expected


PREFIXES = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)),
    st.tuples(st.sampled_from(["10.8.0.0", "10.8.7.0", "192.0.2.0"]), st.integers(8, 32)),
).map(lambda pair: parse_network(f"{pair[0]}/{pair[1]}"))


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.lists(PREFIXES, max_size=4)),
    st.lists(st.ip_addresses(), min_size=1),
)
def test_the_most_specific_prefix_wins(
    named: dict[str, list[Network]], addresses: list[ipaddress.IPv4Address]
) -> None:
    """Compare the ranges with a look at each prefix, also at their first and last addresses."""
    prefixes = [prefix for some in named.values() for prefix in some]
    edges = [edge for prefix in prefixes for edge in (prefix[0], prefix[-1])]
    built, plain = Networks(named), Networks()
    for address in [*addresses, *edges]:
        far = packed(str(address))
        parsed = parse_address(far)
        found = [
            (prefix.prefixlen, name)
            for name, some in named.items()
            for prefix in some
            if parsed and parsed.version == prefix.version and parsed in prefix
        ]
        if plain.of(far) in ("loopback", "unknown") or not found:
            assert built.of(far) == plain.of(far), format_address(far)
        else:
            longest = max(found)[0]
            assert built.of(far) in [name for length, name in found if length == longest]


@given(st.lists(st.ip_addresses(), min_size=1, max_size=8))
def test_sql_finds_the_same_class(addresses: list[ipaddress.IPv4Address]) -> None:
    found, home = known(NAMED, CONNECTED[1:2]), ipaddress.ip_network("198.51.100.0/24")
    fars = [packed(str(a)) for a in [*addresses, home[7], "*", "10.8.7.200"]]
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for homes in (None, {"w": [home]}):
            found.settle(homes)
            sql = found.sql("address", lambda far: f"x'{far.hex()}'", lambda id_: f"'{id_}' = host")
            for id_ in ("w", "d"):
                places = [
                    connection.execute(f"SELECT {sql} FROM (SELECT ? AS address, ? AS host)", row)
                    for row in ((far, id_) for far in fars)
                ]
                names = [found.names[place] for (place,) in map(sqlite3.Cursor.fetchone, places)]
                assert names == [found.of(far, Host(id_, id_) if homes else None) for far in fars]


def test_each_host_of_many_has_its_own_prefixes() -> None:
    found, web, db = known({}, CONNECTED), Host("web", "w"), Host("db", "d")
    far = packed("198.51.100.7")
    found.settle({"w": [ipaddress.ip_network("198.51.100.0/24")], "d": CONNECTED[1:2]})
    assert (found.of(far, web), found.of(far, db)) == ("lan", "internet")
    assert found.of(packed("203.0.113.9"), db) == "internet", "this host's own are not theirs"
    assert found.differ
    found.settle(None)
    assert found.of(packed("203.0.113.9"), db) == "lan"
    assert not found.differ


def test_prefix_of_a_host_counts_between_names_that_end_where_it_does() -> None:
    found, web = known({"a": ["203.0.113.0/26"], "b": ["203.0.113.128/25"]}), Host("web", "w")
    found.settle({"w": [ipaddress.ip_network("203.0.113.64/26")]})
    assert found.of(packed("203.0.113.70"), web) == "lan"
    assert found.differ


@pytest.mark.parametrize(
    ("table", "words"),
    [
        *(({name: ["10.0.0.0/8"]}, "reserved") for name in RESERVED),
        ({"Office": []}, "lower-case letters"),
        ({"x" * 33: []}, "lower-case letters"),
        ({"\x1b[2J": []}, "lower-case letters"),
        ({"office": ["10.8.0.0/33"]}, "invalid network '10.8.0.0/33'; expected one such as"),
        ({"office": ["fe80::1%eth0"]}, "invalid network"),
        ({"office": [""]}, "invalid network"),
        ({"office": ["127.1.0.0/16"]}, "is loopback"),
        ({"office": ["::1"]}, "is loopback"),
        ({"a": ["10.0.0.0/8"], "b": ["10.0.0.1/8"]}, "b: 10.0.0.0/8 already is a"),
        ({"a": [f"10.0.{n >> 8}.{n & 255}" for n in range(501)]}, "500 or fewer"),
    ],
)
def test_invalid_names_and_networks_are_one_line(table: dict[str, list[str]], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        parse_named(table)
    assert str(caught.value).isprintable()
