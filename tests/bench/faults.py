"""Measure the longest interval while something else stands still."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from tests.bench.tables import Effort, Table
from tests.faults import many, services
from tests.faults.disk import Disk
from tests.faults.recorded import send
from tests.kernel.running import Bwtop, sink
from tests.web.serving import Listener, serving

INTERVAL: Final = 1.0
"""Seconds that are asked for."""

CLIENTS: Final = 6

Fault = Callable[[Path], AbstractContextManager[services.Running]]
"""Yields a bwtop that measures under a fault; the folder is for the fault's files."""


def _flags() -> tuple[str, str]:
    return "-d", str(INTERVAL)


@contextmanager
def _nothing(_: Path) -> Iterator[Bwtop]:
    with Bwtop(*_flags()) as running:
        yield running


@contextmanager
def _resolver(folder: Path) -> Iterator[Bwtop]:
    with services.room(services.configure(folder), *_flags()) as running, ExitStack() as end:
        end.enter_context(services.resolver(running, "never"))
        end.enter_context(services.inside(running, services.sender()))
        yield running


@contextmanager
def _users(folder: Path) -> Iterator[Bwtop]:
    services.make_users_slow(services.configure(folder))
    with services.room(folder, *_flags()) as running, ExitStack() as end:
        for uid in (70001, 70002, 70003):
            end.enter_context(services.inside(running, services.sender(uid)))
        yield running


@contextmanager
def _disk(folder: Path) -> Iterator[Bwtop]:
    with (
        closing(Disk(folder)) as disk,
        sink() as port,
        Bwtop(*_flags(), "--db", str(disk.path / "history.db")) as running,
    ):
        send(port, 10)
        running.settle()
        disk.freeze()
        send(port, 10)
        try:
            yield running
        finally:
            disk.thaw()


@contextmanager
def _queries(folder: Path) -> Iterator[Listener]:
    database = folder / "history.db"
    many.make(database, many.REMOTES)
    with serving(*_flags(), "--db", str(database)) as web, Listener(web.port) as listening:
        listening.settle()
        with many.asking(web.port, CLIENTS):
            yield listening


FAULTS: Final[dict[str, Fault]] = {
    "nothing": _nothing,
    "the resolver, which never answers": _resolver,
    "NSS, which takes 3 s for each of 3 users": _users,
    "the disk, which takes no write": _disk,
    f"nothing, but {CLIENTS} clients ask for {many.REMOTES:,} remotes": _queries,
}
"""By what stands still."""


def _longest(fault: Fault, intervals: int) -> float:
    """Return the longest interval in seconds."""
    with tempfile.TemporaryDirectory() as folder, fault(Path(folder)) as running:
        return services.longest(services.await_documents(running, intervals * INTERVAL))


def tables(effort: Effort) -> Iterator[Table]:
    """See tables.Part."""
    intervals = effort.rounds(20)
    yield Table(
        f"Longest of {intervals} intervals of {INTERVAL:g} s",
        ["while this stands still", "seconds"],
        [[name, f"{_longest(fault, intervals):.3f}"] for name, fault in FAULTS.items()],
    )
