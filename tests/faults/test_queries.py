"""Queries of the history that take all the memory and time they get hold up no interval, and nothing else."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults import many
from tests.faults.recorded import STRETCHED, recorded, send
from tests.processes import children, proportional_memory, status, until, waited
from tests.web.serving import Listener, Serving, serving

pytestmark = [pytest.mark.kernel, pytest.mark.alone]

CLIENTS: Final = 6

GROWTH: Final = 64 << 20
"""Bytes by which the measuring process may grow, whatever moves on the machine meanwhile; queries took 1 to 2.8 GB."""

ADVICE: Final = "choose a shorter range or fewer groups"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("many") / "history.db"
    many.make(path, 600_000)
    return path


@pytest.fixture
def web(history: Path) -> Iterator[Serving]:
    with serving("-d", "0.2", "--db", str(history), "--no-container-names") as running:
        yield running


def queries(web: Serving) -> list[int]:
    """Return the processes of queries: children of the only child."""
    (server,) = children(web.pid)
    return children(server)


def test_worst_queries_hold_up_nothing_and_end_with_their_clients(
    web: Serving, history: Path, sink: int
) -> None:
    with Listener(web.port) as listening:
        listening.settle()
        before, peaks = proportional_memory(web.pid), []
        with many.asking(web.port, CLIENTS):
            until(lambda: len(queries(web)) == 2)
            for _ in range(32):
                send(sink, 1)
                peaks.append(proportional_memory(web.pid))
                assert len(queries(web)) <= 2
                time.sleep(0.2)
            running = queries(web)
        until(lambda: not queries(web), lambda: f"{running} go on without their clients")
        listening.settle()
        assert max(peaks) - before < GROWTH
        longest = max(interval["interval"] for interval in listening.intervals)
        assert longest < STRETCHED + waited(web.pid)
    assert web.stop() == 0
    assert recorded(history, sink) == 32_000


def test_query_that_is_too_large_is_refused_and_others_are_answered(web: Serving) -> None:
    """It has too little memory or, on a slow machine, too little time."""
    answers = []
    worst = threading.Thread(
        target=lambda: answers.append(web.ask(f"/api/v1/history?{many.WORST}"))
    )
    worst.start()
    until(lambda: queries(web))
    assert web.ask("/api/v1/about").document["history"]
    until(lambda: web.ask("/api/v1/live").status == 200)
    worst.join()
    (refused,) = answers
    assert refused.status == 503
    assert refused.error.startswith("stopped ")
    assert refused.error.endswith(ADVICE)
    until(lambda: not queries(web))
    assert web.ask("/api/v1/history?range=2020-01-01").status == 200


def test_processes_of_queries_have_limits_and_no_rights(web: Serving) -> None:
    with many.asking(web.port, 1):
        until(lambda: queries(web))
        (query,) = queries(web)
        os.kill(query, signal.SIGSTOP)  # it would end at its limits
        limits = Path(f"/proc/{query}/limits").read_text()
        for pid in (*children(web.pid), query):
            found = status(pid)
            assert [found[name] for name in ("Uid", "Gid", "Groups")] == [
                status(web.pid)[name] for name in ("Uid", "Gid", "Groups")
            ]
            assert "0" not in found["Uid"].split() + found["Gid"].split()
            sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
            assert {int(found[name], 16) for name in sets} == {0}
            assert found["NoNewPrivs"] == "1"
    (line,) = [line for line in limits.splitlines() if line.startswith("Max address space")]
    assert 512 << 20 < int(line.split()[-2]) < 2 << 30
