"""Names in DNS answers, TLS hellos and HTTP requests, and nothing but names in anything else."""

import contextlib
import socket
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bwtop.names import wire
from bwtop.names.wire import DnsAnswer, MoreNeededError
from tests.names.messages import (
    AAAA,
    CNAME,
    A,
    answer,
    calls,
    client_hello,
    dns_name,
    padded,
    parts,
    record,
)

ASKED = b"\xc0\x0c"
V4, V6 = bytes([192, 0, 2, 1]), socket.inet_pton(socket.AF_INET6, "2001:db8::1")

HELLO = client_hello("www.example.org")
REQUEST = b"GET /a?b HTTP/1.1\r\nUser-Agent: x\r\nhOsT:  Www.Example.org:8080 \r\nA: b\r\n\r\n"
CHAIN = answer(
    "www.example.org",
    record(ASKED, CNAME, dns_name("edge.example.net"), ttl=60),
    record(dns_name("edge.example.net"), A, V4, ttl=30),
    record(dns_name("edge.example.net"), A, V4[:3] + b"\x02", ttl=90),
    record(dns_name("other.example.net"), A, V4[:3] + b"\x03", ttl=1),
)

ANSWERS: dict[str, tuple[bytes, DnsAnswer | None]] = {
    "one": (answer("a.example", record(ASKED, A, V4)), DnsAnswer("a.example", (V4,), 300)),
    "v6": (
        answer("A.Example", record(ASKED, AAAA, V6), kind=AAAA),
        DnsAnswer("a.example", (V6,), 300),
    ),
    "a chain keeps the question's name": (
        CHAIN,
        DnsAnswer("www.example.org", (V4, V4[:3] + b"\x02"), 30),
    ),
    "a chain to nowhere": (answer("a.example", record(ASKED, CNAME, ASKED)), None),
    "another's address": (answer("a.example", record(dns_name("b.example"), A, V4)), None),
    "no addresses": (answer("a.example"), None),
    "a question": (answer("a.example", record(ASKED, A, V4), flags=0x0100), None),
    "an error": (answer("a.example", record(ASKED, A, V4), flags=0x8183), None),
    "an address of the wrong size": (answer("a.example", record(ASKED, A, V6)), None),
    "a huge TTL": (
        answer("a.example", record(ASKED, A, V4, ttl=0x7FFFFFFF)),
        DnsAnswer("a.example", (V4,), 7 * 86400),
    ),
    "a negative TTL": (
        answer("a.example", record(ASKED, A, V4, ttl=0xFFFFFFFF)),
        DnsAnswer("a.example", (V4,), 0),
    ),
    "the root": (answer("", record(ASKED, A, V4)), None),
    "no host name": (answer("a\x1b[31m.example", record(ASKED, A, V4)), None),
    "a pointer to itself": (
        answer("a.example", record(b"\xc0\x1b", A, V4)),
        None,
    ),
    "a pointer forward": (answer("a.example", record(b"\xc0\xff", A, V4)), None),
    "an alias that points to itself": (
        answer("a.example", record(ASKED, CNAME, b"\xc0\x2b"), record(b"\0", A, V4)),
        None,
    ),
}


@pytest.mark.parametrize(("message", "expected"), ANSWERS.values(), ids=list(ANSWERS))
def test_answers(message: bytes, expected: DnsAnswer | None) -> None:
    assert wire.dns_answer(message) == expected


@pytest.mark.parametrize("message", [CHAIN, ANSWERS["v6"][0]])
def test_answer_cut_at_every_byte(message: bytes) -> None:
    whole = wire.dns_answer(message)
    assert whole
    for length in range(len(message)):
        found = wire.dns_answer(message[:length])
        assert found is None or found.name == whole.name
        assert set(found.addresses if found else ()) <= set(whole.addresses)


