"""The time of the full screen from a key to the frame that answers it, against the number of processes.

The screen is the real one, its rows are made in the background as in the program, and a frame is what urwid would write to
the terminal.
"""

import queue
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from bwtop.model.flows import TCP, UDP, Identity, Traffic
from bwtop.tui.app import collect_young_only
from bwtop.tui.paste import Event, Paste
from bwtop.view.tree import Tree
from tests.bench.tables import Effort, Table
from tests.build import key, remote
from tests.screen.harness import Harness

REMOTES: Final = 10
SIZES: Final = (100, 1000, 10_000)

KEYS: Final[dict[str, list[Event]]] = {
    "down": ["down"],
    "page down": ["page down"],
    "expand": ["enter"],
    "expand all": ["e"],
    "sort": [">"],
    "reverse": ["r"],
    "TCP off and on": ["t"],
    "group": ["g"],
    "a letter of a filter": ["/", "7", "esc"],
    "5,000 characters pasted into the filter": ["/", Paste("remote " * 714), "esc"],
    "details": ["i"],
    "help": ["h", "q"],
}


class Background:
    """A background that makes trees in a thread, as the program does."""

    def __init__(self) -> None:
        self._made: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def __call__(self, make: Callable[[], Tree], show: Callable[[Tree], None]) -> None:
        def work() -> None:
            tree = make()
            self._made.put(lambda: show(tree))

        threading.Thread(target=work, daemon=True).start()

    def settle(self, harness: Harness) -> None:
        """Wait until no tree is being made."""
        while harness.state.is_building:
            self._made.get()()


def model(processes: int) -> tuple[Harness, Background]:
    """Return a screen with so many processes, each with REMOTES remotes; and its background."""
    harness, background = Harness(132, 43), Background()
    harness.state.in_background = background
    identities = {
        key(pid): Identity(
            f"worker{pid % 300}",
            uid=pid % 7,
            user=f"user{pid % 7}",
            cmdline=f"worker{pid % 300} --number {pid}",
            exe=f"/usr/bin/worker{pid % 300}",
            unit=f"unit{pid % 40}.service",
        )
        for pid in range(1, processes + 1)
    }
    traffic = {
        of: {
            remote(address(of.stored_pid * REMOTES + n), 443, TCP if n else UDP): Traffic(
                rx=of.stored_pid * n + 1, tx=n
            )
            for n in range(REMOTES)
        }
        for of in identities
    }
    harness.feed(traffic, identities)
    background.settle(harness)
    harness.lines()
    return harness, background


def address(number: int) -> str:
    """Return a different address for each number."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def measure(
    harness: Harness, background: Background, keys: list[Event], presses: int
) -> Iterator[float]:
    """Yield the seconds from each press to its frame; wait for the background between presses."""
    for _ in range(presses):
        for event in keys:
            harness.now += 1
            begun = time.perf_counter()
            harness.read(event)
            harness.screen.render(harness.size, focus=True)
            yield time.perf_counter() - begun
            background.settle(harness)
            harness.screen.render(harness.size, focus=True)


def tables(effort: Effort) -> Iterator[Table]:
    """See tables.Part."""
    collect_young_only()
    sizes = SIZES[:2] if effort.quick else SIZES
    medians: dict[str, list[float]] = {name: [] for name in KEYS}
    worst: dict[str, float] = {}
    for processes in sizes:
        harness, background = model(processes)
        for name, keys in KEYS.items():
            taken = [1000 * s for s in measure(harness, background, keys, effort.rounds(9))]
            medians[name].append(statistics.median(taken))
            worst[name] = max(taken)
    yield Table(
        "From a key to its frame, ms",
        ["key", *(f"{size:,} x {REMOTES}" for size in sizes), "ratio", "worst"],
        [
            [
                name,
                *(f"{value:.1f}" for value in values),
                f"{values[-1] / values[0]:.1f}",
                f"{worst[name]:.1f}",
            ]
            for name, values in medians.items()
        ],
        "Processes times remotes; medians.  The ratio is that of the last size to the first, the worst is of the last size."
        "  Budget: 50 ms with 10,000 rows.",
    )
