"""Ended processes and their remotes are forgotten: a bwtop that has seen many come and go is what it was before."""

from pathlib import Path

import pytest

from tests.bench.churn import churn
from tests.bench.watched import descriptors, memory, threads
from tests.kernel.running import Bwtop, run
from tests.processes import until
from tests.web.serving import Listener, serving

pytestmark = pytest.mark.kernel

SECONDS = 2
REMOTES = 15_000
PROCESSES = 150
"""In each of those seconds."""

ROUNDS = 4

ROOM = 20.0
"""MiB that the heap may grow by in all rounds; it does by some 5, on a busy machine by more until it is trimmed.  The
flows of all, if they were kept, take 40.
"""


def come_and_go(remotes: int) -> None:
    """Start many processes, and one that speaks to many remotes; let all of them end."""
    run(lambda: churn(remotes, PROCESSES, SECONDS))


@pytest.mark.alone
def test_what_is_gone_takes_no_memory(tmp_path: Path) -> None:
    """After the first time it has what it needs for so many: a heap, and the files of the history that it records to."""
    with Bwtop("--db", str(tmp_path / "history.db")) as bwtop:
        pid = bwtop.process.pid
        come_and_go(REMOTES)
        bwtop.settle()
        before, taken = (threads(pid), descriptors(pid)), memory(pid)
        for _ in range(ROUNDS):
            come_and_go(REMOTES)
            bwtop.settle()
        until(
            lambda: memory(pid) - taken < ROOM, lambda: f"it has grown by {memory(pid) - taken} MiB"
        )
        until(lambda: (threads(pid), descriptors(pid)) == before)
        seen = {
            (p["pid"], p["start"]) for document in bwtop.documents for p in document["processes"]
        }
        assert len(seen) > ROUNDS * SECONDS * PROCESSES


def test_serving_opens_and_starts_nothing_for_what_comes_and_goes() -> None:
    with serving() as web, Listener(web.port) as listener:
        listener.settle()
        before = threads(web.pid), descriptors(web.pid)
        come_and_go(1000)
        listener.settle()
        until(lambda: (threads(web.pid), descriptors(web.pid)) == before)
