"""The dimensions to group by."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bwtop.history.calendar import Unit
from bwtop.history.dimensions import (
    DIMENSIONS,
    Dimension,
    Label,
    fields,
    finest,
    labels,
    local_iso,
    parse,
)
from bwtop.model.flows import UDP, Host, Identity, Role
from bwtop.model.named import NameSource, RemoteName
from tests.build import remote
from tests.history.keep import instant, local

NAMES = tuple(d.name for d in DIMENSIONS)
WHO = Identity(
    "curl",
    1000,
    "curl -s",
    "/usr/bin/curl",
    "/a.service",
    unit="a.service",
    host=Host("web1", "4f3e"),
)
ZONE = ZoneInfo("Asia/Kolkata")
WHEN = datetime(2026, 11, 1, 0, 59, 59, tzinfo=ZONE).timestamp()  # October in UTC


@pytest.fixture(autouse=True)
def _zone() -> Iterator[None]:
    with local(ZONE.key):
        yield


@pytest.mark.parametrize("text", ["", "PROCESS", "process ", "week", "minute", "endpoint", "é\n"])
def test_unknown_dimension_lists_the_known_ones(text: str) -> None:
    with pytest.raises(ValueError, match="process, exe, user") as caught:
        parse(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=NAMES)
def test_dimension_has_help_and_fields(dimension: Dimension) -> None:
    assert dimension.help
    assert dimension.fields
    assert all(name.isidentifier() for name in dimension.fields)
    kinds = (dimension.of_flow, dimension.of_name, dimension.unit)
    assert sum(kind is not None for kind in kinds) == 1, "of flows, of names, or of time"


def test_fields_of_one_name_have_one_value() -> None:
    """A process also has program and user: rows may have all three dimensions."""
    found = list(
        zip(fields(DIMENSIONS), labels(DIMENSIONS, WHO, remote(), instant(WHEN)), strict=True)
    )
    assert len(set(found)) == len(dict(found))


EXPECTED: list[tuple[str, dict[str, Label]]] = [
    ("process", {"name": "curl", "exe": "/usr/bin/curl", "uid": 1000, "kernel": False}),
    ("exe", {"exe": "/usr/bin/curl"}),
    ("user", {"uid": 1000}),
    ("process-name", {"name": "curl"}),
    ("unit", {"unit": "a.service", "container": None, "pod": None, "container_name": None}),
    ("container", {"container_name": None, "runtime": None, "container_id": None}),
    ("host", {"hostname": "web1", "host_id": "4f3e"}),
    ("remote", {"addr": "127.0.0.1", "loopback": True}),
    ("net", {"net": "loopback"}),
    ("asn", {"asn": None}),
    ("country", {"country": None}),
    ("name", {"remote_name": "www.example.co.uk"}),
    ("domain", {"domain": "example.co.uk"}),
    ("peer-host", {"peer_hostname": None, "peer_host_id": None}),
    (
        "conversation",
        {
            "client_host": None,
            "client_process": "curl",
            "server_host": "127.0.0.1",
            "server_process": None,
            "port": 53,
            "proto": "udp",
        },
    ),
    ("proto", {"proto": "udp"}),
    ("port", {"port": 53, "role": "server"}),
    ("hour", {"hour": "2026-11-01T00:00:00+05:30"}),
    ("day", {"day": "2026-11-01"}),
    ("month", {"month": "2026-11"}),
]


def test_every_dimension_has_an_example_and_a_name_of_its_own() -> None:
    assert [name for name, _ in EXPECTED] == list(NAMES)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(("name", "expected"), EXPECTED)
def test_labels_are_of_the_program_the_remote_or_the_local_time(
    name: str, expected: dict[str, Label]
) -> None:
    by = [parse(name)]
    far, when = remote("127.0.0.1", 53, UDP, Role.SERVER), instant(WHEN)
    found = labels(by, WHO, far, when, RemoteName("www.example.co.uk", NameSource.SNI))
    assert dict(zip(fields(by), found, strict=True)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("web", ("web", "docker", None)), (None, (None, "docker", "docker:0b190b0d9e42"))],
)
def test_containers_of_one_name_are_one_and_those_without_are_told_apart(
    name: str | None, expected: tuple[Label, ...]
) -> None:
    who = replace(WHO, container="docker:0b190b0d9e42", container_name=name)
    assert labels([parse("container")], who, remote(), None) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", False)),
        ("127.8.9.1", ("127.8.9.1", True)),
        ("::1", ("::1", True)),
        ("2001:db8::1", ("2001:db8::1", False)),
        ("*", ("*", False)),
    ],
)
def test_remotes_are_addresses_without_ports(address: str, expected: tuple[Label, ...]) -> None:
    by = [parse("remote")]
    assert labels(by, WHO, remote(address, 1), None) == expected
    assert labels(by, WHO, remote(address, 2, UDP), None) == expected


def test_labels_are_in_the_requested_order() -> None:
    by = [parse("day"), parse("proto"), parse("exe")]
    assert fields(by) == ["day", "proto", "exe"]
    assert labels(by, WHO, remote(), instant(WHEN)) == ("2026-11-01", "tcp", "/usr/bin/curl")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["process", "port"], None),
        (["hour"], Unit.HOUR),
        (["month", "process", "day"], Unit.DAY),
        (["month", "day", "hour"], Unit.HOUR),
        (["month"], Unit.MONTH),
    ],
)
def test_finest_is_the_shortest_unit(names: list[str], expected: Unit | None) -> None:
    by = [parse(name) for name in names]
    assert finest(by) is finest(by[::-1]) is expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 4_000_000_000))
def test_local_times_have_their_utc_offset(when: int) -> None:
    assert datetime.fromisoformat(local_iso(when)).timestamp() == when
