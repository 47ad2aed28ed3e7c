"""Names of addresses come later, and nobody waits for them.  No test here leaves this host."""

import queue
import socket
import threading
import time
from collections.abc import Callable

import pytest

from bwtop.identity import names
from bwtop.identity.names import Names, look_up
from tests.build import eventually, packed

REMOTE = packed("192.0.2.1")


class Resolver:
    """Answers once it is let go, and remembers what it was asked."""

    def __init__(self, answer: Callable[[bytes], str | None]) -> None:
        self.asked: list[bytes] = []
        self.let_go = threading.Event()
        self._answer = answer

    def __call__(self, address: bytes) -> str | None:
        self.asked.append(address)
        self.let_go.wait(5)
        return self._answer(address)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """Stands for the system's resolver, which might ask a network."""
    stand_in = Resolver(lambda address: f"host{address[-1]}.example")
    monkeypatch.setattr(names, "look_up", stand_in)
    return stand_in


class Later:
    """Stands for the time module, some seconds ahead of it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def monotonic(self) -> float:
        return time.monotonic() + self._seconds


def test_name_is_none_until_the_resolver_has_answered(resolver: Resolver) -> None:
    known = Names()
    assert known.get(REMOTE) is None
    assert eventually(lambda: resolver.asked == [REMOTE])
    assert known.get(REMOTE) is None
    resolver.let_go.set()
    assert eventually(lambda: known.get(REMOTE) == "host1.example")


def test_address_is_asked_for_once(resolver: Resolver) -> None:
    known = Names()
    for _ in range(3):
        known.get(REMOTE)
    resolver.let_go.set()
    assert eventually(lambda: known.get(REMOTE) is not None)
    known.get(REMOTE)
    assert resolver.asked == [REMOTE]


def test_address_without_a_name_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(lambda _: None)
    resolver.let_go.set()
    monkeypatch.setattr(names, "look_up", resolver)
    known = Names()
    known.get(REMOTE)
    assert eventually(lambda: REMOTE in known._known)
    known.get(REMOTE)
    known.get(packed("192.0.2.2"))
    assert eventually(lambda: len(resolver.asked) == 2)
    assert resolver.asked == [REMOTE, packed("192.0.2.2")]


def test_slow_answer_does_not_hold_up_another(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = Resolver(lambda _: "slow.example"), Resolver(lambda _: "fast.example")
    fast.let_go.set()
    monkeypatch.setattr(names, "look_up", lambda a: (slow if a == REMOTE else fast)(a))
    known = Names()
    known.get(REMOTE)
    other = packed("192.0.2.2")
    assert eventually(lambda: known.get(other) == "fast.example")
    assert known.get(REMOTE) is None
    slow.let_go.set()


@pytest.mark.parametrize(
    "address",
    ["*", "127.0.0.1", "::1", "224.0.0.251", "ff02::fb", "169.254.1.1", "fe80::1", "0.0.0.0"],
)
def test_address_that_no_server_names_is_not_asked_for(resolver: Resolver, address: str) -> None:
    resolver.let_go.set()
    known = Names()
    assert known.get(packed(address)) is None
    known.get(REMOTE)
    assert eventually(lambda: known.get(REMOTE) is not None)
    assert resolver.asked == [REMOTE]


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "fd00::1", "2001:db8::1"])
def test_private_addresses_may_have_names(resolver: Resolver, address: str) -> None:
    resolver.let_go.set()
    known = Names()
    assert eventually(lambda: known.get(packed(address)) is not None)


def test_address_that_found_no_room_is_asked_for_again(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "_WAITING", 1)
    known = Names()
    addresses = [packed(f"192.0.2.{host}") for host in range(1, 21)]
    for address in addresses:
        assert known.get(address) is None
    resolver.let_go.set()
    assert eventually(lambda: all(known.get(address) for address in addresses))


def test_known_names_are_bounded(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_KNOWN", 2)
    monkeypatch.setattr(names, "_THREADS", 1)
    resolver.let_go.set()
    known = Names()
    for host in range(1, 6):
        known.get(packed(f"192.0.2.{host}"))
    last = packed("192.0.2.5")
    assert eventually(lambda: last in known._known)
    assert len(known._known) == 2


def test_old_name_is_shown_until_the_new_one_is_known(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver.let_go.set()
    known = Names()
    assert eventually(lambda: known.get(REMOTE) == "host1.example")
    assert eventually(lambda: REMOTE not in known._asked)

    renamed = Resolver(lambda _: "renamed.example")
    monkeypatch.setattr(names, "look_up", renamed)
    monkeypatch.setattr(names, "time", Later(3601))
    assert known.get(REMOTE) == "host1.example"
    renamed.let_go.set()
    assert eventually(lambda: known.get(REMOTE) == "renamed.example")


class LateReturningQueue(queue.Queue[bytes]):
    """Gives the thread that puts no turn until the item has been dealt with."""

    def put_nowait(self, item: bytes) -> None:
        super().put_nowait(item)
        time.sleep(0.03)


def test_answer_that_overtakes_the_question_does_not_end_all_questions(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may have the name before put_nowait() returns; the address must not stay "asked for" for ever."""
    monkeypatch.setattr(queue, "Queue", LateReturningQueue)
    resolver.let_go.set()
    known = Names()
    known.get(REMOTE)
    assert eventually(lambda: REMOTE in known._known)
    monkeypatch.setattr(names, "time", Later(3601))
    known.get(REMOTE)
    assert eventually(lambda: len(resolver.asked) == 2)


def test_resolver_knows_this_hosts_own_name() -> None:
    """From /etc/hosts."""
    assert look_up(packed("127.0.0.1")) == socket.getnameinfo(("127.0.0.1", 0), 0)[0]


def test_address_that_cannot_be_looked_up_has_no_name() -> None:
    assert look_up(packed("*")) is None
