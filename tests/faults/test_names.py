"""Name services that do not answer hold up no interval and no end."""

import signal
import time
from collections.abc import Sequence
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


@pytest.mark.parametrize("mode", ["never", "late", "garbage"])
def test_a_faulty_resolver_holds_up_nothing(services: Path, mode: str) -> None:
    with room(services) as running, resolver(running, mode), inside(running, sender()):
        documents = await_documents(running, 5.0)
        assert longest(documents) < STRETCHED
        remotes = entries(documents)
        assert remotes
        named = {remote["host"] for remote in remotes if remote["host"]}
        assert all(name.endswith(".name.example") for name in named)
        assert bool(named) == (mode == "late")
        before = time.monotonic()
        assert running.stop(signal.SIGTERM) == 0
        assert time.monotonic() - before < 10.0


def test_a_dead_resolver_is_told_once_and_asked_again_later(services: Path) -> None:
    (services / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    with room(services) as running, inside(running, sender()):
        with resolver(running, "never"):
            deadline = time.monotonic() + HANG
            while not any("name server does not answer" in line for line in running.messages):
                assert time.monotonic() < deadline, running.messages
                time.sleep(0.1)
        running.settle()
        assert sum("name server" in line for line in running.messages) == 1


@pytest.mark.parametrize("count", [3])
def test_slow_user_names_hold_up_nothing_and_come_later(services: Path, count: int) -> None:
    make_users_slow(services)
    with room(services) as running:
        with (
            inside(running, sender(70001)),
            inside(running, sender(70002)),
            inside(running, sender(70003)),
        ):
            first = await_documents(running, 1.5)
            later = await_documents(running, 8.0)
        assert longest([*first, *later]) < STRETCHED
    wanted = set(range(70001, 70001 + count))
    assert users(first) == {(uid, None) for uid in wanted}
    assert {(uid, f"slow-{uid}") for uid in wanted} <= users(later)


def users(documents: Sequence[Document]) -> set[tuple[int, str | None]]:
    """Return the uids of the senders with their names."""
    return {
        (process["uid"], process["user"])
        for document in documents
        for process in document["processes"]
        if process["uid"] and 70000 <= process["uid"] < 80000
    }
