"""A network namespace with servers for tests: DNS on 127.0.0.53 and 192.0.2.53, a TCP server that answers anything, a silent one for QUIC."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.kernel.running import HANG, start
from tests.names.messages import AAAA, CNAME, A, answer, dns_name, record

RESOLVER, NAME_SERVER = "127.0.0.53", "192.0.2.53"
SHARED: Final = "192.0.2.1"
"""The address of most names."""

MANY: Final = tuple(f"192.0.2.{number}" for number in range(1, 20))

ALIAS, TARGET = "www.alias.test", "edge.cdn.test"

ADDRESSES: Final[dict[str, tuple[str, ...]]] = {
    "one.test": (SHARED,),
    "two.test": (SHARED,),
    "many.test": MANY,
    "six.test": ("2001:db8::1",),
    ALIAS: (SHARED,),
}

RESOLV_CONF: Final = Path("/etc/resolv.conf")

KEPT: Final = 3600
"""Seconds after which the servers end by themselves; usually the tests end them."""

PORTS: Final = (53, 80, 443, 8080)


def answered(query: bytes) -> bytes:
    """Return the answer to a query."""
    labels, position = [], 12
    while query[position]:
        labels.append(query[position + 1 : position + 1 + query[position]].decode())
        position += 1 + query[position]
    (kind,) = struct.unpack_from(">H", query, position + 1)
    name = ".".join(labels)
    owner, records = b"\xc0\x0c", []
    if name.lower() == ALIAS:
        records.append(record(owner, CNAME, dns_name(TARGET)))
        owner = dns_name(TARGET)
    for text in ADDRESSES.get(name.lower(), ()):
        of, family = (AAAA, socket.AF_INET6) if ":" in text else (A, socket.AF_INET)
        if of == kind:
            records.append(record(owner, of, socket.inet_pton(family, text)))
    return query[:2] + answer(name, *records, kind=kind)[2:]


def _serve_datagrams(sock: socket.socket) -> None:
    while True:
        query, peer = sock.recvfrom(2048)
        sock.sendto(answered(query), peer)


def _serve_names(connection: socket.socket) -> None:
    with connection:
        while head := connection.recv(2, socket.MSG_WAITALL):
            query = connection.recv(int.from_bytes(head), socket.MSG_WAITALL)
            found = answered(query)
            connection.sendall(len(found).to_bytes(2) + found)


def _serve_anything(connection: socket.socket) -> None:
    """Answer when nothing more has come for a while, then read on: closed over unread bytes, TCP sends a reset."""
    with connection:
        connection.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            while connection.recv(1 << 16):
                pass
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.settimeout(HANG)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass


def _serve_stream(listener: socket.socket) -> None:
    serve = _serve_names if listener.getsockname()[1] == 53 else _serve_anything
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=[connection], daemon=True).start()


def _serve(ready: int) -> None:
    signal.alarm(KEPT)
    for address in (RESOLVER, NAME_SERVER):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 53))
        threading.Thread(target=_serve_datagrams, args=[sock], daemon=True).start()
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind(("", 443))
    for port in PORTS:
        listener = socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64
        )
        threading.Thread(target=_serve_stream, args=[listener], daemon=True).start()
    os.write(ready, b"x")
    threading.Event().wait(KEPT)
    silent.close()


class Network:
    """A namespace in which commands run."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder

    def command(self, *arguments: str, resolver: str = RESOLVER) -> list[str]:
        """Return the command that runs another in the namespace, with a resolver, in one process."""
        configuration = self._folder / resolver
        configuration.write_text(f"nameserver {resolver}\n")
        mount = f'mount --bind {configuration} {RESOLV_CONF} && exec "$@"'
        return [
            *("ip", "netns", "exec", self._name, "unshare", "--mount", "sh", "-c", mount, "sh"),
            *arguments,
        ]

    def run(self, *arguments: str, resolver: str = RESOLVER, fails: bool = False) -> int:
        """Run a command in the namespace; return its pid."""
        with subprocess.Popen(
            self.command(*arguments, resolver=resolver),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        ) as process:
            try:
                status = process.wait(HANG)
            finally:
                process.kill()
        assert fails or status == 0
        return process.pid


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """Make the namespace and start the servers in it."""
    name = f"bwtop-names-{os.getpid()}"
    is_new = not os.path.lexists(RESOLV_CONF)
    if is_new:
        RESOLV_CONF.touch()  # something to mount upon: a small guest has none
    serving = None
    try:
        _ip("netns", "add", name)
        for command in ("link set lo up", "address add 2001:db8::1/128 dev lo nodad"):
            _ip("-n", name, *command.split())
        for number in (*range(1, 20), 53):
            _ip("-n", name, *f"address add 192.0.2.{number}/32 dev lo".split())
        reading, writing = os.pipe()
        serving = start(_in_namespace(name, lambda: _serve(writing)))
        os.read(reading, 1)
        for descriptor in (reading, writing):
            os.close(descriptor)
        yield Network(name, folder)
    finally:
        if serving:
            os.kill(serving.pid, 9)
            os.waitpid(serving.pid, 0)
        if is_new:
            RESOLV_CONF.unlink()
        _ip("netns", "delete", name)


def _in_namespace(name: str, action: Callable[[], object]) -> Callable[[], None]:
    def act() -> None:
        from tests.kernel.test_other import enter

        enter(name)
        action()

    return act


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=30)