def test_compression_loops_end() -> None:
    """Each label of 63 bytes before a chain of pointers, each to the one before."""
    message = bytearray(answer("a.example", record(ASKED, A, V4)))
    message += b"\x01x\xc0\x0c" + b"".join(
        (0xC000 | (len(message) + 2 * n)).to_bytes(2) for n in range(5000)
    )
    message[6:8] = (300).to_bytes(2)
    assert wire.dns_answer(bytes(message)) == DnsAnswer("a.example", (V4,), 300)


def pointers(first: int, number: int) -> bytes:
    """Return pointers from there on, each to the one before; the first to the question."""
    return ASKED + b"".join((0xC000 | first + 2 * n).to_bytes(2) for n in range(number - 1))


LONG = ".".join("x" * 127)
AT = len(answer("a.example")) + len(record(b"\0", A, b""))

COSTLY = {
    "labels": answer(LONG, *[record(ASKED, CNAME, ASKED)] * 150),
    "tails of a name": answer(
        LONG, *(record((0xC00C + 2 * n).to_bytes(2), A, V4) for n in range(126))
    ),
    "pointers": answer(
        "a.example",
        record(b"\0", 99, pointers(AT, 600)),
        *[record((0xC000 | AT + 2 * 599).to_bytes(2), A, V4)] * 70,
    ),
    "pointers in aliases": answer(
        "a.example",
        record(b"\0", 99, b"\xc0\xff" + pointers(AT, 600)[2:]),
        *[record(ASKED, CNAME, (0xC000 | AT + 2 * 599).to_bytes(2))] * 70,
    ),
    "records": answer("a.example", *[record(b"\0", A, b"")] * 230),
}


@pytest.mark.parametrize("message", COSTLY.values(), ids=list(COSTLY))
def test_each_byte_of_an_answer_is_read_once(message: bytes) -> None:
    """Hundreds of records may point to one name of many labels or pointers: a message of 2,560 bytes took 8 ms."""
    assert len(message) < 2560
    assert calls(lambda: wire.dns_answer(message)) < 4 * len(message)


def test_many_pointers_lead_to_a_name() -> None:
    assert wire.dns_answer(COSTLY["pointers"]) == DnsAnswer("a.example", (V4,), 300)


def test_messages_of_a_stream() -> None:
    one, two = CHAIN, ANSWERS["one"][0]
    framed = b"".join(len(m).to_bytes(2) + m for m in (one, two))
    assert [*wire.dns_stream(framed)] == [one, two]
    assert [*wire.dns_stream(one)] == [one], "its length was read before it"
    assert [*wire.dns_stream(framed[:-1])] == [one]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Www.Example.ORG.", "www.example.org"),
        ("localhost", "localhost"),
        ("_dmarc.a-b.c1", "_dmarc.a-b.c1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        *((text, None) for text in ("", ".", "a..b", "-a.b", "a b", "a/b", "a\n", "192.0.2.1")),
        *((text, None) for text in ("::1", "1.2.0x7f", "a." * 127 + "a", "a" * 64, "é.example")),
    ],
)
def test_host_names(text: str, name: str | None) -> None:
    assert wire.host_name(text) == name


@pytest.mark.parametrize("hello", [HELLO, padded(HELLO, 1600)], ids=["plain", "post-quantum"])
def test_server_name_of_a_hello_in_parts(hello: bytes) -> None:
    name_ends = hello.index(b"www.example.org") + len(b"www.example.org")
    assert len(hello) > 1900 or hello is HELLO
    for length in range(len(hello) + 1):
        if length < name_ends:
            with pytest.raises(MoreNeededError):
                wire.tls_server_name(hello[:length])
        else:
            assert wire.tls_server_name(hello[:length]) == "www.example.org"


def test_server_name_of_a_hello_in_several_records() -> None:
    content = HELLO[5:]
    stream = b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts(content, [1, 60, 200])
    )
    assert wire.tls_server_name(stream) == "www.example.org"


def test_hello_without_a_name() -> None:
    assert wire.tls_server_name(client_hello(None)) is None
    assert wire.tls_server_name(b"\x17\x03\x03\0\x05hello") is None
    assert wire.tls_server_name(b"\x16\x03\x01\0\x04\x02\0\0\0") is None
    assert wire.tls_server_name(HELLO.replace(b"www.example.org", b"www\x1b[31m.x.org")) is None


