"""A name server with faults, on 127.0.0.1: `resolver.py never|late|garbage|lame|good`."""

import socket
import struct
import sys
import threading
import time

LATE = 1.5
"""Seconds until an answer of a late server."""

NAMED = b"8"
"""The first digit of the last octet that a lame server has a name for."""

LIFE = 120.0
"""Seconds after which the server ends in any case."""


def answer(query: bytes) -> bytes:
    """Return an answer to a PTR query (RFC 1035, 4.1): the first label of the question before `.name.example`."""
    end = query.index(b"\0", 12) + 5
    question = query[12:end]
    name = question[: question[0] + 1] + b"\x04name\x07example\0"
    header = query[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0)
    return header + question + b"\xc0\x0c" + struct.pack("!HHIH", 12, 1, 60, len(name)) + name


def refuse(query: bytes) -> bytes:
    """Return SERVFAIL, as for a zone whose own servers are away."""
    return (
        query[:2] + struct.pack("!5H", 0x8182, 1, 0, 0, 0) + query[12 : query.index(b"\0", 12) + 5]
    )


def serve(mode: str) -> None:
    """Answer as the mode says, for at most LIFE seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        threading.Timer(LIFE, lambda: server.shutdown(socket.SHUT_RDWR)).start()
        while True:
            query, client = server.recvfrom(512)
            if mode == "garbage":
                server.sendto(query[:2] + bytes(range(60, 160)), client)
            elif mode == "lame" and query[13:14] != NAMED:
                server.sendto(refuse(query), client)
            elif mode != "never":
                delay = LATE if mode == "late" else 0.0
                threading.Timer(delay, server.sendto, (answer(query), client)).start()


if __name__ == "__main__":
    begun = time.monotonic()
    try:
        serve(sys.argv[1])
    except OSError:
        assert time.monotonic() - begun >= LIFE
