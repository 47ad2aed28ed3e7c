"""Name services that do not answer hold up no interval and no end."""

import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.recorded import STRETCHED
from tests.faults.services import (
    await_documents,
    configure,
    inside,
    longest,
    make_users_slow,
    resolver,
    room,
    sender,
)
from tests.kernel.running import HANG, Document
from tests.processes import until, waited

pytestmark = pytest.mark.kernel


@pytest.fixture
def services(tmp_path: Path) -> Path:
    """Return the folder with the name services."""
    return configure(tmp_path)


def entries(documents: Sequence[Document]) -> list[Document]:
    """Return the remotes of the test's network."""
    return [
        remote
        for document in documents
        for process in document["processes"]
        for remote in process["remotes"]
        if remote["addr"].startswith("192.0.2.")
    ]


def names(documents: Sequence[Document]) -> set[str]:
    """Return the names of those remotes."""
    return {remote["host"] for remote in entries(documents) if remote["host"]}


@pytest.mark.parametrize("mode", ["never", "late", "garbage"])
def test_a_faulty_resolver_holds_up_nothing(services: Path, mode: str) -> None:
    with room(services) as running, resolver(running, mode), inside(running, sender()):
        documents = await_documents(
            running, 5.0, lambda documents: names(documents) if mode == "late" else documents
        )
        assert longest(documents) < STRETCHED + waited(running.process.pid)
        assert entries(documents)
        assert all(name.endswith(".name.example") for name in names(documents))
        assert bool(names(documents)) == (mode == "late")
        before = time.monotonic()
        assert running.stop(signal.SIGTERM) == 0
        assert time.monotonic() - before < HANG / 2, "it waits for no answer"


def test_a_dead_resolver_is_told_once_and_asked_again_later(services: Path) -> None:
    (services / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    with room(services) as running, inside(running, sender()):
        with resolver(running, "never"):
            until(
                lambda: any("name server does not answer" in line for line in running.messages),
                lambda: running.messages,
            )
        running.settle()
        assert sum("name server" in line for line in running.messages) == 1


def test_addresses_that_a_resolver_cannot_tell_of_leave_the_others_their_names(
    services: Path,
) -> None:
    """SERVFAIL for seven remotes of eight: it was taken for a dead resolver, which is left alone for a while."""
    with room(services) as running, resolver(running, "lame"), inside(running, sender()):
        documents = await_documents(running, 2.0, names)
        assert names(documents) == {"8.name.example"}
        assert not any("name server" in line for line in running.messages)


def test_slow_user_names_hold_up_nothing_and_come_later(services: Path) -> None:
    make_users_slow(services)
    uids = (70001, 70002, 70003)
    named = {(uid, f"slow-{uid}") for uid in uids}
    with room(services) as running, ExitStack() as stack:
        for uid in uids:
            stack.enter_context(inside(running, sender(uid)))
        await_documents(running, 1.5, lambda _: named <= {*users(running.documents)})
        documents = running.documents[:]
        assert longest(documents) < STRETCHED + waited(running.process.pid)
    first = dict(reversed(users(documents)))
    assert first == dict.fromkeys(uids)


def users(documents: Sequence[Document]) -> list[tuple[int, str | None]]:
    """Return the uids of the senders with their names, in the order of time."""
    return [
        (process["uid"], process["user"])
        for document in documents
        for process in document["processes"]
        if process["uid"] and 70000 <= process["uid"] < 80000
    ]
