"""A proxy between client and server that cuts connections where a test wants."""

import contextlib
import selectors
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of socket(7): what is closed then is reset."""


@dataclass(frozen=True)
class Cut:
    """The position at which a connection is cut."""

    kind: str = ""
    """After so many bytes "up" to the server or "down" from it; or before the "answer" of that number."""
    after: int = 0
    reset: bool = False


@dataclass
class Proxy:
    """A proxy on a port of its own."""

    server: int
    plan: Callable[[], Cut]
    """Asked for each connection."""
    port: int = 0
    cuts: Counter[str] = field(default_factory=Counter)
    """The number of cuts of each kind."""

    def carry(self, client: socket.socket) -> None:
        """Copy one connection until it ends or is cut."""
        cut = self.plan()
        server = socket.socket()
        with client, server, contextlib.suppress(OSError):
            server.connect(("127.0.0.1", self.server))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if _carry(client, server, cut):
                self.cuts[cut.kind] += 1
            if cut.reset:
                for end in (client, server):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _carry(client: socket.socket, server: socket.socket, cut: Cut) -> bool:
    """Copy until a side closes; return whether it was cut."""
    moved = Counter[str]()
    was_up = False
    with selectors.DefaultSelector() as both:
        both.register(client, selectors.EVENT_READ, ("up", server))
        both.register(server, selectors.EVENT_READ, ("down", client))
        while True:
            for found, _ in both.select():
                way, other = found.data
                assert isinstance(found.fileobj, socket.socket)
                data = found.fileobj.recv(1 << 16)
                if not data:
                    return False
                moved["answer"] += was_up and way == "down"
                was_up = way == "up"
                left = cut.after - moved[way]
                if cut.kind == way and len(data) > left:
                    other.sendall(data[:left])
                    return True
                if (cut.kind, moved["answer"]) == ("answer", cut.after):
                    return True
                other.sendall(data)
                moved[way] += len(data)


@contextmanager
def proxy(server: int, plan: Callable[[], Cut]) -> Iterator[Proxy]:
    made = Proxy(server, plan)
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made.port = listening.getsockname()[1]

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    threads.append(threading.Thread(target=made.carry, args=(client,)))
                    threads[-1].start()

        taking = threading.Thread(target=take)
        taking.start()
        try:
            yield made
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            taking.join()
    for thread in threads:
        thread.join(10)
