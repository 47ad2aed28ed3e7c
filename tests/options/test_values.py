"""Values of flags, and their one-line errors."""

import ipaddress
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bwtop.options import values
from tests.build import CONTROLS, HOSTILE
from tests.text.test_escape import anything

PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "seconds": values.seconds,
    "whole": values.whole(999_999),
    "large": values.whole(10**12),
    "pid": values.pid,
    "uid": values.uid,
    "name": values.name,
    "network": values.network,
    "file": values.file,
    "endpoint": values.endpoint(8064),
    "host": values.host,
    "size": values.size,
    "pids": values.listed(values.pid),
}

ROOT: Final = pwd.getpwuid(0).pw_name


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("seconds", "0.1", 0.1),
        ("seconds", ".5", 0.5),
        ("seconds", "3600", 3600.0),
        ("whole", "1", 1),
        ("whole", "999999", 999_999),
        ("whole", "0007", 7),
        ("large", "1000000000000", 10**12),
        ("pid", "0", 0),
        ("pid", "4194304", 4194304),
        ("uid", "0", 0),
        ("uid", "4294967295", (1 << 32) - 1),
        ("uid", ROOT, 0),
        ("name", "nginx*", "nginx*"),
        ("network", "192.0.2.1", ipaddress.ip_network("192.0.2.1/32")),
        ("network", "192.0.2.7/24", ipaddress.ip_network("192.0.2.0/24")),
        ("network", "::ffff:10.0.0.0/104", ipaddress.ip_network("10.0.0.0/8")),
        ("network", "2001:DB8::/32", ipaddress.ip_network("2001:db8::/32")),
        ("file", "a/b.db", Path("a/b.db")),
        ("host", "web-1.example.org", "web-1.example.org"),
        ("host", "a_b", "a_b"),
        ("size", "1M", 1 << 20),
        ("size", "1024k", 1 << 20),
        ("size", "2GiB", 2 << 30),
        ("size", "200MB", 200 << 20),
        ("pids", "1,22,1", [1, 22, 1]),
    ],
)
def test_value_is_parsed(name: str, text: str, expected: Any) -> None:
    assert PARSERS[name](text) == expected


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("seconds", "0.09", "expected 0.1 to 3600"),
        ("seconds", "3600.1", "expected 0.1 to 3600"),
        ("seconds", "1e2", "'1e2'"),
        ("seconds", "inf", "'inf'"),
        ("seconds", "-1", "'-1'"),
        ("seconds", "1.", "'1.'"),
        ("seconds", "\u0661", "number of seconds"),
        ("whole", "0", "from 1 to 999999"),
        ("whole", "1000000", "from 1 to 999999"),
        ("whole", "+1", "'+1'"),
        ("whole", " 1", "' 1'"),
        ("whole", "1\n", r"'1\n'"),
        ("whole", "9" * 5000, f"invalid number '{'9' * 60}…'; expected"),
        ("pid", "-1", "invalid process id '-1'; expected"),
        ("pid", "4294967296", "invalid process id '4294967296'"),
        ("pid", "1_0", "invalid process id '1_0'; "),
        ("pid", "\u0663", "invalid process id"),
        ("uid", "4294967296", "invalid user '4294967296'; expected"),
        ("uid", "no-such-user", "invalid user 'no-such-user'"),
        ("uid", "a\x00b", r"invalid user 'a\x00b'"),
        ("uid", "\udcff", "invalid user"),
        ("name", "", "invalid process name"),
        (
            "network",
            "example.org",
            "invalid address 'example.org'; expected an address or a network",
        ),
        ("network", "10.0.0.0/33", "invalid address '10.0.0.0/33'"),
        ("network", "fe80::1%eth0", "flows have no scope"),
        ("network", "", "invalid address ''"),
        ("file", "", "expected the path of a file"),
        ("file", "/tmp/", "expected the path of a file"),
        ("host", "a..b", "invalid host name 'a..b'; expected"),
        ("host", ".a", "'.a'; expected"),
        ("host", "a:80", "'a:80'; expected"),
        ("host", "a\n", r"'a\n'; expected"),
        ("host", "é", "'é'; expected"),
        ("host", "a" * 256, "invalid host name"),
        ("size", "200", "such as 200M"),
        ("size", "1023K", "1M or more"),
        ("size", "0G", "1M or more"),
        ("size", "1.5G", "such as 200M"),
        ("pids", "1,", "invalid process id ''"),
        ("pids", "1,,2", "invalid process id ''"),
        ("pids", "1 ,2", "invalid process id '1 '"),
    ],
)
def test_invalid_value_is_reported_in_one_line(name: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        PARSERS[name](text)
    said = str(error.value)
    assert words in said
    assert not CONTROLS.search(said)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", ("127.0.0.1", 8064)),
        ("0.0.0.0", ("0.0.0.0", 8064)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("127.0.0.1:65535", ("127.0.0.1", 65535)),
        ("127.0.0.1:00080", ("127.0.0.1", 80)),
        ("[::1]", ("::1", 8064)),
        ("[::1]:9000", ("::1", 9000)),
        ("[::]:0", ("::", 0)),
        ("[2001:DB8:0::1]", ("2001:db8::1", 8064)),
        ("localhost", ("127.0.0.1", 8064)),
        ("LocalHost:81", ("127.0.0.1", 81)),
    ],
)
def test_endpoint_has_an_optional_port(text: str, expected: tuple[str, int]) -> None:
    assert values.endpoint(8064)(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "such as 127.0.0.1:8064 or [::1]:8064"),
        (":", "such as 127.0.0.1:8064"),
        ("::1", "such as 127.0.0.1:8064 or [::1]:8064"),
        ("[]:80", "expected an IP address and a port"),
        ("127.0.0.1:", "such as"),
        ("127.0.0.1:65536", "such as"),
        ("127.0.0.1:-1", "such as"),
        ("127.0.0.1:\u0661", "such as"),
        ("127.0.0.1:80\n", "such as"),
        ("80", "names are not looked up"),
        ("example.org", "names are not looked up"),
        ("127.1", "names are not looked up"),
        ("127.0.0.01", "names are not looked up"),
        ("\u0661.0.0.1", "names are not looked up"),
        ("[localhost.]", "expected an IP address and a port"),
        ("\x1b[2J", "invalid address '\\x1b[2J'"),
        ("[::1%\x1b[2J]:80", "invalid address"),
        ("[fe80::1%a\nb]", "invalid address"),
        ("a" * 5000, "names are not looked up"),
    ],
)
def test_invalid_endpoint_is_rejected(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        values.endpoint(8064)(text)
    assert words in str(error.value)
    assert not CONTROLS.search(str(error.value))


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_and_port_is_an_endpoint(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int
) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    assert values.endpoint(8064)(host) == (str(address), 8064)
    assert values.endpoint(8064)(f"{host}:{port}") == (str(address), port)


PIECES: Final = (
    *"0123456789.:/[]%-_,*ekMG \n\x00\x1b\udcff\u0661",
    "127.0.0.1",
    "::1",
    "[::1]",
    "root",
)


@pytest.mark.parametrize("name", PARSERS)
@given(text=anything | st.lists(st.sampled_from(PIECES + HOSTILE)).map("".join))
@example("1" * 5000)
@example("0." + "0" * 5000 + "1")
@example("localhost")
def test_any_text_is_a_value_or_a_one_line_error(name: str, text: str) -> None:
    said = complaint(name, text)
    assert said is None or said.strip()
    assert not CONTROLS.search(said or "")


def complaint(name: str, text: str) -> str | None:
    """Return the error of a value; None: it is valid."""
    try:
        PARSERS[name](text)
    except ValueError as error:
        return str(error)
    return None
