"""The cost of watching to the work that is watched: with bwtop, with its peers, and with nobody.

In each round every observer has its turn and sees every kind of work.  Before and after it the work is done with nobody
watching, and the ratio is to the mean of those two: a machine that is slow for a while is so for them, too.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bwtop.capture.backends import BACKENDS
from tests.bench.programs import capture_with
from tests.bench.tables import Effort, Table, spread
from tests.bench.works import WORKS, Work, measured
from tests.kernel.running import LAUNCHER

ROUNDS: Final = 11


@dataclass(frozen=True)
class Observer:
    """A program that watches the traffic."""

    name: str
    command: list[str]
    ready: str
    """Its output once it watches."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Run the program during the block; discard its output once it watches."""
        process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, process_group=0
        )
        assert process.stdout
        try:
            while self.ready.encode() not in (line := process.stdout.readline()):
                assert line, f"{self.name} ended before it watched"
            drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            process.stdout.close()
        drain.wait()


def observers(beside: Path | None) -> list[Observer]:
    """Return the observers that run on this machine: bwtop with each backend that its kernel allows, and its peers."""
    found = [_bwtop(f"bwtop, {name}", LAUNCHER, "--backend", name) for name in _backends()]
    found.append(_bwtop("bwtop --no-names", LAUNCHER, "--no-names"))
    if beside:
        found.append(_bwtop("bwtop, other checkout", beside / "bwtop.py"))
    peers = [
        Observer("nethogs -a", ["nethogs", "-a", "-t", "-d", "1"], "Refreshing"),
        Observer("bandwhich", ["bandwhich", "--raw", "--interface", "lo"], "Refreshing"),
        Observer("tcpdump", ["tcpdump", "-i", "lo", "-w", "/dev/null"], "listening on"),
    ]
    return found + [peer for peer in peers if shutil.which(peer.command[0])]


def _bwtop(name: str, launcher: Path, *flags: str) -> Observer:
    command = [sys.executable, str(launcher), "--batch", "--no-record", *flags]
    return Observer(name, command, "measuring")


def _backends() -> Iterator[str]:
    for backend in BACKENDS:
        capture = capture_with(backend)
        if capture:
            capture.close()
            yield backend.name


def tables(effort: Effort) -> Iterator[Table]:
    """Yield one table: a line for each kind of work, a column for each observer."""
    watching = observers(effort.beside)
    alone: dict[str, list[float]] = {work.name: [] for work in WORKS}
    ratios: dict[tuple[str, str], list[float]] = {}
    rounds = effort.rounds(ROUNDS)
    for number in range(rounds):
        turn = number % len(watching)
        before = _figures(effort)
        for observer in watching[turn:] + watching[:turn]:
            with observer.watching():
                watched = _figures(effort)
            after = _figures(effort)
            for name, figure in watched.items():
                base = (before[name] + after[name]) / 2
                alone[name].append(base)
                ratios.setdefault((name, observer.name), []).append(figure / base)
            before = after
    yield Table(
        "Time or throughput of the work, with somebody watching over nobody",
        ("work", "nobody", *(observer.name for observer in watching)),
        [_row(work, alone, ratios, watching) for work in WORKS],
        f"Medians of {rounds} rounds, quartiles in parentheses.  A ratio above 1 is slower, but for iperf3, where one"
        " below 1 is.  tcpdump writes to /dev/null.",
    )


def _figures(effort: Effort) -> dict[str, float]:
    """Return the figure of every kind of work, done once."""
    return {work.name: measured(work, quick=effort.quick) for work in WORKS}


def _row(
    work: Work,
    alone: dict[str, list[float]],
    ratios: dict[tuple[str, str], list[float]],
    watching: list[Observer],
) -> tuple[str, ...]:
    figures = (spread(ratios[work.name, observer.name]) for observer in watching)
    return (work.title, spread(alone[work.name]), *figures)