def hello_of(extensions: bytes) -> bytes:
    """Return a hello with these extensions alone."""
    body = (
        b"\3\3" + bytes(32 + 1) + b"\0\2\x13\1" + b"\1\0" + len(extensions).to_bytes(2) + extensions
    )
    return b"\1" + len(body).to_bytes(3) + body


SERVER_NAME = b"\0\0\0\x0e\0\x0c\0\0\x09a.example"


@pytest.mark.parametrize(("number", "name"), [(40, "a.example"), (4000, None)])
def test_a_hello_has_a_name_among_its_first_extensions(number: int, name: str | None) -> None:
    hello = hello_of(b"\0\x15\0\0" * number + SERVER_NAME)
    assert wire.hello_server_name(hello) == name
    assert calls(lambda: wire.hello_server_name(hello)) < 2000


@pytest.mark.parametrize("record_", [b"\x16\3\1\0\0", b"\x16\3\1\0\1\1"])
def test_work_for_the_records_of_a_hello_is_limited(record_: bytes) -> None:
    def read() -> None:
        with pytest.raises(MoreNeededError):
            wire.tls_server_name(record_ * 3000)

    assert calls(read) < 2000


REQUESTS = {
    REQUEST: "www.example.org",
    b"POST / HTTP/1.0\r\nHost: a.example\r\n": "a.example",
    b"OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n": "a.example",
    b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n": None,
    b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n": None,
    b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n": None,
    b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n": None,
    b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n": None,
    b"GET / HTTP/1.1\r\nA: b\r\n\r\nHost: a.example\r\n": None,
    b"GET / HTTP/1.1\r\nHost: a\x1b.example\r\n\r\n": None,
    b"GET / HTTP/1.1\r\nHost: \xc3\xa9.example\r\n\r\n": None,
    b"GET / HTTP/1.1\r\nHost: a.exam": None,
    b"EHLO a.example\r\nHost: a.example\r\n": None,
    b"": None,
}


@pytest.mark.parametrize(("request_", "name"), REQUESTS.items())
def test_host_of_a_request(request_: bytes, name: str | None) -> None:
    assert wire.http_host(request_) == name


def test_blanks_in_a_request_are_read_once() -> None:
    """Half a line of 500 blanks took 20 ms; the time grew with the third power of their number."""
    assert wire.http_host(b"GET / HTTP/1.1\r\nHost:" + b" " * 100_000) is None
    assert wire.http_host(b"GET / HTTP/1.1\r\nHost:\t a.example \t\r\n") == "a.example"


GOOD = st.sampled_from([HELLO, padded(HELLO, 1600), REQUEST, *(m for m, _ in ANSWERS.values())])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Draw a message with some bytes changed, cut out or put in."""
    data = bytearray(draw(GOOD))
    for _ in range(draw(st.integers(1, 6))):
        at, end = draw(st.integers(0, len(data))), draw(st.integers(0, 8))
        data[at : at + end] = draw(st.binary(max_size=8))
    return bytes(data)


@given(st.binary(max_size=600) | damaged())
@example(b"\x16\x03\x01" + bytes(600))
@example(bytes([0, 0, 0x80, 0, 0, 1, 0xFF, 0xFF, 0, 0, 0, 0]) + b"\xc0\x0c" * 300)
def test_garbage_gives_host_names_or_nothing(data: bytes) -> None:
    answer = wire.dns_answer(data)
    names = [wire.http_host(data), answer and answer.name]
    with contextlib.suppress(MoreNeededError):
        names.append(wire.tls_server_name(data))
    for name in filter(None, names):
        assert set(name) <= set(string.ascii_lowercase + string.digits + "-_.")
    assert all(map(bool, wire.dns_stream(data or b"x")))
    assert all(len(address) in (4, 16) for address in (answer.addresses if answer else ()))
