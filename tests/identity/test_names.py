"""Names of addresses.  No test here leaves this host."""

import socket
import sys
from pathlib import Path

import pytest

from bwtop.identity import names
from bwtop.identity.lookup import Unanswered
from bwtop.identity.names import DEAD, Names, look_up, time_out
from tests.build import packed
from tests.history.others import needs_root
from tests.processes import ran

REMOTE = packed("192.0.2.1")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Stand for the system's resolver; return what it was asked."""
    addresses: list[bytes] = []

    def answer(address: bytes) -> str:
        addresses.append(address)
        return f"host{address[-1]}.example"

    monkeypatch.setattr(names, "look_up", answer)
    return addresses


def test_name_comes_later(asked: list[bytes]) -> None:
    known = Names()
    known.wait([REMOTE], 30)
    assert known.get(REMOTE) == "host1.example"
    assert asked == [REMOTE]


@pytest.mark.parametrize(
    "address",
    ["*", "127.0.0.1", "::1", "224.0.0.251", "ff02::fb", "169.254.1.1", "fe80::1", "0.0.0.0"],
)
def test_address_that_no_server_names_is_not_asked_for(asked: list[bytes], address: str) -> None:
    known = Names()
    assert known.get(packed(address)) is None
    known.wait([packed(address), REMOTE], 30)
    assert asked == [REMOTE]


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "fd00::1", "2001:db8::1"])
def test_private_addresses_may_have_names(asked: list[bytes], address: str) -> None:
    known = Names()
    known.wait([packed(address)], 30)
    assert known.get(packed(address))


def test_dead_resolver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> str:
        raise Unanswered

    monkeypatch.setattr(names, "look_up", fail)
    known = Names()
    assert known.trouble == ""
    known.wait([packed(f"192.0.2.{host}") for host in range(1, 9)], 30)
    assert known.trouble == DEAD


def test_resolver_knows_this_hosts_own_name() -> None:
    """From /etc/hosts."""
    assert look_up(packed("127.0.0.1")) == socket.getnameinfo(("127.0.0.1", 0), 0)[0]


def test_address_that_cannot_be_looked_up_has_no_name() -> None:
    assert look_up(packed("*")) is None


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ("options timeout:3 attempts:2\n", 3.0),
        ("options edns0 timeout:1\nsearch timeout:9\n", 1.0),
        ("options timeout:2\noptions timeout:7\n", 7.0),
        ("#options timeout:2\n", 5.0),
        ("", 5.0),
    ],
)
def test_time_out_of_the_resolver(tmp_path: Path, options: str, seconds: float) -> None:
    configuration = tmp_path / "resolv.conf"
    configuration.write_text(f"nameserver 192.0.2.53\n{options}")
    assert time_out(configuration) == seconds
    assert time_out(tmp_path / "none") == 5.0


@needs_root
def test_name_of_other_bytes_than_utf8_is_none(tmp_path: Path) -> None:
    """It ended a thread with a traceback, and after four of them no name was found any more."""
    (tmp_path / "hosts").write_bytes(b"203.0.113.77 caf\xe9.example\n203.0.113.78 plain.example\n")
    mount = 'mount --bind "$1" /etc/hosts; exec "$2" -c "$3"'
    script = (
        "from bwtop.identity.names import look_up; from tests.build import packed;"
        "print(*(look_up(packed(f'203.0.113.{host}')) for host in (77, 78)))"
    )
    prefix = ("unshare", "--mount", "sh", "-ec", mount, "sh")
    found = ran([*prefix, tmp_path / "hosts", sys.executable, script], check=True)
    assert found.stdout == "None plain.example\n"
