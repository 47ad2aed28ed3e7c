"""Test waiting connections: silent, slow and excess ones do not delay a well-behaved client."""

import os
import resource
import signal
import socket
import time
import weakref
from collections.abc import Hashable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from bwtop.web import acceptor, server
from bwtop.web.acceptor import is_whole
from bwtop.web.room import Connection, Room, client_of
from tests.history.others import needs_root
from tests.kernel.running import HANG
from tests.processes import until
from tests.web.serving import HTML, Web, connect, read_all, reply, request

PATIENCE: Final = 30.0
"""Time limit in seconds; without an attack it takes milliseconds."""


@contextmanager
def silence(web: Web, count: int, uid: int | None) -> Iterator[None]:
    """Hold connections that say nothing, in a process, by default of this user."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        with suppress(BaseException):
            if uid is not None:
                os.setgroups([])
                os.setresuid(uid, uid, uid)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
            sockets = [connect(web.port) for _ in range(count)]
            os.write(writer, b".")
            signal.pause()
            del sockets
        os._exit(0)
    os.close(writer)
    try:
        assert os.read(reader, 1), "it ended"
        yield
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(reader)


def answers(web: Web) -> None:
    """Check that the server answers repeatedly meanwhile."""
    for _ in range(5):
        began = time.monotonic()
        assert web.ask("/").body == HTML
        assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("uid", [None, pytest.param(12345, marks=needs_root)])
def test_silent_connections_hold_up_no_client(web: Web, uid: int | None) -> None:
    with silence(web, 500, uid):
        answers(web)
        until(lambda: len(web.threads()) == 2, "threads are theirs")


def test_client_with_the_most_connections_loses_its_oldest(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "MAX_WAITING", 6)
    monkeypatch.setattr(acceptor, "SCARCE_SECONDS", HANG)
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(web.port)) for _ in range(7)]
        assert waiting[0].recv(1) == b""
        for sock in waiting[1:]:
            sock.sendall(request(web.port, "/"))
            assert reply(read_all(sock)).body == HTML


def test_time_for_a_request_is_short_where_many_wait(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "MAX_WAITING", 6)
    monkeypatch.setattr(acceptor, "SCARCE_SECONDS", 0.2)
    monkeypatch.setattr(acceptor, "HEAD_SECONDS", 3600.0)
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(web.port)) for _ in range(4)]
        assert waiting[0].recv(1) == b""


@needs_root
def test_one_client_cannot_take_all_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user is answered while further requests of the first one wait."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)
    monkeypatch.setattr(server, "CLIENT_CONNECTIONS", 3)
    monkeypatch.setattr(acceptor, "WAIT_SECONDS", HANG)
    with Web(tmp_path / "none.db") as web, ExitStack() as stack:
        streams = [stack.enter_context(connect(web.port)) for _ in range(5)]
        for stream in streams:
            stream.sendall(request(web.port, "/api/v1/stream"))
        until(lambda: len(web.threads()) == 2 + 3)
        assert web.ask(uid=12345).status == 200
        until(lambda: len(web.threads()) == 2 + 3)
        for stream in streams[3:]:
            stream.setblocking(False)
            with pytest.raises(BlockingIOError):
                stream.recv(1)


@contextmanager
def no_descriptor_free(but: int = 0) -> Iterator[None]:
    """Take all free descriptors of this process, but for some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)  # the lowest, and so the limit
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + but, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_the_server_waits_and_recovers(
    web: Web, capsys: pytest.CaptureFixture[str]
) -> None:
    """It neither ends nor spins."""
    with socket.socket() as sock:
        sock.settimeout(HANG)
        with no_descriptor_free():
            sock.connect(("127.0.0.1", web.port))
            sock.sendall(request(web.port, "/"))
            until(lambda: "cannot accept" in capsys.readouterr().err)
            before = time.process_time()
            time.sleep(0.5)
            assert time.process_time() - before < 0.25
        assert reply(read_all(sock)).body == HTML
    assert capsys.readouterr().err == "", "it says so once"


