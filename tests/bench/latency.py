"""How long somebody waits: for the first screen, for a new process's row, for a key, for a reading, for a page."""

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bwtop.identity.users import Describer
from bwtop.model.live import LiveModel
from bwtop.model.meter import Meter
from bwtop.model.sample import Sample
from bwtop.tui.app import collect_young_only
from tests.bench import draining, history, pages, screen, starting, year
from tests.bench.starting import Watched
from tests.bench.tables import Effort, Table, middle
from tests.kernel.running import start
from tests.web.browser import chromium
from tests.web.serving import serving

INTERVAL: Final = 1.0
"""Seconds, which bwtop measures in unless somebody says otherwise."""


@dataclass(frozen=True)
class Wait:
    """Something that is waited for, in milliseconds."""

    what: str
    took: Sequence[float]
    budget: float | None = None

    def cells(self) -> list[str]:
        """A row of the table."""
        low, high = min(self.took), max(self.took)
        budget = "" if self.budget is None else f"{self.budget:.0f}"
        over = " (over)" if self.budget is not None and middle(self.took) > self.budget else ""
        return [self.what, f"{middle(self.took):.1f}", f"{low:.1f}-{high:.1f}", f"{budget}{over}"]


# Starting.


def first_screens(rounds: int) -> Iterator[Wait]:
    """From exec to the first frame, and to the header that names the backend."""
    frames, attached = [], []
    for _ in range(rounds):
        with Watched("--no-record", "--no-resolve") as watched:
            frames.append(1000 * (watched.when(b"PROCESS") - watched.begun))
            attached.append(1000 * (watched.when(b"backend ") - watched.begun))
    yield Wait("exec to the first frame", frames, 300)
    yield Wait("exec to attached: the screen says so", attached, 1000)


def batches(rounds: int) -> Wait:
    """From exec to the line that says what measures."""
    return Wait("exec to attached: --batch says so", [_batch() for _ in range(rounds)], 1000)


