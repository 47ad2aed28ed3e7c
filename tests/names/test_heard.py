"""Names in parts of messages, as the kernel side has copied them."""

from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.named import Learned, NameSource
from bwtop.names.heard import Heard, HeardKind, NameReader
from tests.build import key, packed
from tests.names.messages import A, answer, client_hello, padded, parts, record

FAR = packed("192.0.2.1")
HELLO = padded(client_hello("www.example.org"), 1600)
SNI = Learned(key(1), FAR, 443, "www.example.org", NameSource.SNI, 3600)


def heard(
    data: bytes, offset: int = 0, kind: HeardKind = HeardKind.FIRST, socket: int = 7
) -> Heard:
    return Heard(key(1), FAR, 443, kind, socket, offset, is_whole=True, data=data)


def sent(pieces: list[bytes], socket: int = 7) -> list[Heard]:
    """Return the parts of what a socket sent first."""
    return [
        heard(piece, sum(map(len, pieces[:number])), socket=socket)
        for number, piece in enumerate(pieces)
    ]


@given(st.lists(st.integers(1, len(HELLO)), max_size=3))
def test_a_hello_in_parts_is_one(cuts: list[int]) -> None:
    assert [*NameReader().read(sent(parts(HELLO, cuts)))] == [SNI]


def test_hellos_of_several_sockets_do_not_mix() -> None:
    pieces, reader = parts(HELLO, [100, 900]), NameReader()
    other = parts(HELLO.replace(b"www.example.org", b"two.example.org"), [100, 900])
    mixed = [part for pair in zip(sent(pieces), sent(other, 8), strict=True) for part in pair]
    assert [one.name for one in reader.read(mixed)] == ["www.example.org", "two.example.org"]


def test_a_hello_with_a_part_missing_has_no_name() -> None:
    first, second, third = sent(parts(HELLO, [100, 900]))
    reader = NameReader()
    assert [*reader.read([second, third, first, third, second])] == []
    assert [*reader.read([first._replace(is_whole=False), second, third])] == []
    assert [*reader.read([first, first, second, third])] == [SNI]


def test_hellos_that_never_end_are_given_up() -> None:
    reader, (first, second) = NameReader(), sent(parts(HELLO, [900]))
    assert [*reader.read(first._replace(socket=socket) for socket in range(1000))] == []
    assert [*reader.read([second._replace(socket=1)])] == []
    assert [*reader.read([second._replace(socket=999)])] == [SNI]


def test_host_and_answers() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
    message = answer("b.example", record(b"\xc0\x0c", A, bytes([192, 0, 2, 9]), ttl=7200))
    framed = len(message).to_bytes(2) + message
    found = NameReader().read(
        [
            heard(request),
            heard(message, kind=HeardKind.DATAGRAM),
            heard(framed, kind=HeardKind.STREAM),
            heard(message[:20], kind=HeardKind.DATAGRAM),
            heard(b"", kind=HeardKind.STREAM),
        ]
    )
    told = Learned(key(1), packed("192.0.2.9"), None, "b.example", NameSource.DNS, 7200)
    assert [*found] == [Learned(key(1), FAR, 443, "a.example", NameSource.HOST, 3600), told, told]