def test_oldest_silent_connection_is_dropped_for_a_descriptor(web: Web) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(web.port)) for _ in range(3)]
        assert web.ask("/").body == HTML, "all before are accepted"
        until(lambda: len(web.threads()) == 2, "the last one's descriptor is free")
        late = stack.enter_context(socket.socket())
        late.settimeout(HANG)
        with no_descriptor_free():
            late.connect(("127.0.0.1", web.port))
            assert silent[0].recv(1) == b""
        late.sendall(request(web.port, "/"))
        assert reply(read_all(late)).body == HTML


def test_last_descriptor_is_enough_for_a_connection(web: Web) -> None:
    """After it accept() fails also where nobody waits, and that took the new connection's place."""
    with socket.socket() as sock:
        sock.settimeout(HANG)
        with no_descriptor_free(but=1):
            sock.connect(("127.0.0.1", web.port))
            sock.sendall(request(web.port, "/"))
            assert reply(read_all(sock)).body == HTML


def test_server_stops_with_waiting_connections(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with Web(tmp_path / "none.db") as web:
            waiting = [stack.enter_context(connect(web.port)) for _ in range(5)]
            waiting[0].sendall(b"GET /")
        assert [read_all(sock) for sock in waiting] == [b""] * 5


# What is a client, and whose turn it is.


def test_client_is_a_user_or_an_address() -> None:
    assert client_of("127.0.0.1", 7, is_local=True) == client_of("::1", 7, is_local=True)
    assert client_of("127.0.0.1", 7, is_local=True) != client_of("127.0.0.1", 8, is_local=True)
    unknown = [client_of(f"127.0.0.{last}", None, is_local=True) for last in range(1, 9)]
    assert len(set(unknown)) == 1, "a process may take any of these addresses"
    far = [client_of(address, None, is_local=False) for address in ("192.0.2.1", "192.0.2.2")]
    assert len(set(far)) == 2
    assert client_of("::ffff:192.0.2.1", None, is_local=False) == far[0]
    six = [client_of(f"2001:db8::{last}%eth0", None, is_local=False) for last in "1f"]
    assert len(set(six)) == 1
    assert client_of("2001:db8:0:1::1", None, is_local=False) != six[0]


def waiting(room: Room, client: Hashable, since: float, *, ready: bool = False) -> Connection:
    made = Connection(socket.socket(), client, since)
    made.close()
    room.add(made)
    if ready:
        room.set_ready(made, since)
    return made


def test_client_with_the_fewest_threads_comes_first() -> None:
    room = Room()
    greedy = [waiting(room, "greedy", n, ready=True) for n in range(4)]
    modest = waiting(room, "modest", 9, ready=True)
    silent = waiting(room, "silent", 0)
    assert [room.take(3) for _ in range(5)] == [greedy[0], modest, greedy[1], greedy[2], None]
    room.release("greedy")
    assert room.take(3) is greedy[3]
    assert list(room) == [silent]


def test_nothing_is_kept_of_a_client_that_is_gone() -> None:
    class Client:
        """A client; a string could not be weakly referred to."""

    room = Room()
    client, other = Client(), Client()
    is_kept, is_other_kept = weakref.ref(client), weakref.ref(other)
    waiting(room, client, 0, ready=True)
    room.remove(waiting(room, other, 0))
    del other
    assert room.take(1)
    room.release(client)
    del client
    assert is_kept() is is_other_kept() is None


def test_silent_connections_go_before_requests() -> None:
    room = Room()
    assert room.oldest_of_the_most() is None
    ready = waiting(room, "many", 0, ready=True)
    silent = waiting(room, "many", 1)
    waiting(room, "few", 0)
    assert room.oldest_of_the_most() is silent
    assert room.overdue(0.5, 0.5)[0] is ready
    room.remove(silent)
    assert len(room) == 2


@pytest.mark.parametrize(
    ("head", "whole"),
    [
        *((b"GET / HTTP/1.1\r\n\r\n", True), (b"GET / HTTP/1.1\n\n", True), (b"\r\n", True)),
        *((b"\n", True), (b"GET / HTTP/1.1\n\r\n", True), (b"GET / HTTP/1.1\r\n", False)),
        *((b"", False), (b"\r", False), (b"GET /\r\n\r", False), (b"x" * 9000, False)),
    ],
)
def test_request_is_whole_with_its_empty_line(head: bytes, whole: bool) -> None:
    assert is_whole(head) is whole
