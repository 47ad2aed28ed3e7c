"""Messages with names in them, as programs send and get them."""

import contextlib
import itertools
import struct
import sys
from collections.abc import Callable, Iterable
from ssl import MemoryBIO, SSLContext, SSLWantReadError, create_default_context

A, CNAME, AAAA = 1, 5, 28


USUAL = 330
"""Bytes of a hello without a post-quantum key share."""


def dns_name(text: str) -> bytes:
    """Return a name without compression."""
    labels = text.encode().split(b".") if text else []
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record(owner: bytes, kind: int, data: bytes, ttl: int = 300) -> bytes:
    r"""Return a record; owner is encoded, perhaps as a pointer such as b"\xc0\x0c", to the question."""
    return owner + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def answer(name: str, *records: bytes, kind: int = A, flags: int = 0x8180) -> bytes:
    """Return an answer to a question for a name's addresses."""
    head = struct.pack(">HHHHHH", 0x1234, flags, 1, len(records), 0, 0)
    return head + dns_name(name) + struct.pack(">HH", kind, 1) + b"".join(records)


def client_hello(name: str | None, context: SSLContext | None = None) -> bytes:
    """Return what OpenSSL sends first."""
    context = context or create_default_context()
    context.check_hostname = False
    out = MemoryBIO()
    with contextlib.suppress(SSLWantReadError):
        context.wrap_bio(MemoryBIO(), out, server_hostname=name).do_handshake()
    return out.read()


def parts(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Return the data in parts, cut at some places."""
    places = [0, *sorted({min(cut, len(data)) for cut in cuts} - {0, len(data)}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


def padded(hello: bytes, size: int) -> bytes:
    """Return a hello with an extension of that size before all others, as post-quantum key shares have it.

    OpenSSL sends such a share from 3.5 on: then the extension is smaller, and the hello as large.
    """
    size = max(size + USUAL - len(hello), 0)
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2])
    at += 1 + hello[at]
    extension = struct.pack(">HH", 51, size) + bytes(size)
    body = (
        hello[5 + 4 : at]
        + struct.pack(">H", len(hello) - at - 2 + len(extension))
        + extension
        + hello[at + 2 :]
    )
    handshake = b"\x01" + len(body).to_bytes(3) + body
    return b"\x16\x03\x01" + len(handshake).to_bytes(2) + handshake


def calls(work: Callable[[], object]) -> int:
    """Return how many functions a piece of work calls: its cost, on any machine."""
    count = itertools.count()
    before = sys.getprofile()
    sys.setprofile(lambda _frame, event, _: event in ("call", "c_call") and next(count))
    try:
        work()
    finally:
        sys.setprofile(before)
    return next(count)