def _batch() -> float:
    begun = time.monotonic()
    process = subprocess.Popen(
        starting.command("--batch", "--no-record", "--no-resolve"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=starting.environment(),
    )
    assert process.stderr
    while b"measuring" not in (line := process.stderr.readline()):
        assert line, "bwtop did not start"
    took = 1000 * (time.monotonic() - begun)
    process.terminate()
    process.communicate()
    return took


# New processes.


def rows_of_new_processes(rounds: int) -> Iterator[Wait]:
    """From a process's first byte to its row, whenever in an interval that byte moves."""
    with Watched("--no-record", "--no-resolve") as watched:
        watched.when(b"backend ")
        took = [_appearance(n, watched.when, time.monotonic) for n in range(rounds)]
    yield Wait("a new process's first byte to its row: screen", took, 1000 * INTERVAL)
    with (
        serving(started=starting.command, env=starting.environment()) as web,
        chromium() as browser,
    ):
        page = pages.Opened(browser, f"http://127.0.0.1:{web.port}")
        took = [
            _appearance(n, lambda name: page.appears(name.decode()), time.time)
            for n in range(rounds)
        ]
        page.close()
    yield Wait("a new process's first byte to its row: page", took, 1000 * INTERVAL)


def _appearance(
    number: int, appears: Callable[[bytes], float], clock: Callable[[], float]
) -> float:
    """Milliseconds; `appears` waits for a name, and says when it was there by that clock."""
    name = f"new{number}-{random.randrange(10**6)}"
    told, tell = os.pipe()

    def move() -> None:
        _name_process(name)
        time.sleep(random.uniform(0, INTERVAL))
        begun = clock()
        _move_bytes()
        os.write(tell, str(begun).encode())

    child = start(move)
    shown = appears(name.encode())
    child.wait()
    begun = float(os.read(told, 64))
    os.close(told)
    os.close(tell)
    return 1000 * (shown - begun)


def _name_process(name: str) -> None:
    with open("/proc/self/comm", "w") as comm:
        comm.write(name)


def _move_bytes() -> None:
    """Enough to be among the first rows."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        for _ in range(50):
            sock.sendto(bytes(10_000), sock.getsockname())
            sock.recv(1 << 16)


# Keys.


def keys(effort: Effort) -> Wait:
    """From a key to its frame: a median of each key."""
    processes = 1000 if effort.quick else 10_000
    harness, background = screen.model(processes)
    medians = [
        middle([1000 * s for s in screen.measure(harness, background, names, effort.rounds(9))])
        for names in screen.KEYS.values()
    ]
    return Wait(f"a key to its frame, {processes:,} rows (over {len(medians)} keys)", medians, 50)


# Readings.


@dataclass
class Drained:
    """What one reading of many flows took, in milliseconds."""

    swap: float
    """Of a reading with nothing in it: the kernel's grace period, and the counts of loss."""
    read: float
    model: float
    known: float
    """Of the next reading on the same model: all its flows are known by then."""
    meter: float
    flows: int


def drains(effort: Effort) -> Iterator[Wait]:
    """From the swap of the full map to the model."""
    flows = draining.MOST // 8 if effort.quick else draining.MOST
    with draining.capturing() as capture:
        found = [_drain(capture.read, flows) for _ in range(effort.rounds(9))]
    least = min(each.flows for each in found)
    assert least >= 0.99 * flows, f"only {least} flows of {flows} were read"
    size = f"{flows:,} flows"
    yield Wait(f"{size}: swap alone", [each.swap for each in found])
    yield Wait(f"{size}: drain and decode", [each.read - each.swap for each in found])
    yield Wait(f"{size}: the screen's model, all new", [each.model for each in found])
    yield Wait(f"{size}: the screen's model, all known", [each.known for each in found])
    yield Wait(f"{size}: the meter of --batch", [each.meter for each in found])
    yield Wait(f"{size}: swap to decoded", [each.read for each in found], 150)
    yield Wait(f"{size}: swap to the model", [each.read + each.model for each in found], 150)


def _drain(read: Callable[[], Sample], flows: int) -> Drained:
    read()
    swap = history.timed(read)
    draining.fill(flows)
    begun = time.perf_counter()
    sample = read()
    took = 1000 * (time.perf_counter() - begun)
    Describer().describe(sample)
    model = LiveModel()
    new = history.timed(lambda: model.advance(sample))
    known = history.timed(lambda: model.advance(sample))
    meter = history.timed(lambda: Meter().advance(sample))
    return Drained(swap, took, new, known, meter, sum(map(len, sample.traffic.values())))


# The history, and pages.


def histories(effort: Effort) -> Iterator[Wait]:
    """Recording and asking."""
    for flows in (50, 1000):
        took, _ = history.inserted(flows, effort.rounds(9))
        yield Wait(f"an interval recorded, {flows:,} active flows", took)
    path = year.built(effort).path
    history.report(path, "today")  # the first one compiles
    for text in ("today", "365d"):
        took = [history.report(path, text) for _ in range(effort.rounds(9))]
        yield Wait(f"--history {text}, over a year", took, 200)


def browser(effort: Effort) -> Iterator[Wait]:
    """What the page of a busy desktop takes."""
    rounds = range(effort.rounds(9))
    with pages.desktop(year.built(effort).path) as web, chromium() as running:
        pages.opening(running, web, "")  # the browser's own first time
        loads = [pages.opening(running, web, "") for _ in rounds]
        pasts = [pages.opening(running, web, "?view=history&range=365d") for _ in rounds]
        updates = pages.updating(running, web, len(rounds))
    yield Wait("page: navigation to the first rows, live", loads)
    yield Wait("page: navigation to the first rows, 365d", pasts)
    yield Wait("page: an interval's arrival to the document", [shown for shown, _ in updates])
    yield Wait("page: an interval's arrival to the frame", [painted for _, painted in updates])


def waits(effort: Effort) -> Iterator[Wait]:
    """All of them.  Probes come first: the loader is forked, and browsers bring threads."""
    collect_young_only()
    rounds = effort.rounds(9)
    _batch()  # the first start compiles
    yield from drains(effort)
    yield from first_screens(rounds)
    yield batches(rounds)
    yield from rows_of_new_processes(rounds)
    yield keys(effort)
    yield from histories(effort)
    yield from browser(effort)


def tables(effort: Effort) -> Iterator[Table]:
    """See tables.Part."""
    yield Table(
        "Latency, ms",
        ["from what to what", "median", "spread", "budget"],
        [wait.cells() for wait in waits(effort)],
        f"Spread: the least and the most of {effort.rounds(9)}.  A new process's row waits for the end of the interval"
        f" ({INTERVAL:.0f} s), in which its first byte moves at any time.",
    )
