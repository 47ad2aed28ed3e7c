"""TLS hellos in Initial packets of QUIC."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.named import Learned, NameSource
from bwtop.names import quic
from bwtop.names.heard import Heard, HeardKind, NameReader
from bwtop.names.quic import Keys, Packet
from bwtop.names.wire import hello_server_name
from tests.build import key, packed
from tests.names.initial import VERSION_1, VERSION_2, crypto, initial, seal
from tests.names.messages import calls, client_hello, padded, parts

FAR = packed("192.0.2.1")
HELLO = client_hello("www.example.org")[5:]
LARGE = padded(client_hello("www.example.org"), 1600)[5:]
SNI = Learned(key(1), FAR, 443, "www.example.org", NameSource.SNI, 3600)

RFC_9001 = bytes.fromhex("8394c8f03e515708")
"""The connection id in the examples of RFC 9001 (appendix A) and RFC 9369 (appendix A)."""

KEYS = {
    VERSION_1: (
        "1f369613dd76d5467730efcbe3b1a22d",
        "fa044b2f42a3fd3b46fb255c",
        "9f50449e04a0e810283a1e9933adedd2",
    ),
    VERSION_2: (
        "8b1a0bc121284290a29e0971b5cd045d",
        "91f73e2351d8fa91660e909f",
        "45b95e15235d6f45a6b19cbcb0294ba9",
    ),
}

PAYLOAD = bytes.fromhex(
    "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c000004130113"
    "02010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d00170018001000070005"
    "04616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba753de171fa71f50f1ce1"
    "5d43e994ec74d748002b0003020304000d0010000e0403050306030203080408050806002d00020101001c0002400100"
    "3900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075300901100f088394c8f03e51570806"
    "048000ffff"
).ljust(1162, b"\0")
"""Of the packet in RFC 9001, A.2; of the packet itself that has its beginning and its end."""


def heard(*datagrams: bytes, socket: int = 7) -> list[Heard]:
    return [
        Heard(key(1), FAR, 443, HeardKind.INITIAL, socket, 0, is_whole=True, data=datagram)
        for datagram in datagrams
    ]


def names(*datagrams: bytes) -> list[Learned]:
    return [*NameReader().read(heard(*datagrams))]


@pytest.mark.parametrize(("version", "expected"), KEYS.items())
def test_keys_are_the_standard_s(version: int, expected: tuple[str, ...]) -> None:
    derived = quic.keys_of(Packet(version, RFC_9001, b"", 0))
    assert tuple(part.hex() for part in derived) == expected


def test_the_packet_of_the_standard() -> None:
    keys = Keys(*map(bytes.fromhex, KEYS[VERSION_1]))
    header = bytes.fromhex("c300000001088394c8f03e5157080000449e00000002")
    packet = seal(keys, header, 2, PAYLOAD)
    assert packet.hex().startswith("c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8")
    assert packet.hex().endswith("e221af44860018ab0856972e194cd934")
    assert [one.name for one in names(packet)] == ["example.com"]


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2])
@pytest.mark.parametrize("token", [b"", b"a token"])
def test_a_hello_in_one_packet(version: int, token: bytes) -> None:
    assert names(initial([crypto(0, HELLO)], version=version, token=token)) == [SNI]


@given(st.lists(st.integers(1, len(LARGE)), max_size=6), st.randoms(), st.integers(1, 3))
def test_a_hello_in_frames_in_any_order(cuts: list[int], dice: object, number: int) -> None:
    """As a browser sends it: in several packets, their frames mixed, with pings and padding between, some twice."""
    pieces, place = [], 0
    for part in parts(LARGE, cuts):
        pieces.append(crypto(place, part))
        place += len(part)
    dice.shuffle(pieces)  # type: ignore[attr-defined]
    frames = [frame + b"\1\0\0" for frame in pieces]
    each = -(-len(frames) // number)
    datagrams = [
        initial(frames[n * each : (n + 1) * each], number=n) for n in range(number) if frames
    ]
    assert names(*datagrams, datagrams[0]) == [SNI]
    assert names(b"".join(datagrams)) == [SNI], "segments of one call"


def test_later_packets_have_the_server_s_connection_id_and_the_first_keys() -> None:
    first = initial([crypto(0, LARGE[:900])], destination=RFC_9001)
    keys = quic.keys_of(Packet(VERSION_1, RFC_9001, b"", 0))
    acknowledged = b"\x02\x05\x00\x01\x00\x00\x00" + b"\x03\x05\x00\x00\x00\x01\x02\x03"
    second = initial(
        [acknowledged, crypto(900, LARGE[900:])], destination=b"theirs", keys=keys, number=1
    )
    assert names(first, second) == [SNI]
    assert names(second, first) == []


def test_a_socket_s_next_connection_has_keys_of_its_own() -> None:
    other = client_hello("two.example.org")[5:]
    first = initial([crypto(0, HELLO)])
    second = initial([crypto(0, other)], destination=RFC_9001)
    assert [one.name for one in names(first, second)] == ["www.example.org", "two.example.org"]


def test_a_socket_s_memory_is_used_again() -> None:
    """By another process, whose connection even has the same id."""
    [part] = heard(initial([crypto(0, HELLO)]))
    other = part._replace(process=key(2))
    assert [one.process for one in NameReader().read([part, other])] == [key(1), key(2)]


def test_what_is_cut_or_changed_has_no_name() -> None:
    whole = initial([crypto(0, HELLO)])
    for end in range(0, len(whole), 7):
        assert names(whole[:end]) == []
    for place in range(0, len(whole), 31):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        assert names(bytes(changed)) == [], place


def test_many_sockets_and_many_frames_are_bounded() -> None:
    reader = NameReader()
    datagram, last = initial([crypto(0, LARGE[:900])]), initial([crypto(900, LARGE[900:])])
    for socket in range(300):
        assert [*reader.read(heard(datagram, socket=socket))] == []
    assert [*reader.read(heard(last, socket=299))] == [SNI]
    assert [*reader.read(heard(last, socket=0))] == []
    frames = [crypto(n, b"x") for n in range(1, 300)]
    assert names(initial(frames), initial([crypto(0, HELLO)], number=1)) == []


COSTLY = {
    "too short for keys": b"\xc3\0\0\0\1\0\0\0\0" * 284,
    "keys that do not fit": (b"\xc3\0\0\0\1\0\0\0\x40\x14" + bytes(20)) * 85,
    "connections": b"".join(initial([b"\1"], destination=bytes([n]), least=40) for n in range(30)),
    "padding": initial([bytes(2400)]),
    "pings": initial([b"\1" * 2400]),
    "empty frames": initial([b"\6\0\0" * 800]),
    "acknowledgements": initial([b"\2\0\0\0\0" * 480]),
    "ranges": initial([b"\2\0\0\x48\0" + bytes(2400)]),
    "endless ranges": initial([b"\3\0\0" + b"\xff" * 8 + bytes(2400)]),
}


@pytest.mark.parametrize("datagram", COSTLY.values(), ids=list(COSTLY))
def test_work_for_a_datagram_is_limited(datagram: bytes) -> None:
    """However many packets, connections, frames and ranges one of 2,560 bytes has: a browser's takes 300 calls."""
    assert len(datagram) <= 2560
    assert calls(lambda: names(datagram)) < 4000


def test_a_hello_behind_other_frames() -> None:
    filled = [b"\1\0" * 30, b"\2\0\0\2\0" + bytes(4), crypto(0, HELLO[:9])] * 10
    assert names(initial([*filled, crypto(9, HELLO[9:])])) == [SNI]


@given(st.binary(max_size=600))
def test_garbage_has_no_name(data: bytes) -> None:
    assert names(data, b"\xc3\0\0\0\1" + data, initial([data])) == []


@given(st.binary(max_size=1200))
def test_what_an_attacker_puts_into_a_hello_is_a_host_name_or_nothing(data: bytes) -> None:
    for one in names(initial([crypto(0, b"\1" + data)])):
        assert one.name == hello_server_name(b"\1" + data)
