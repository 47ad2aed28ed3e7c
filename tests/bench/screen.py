"""How long the full screen takes from a key to the frame that answers it, against the number of processes.

Run it with `make bench`.  The screen is the real one, its rows are made in the background as in the program, and a frame
is what urwid would write to the terminal.  Each figure is the median of several presses; the ratio is that of the last
size to the first, and the worst is of the last size.
"""

import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from bwtop.model.flows import TCP, UDP, Identity, Traffic
from bwtop.tree import Tree
from bwtop.tui.app import collect_young_only
from tests.build import key, remote
from tests.screen.harness import Harness

REMOTES: Final = 10
PRESSES: Final = 9
SIZES: Final = (100, 1000, 10_000)

KEYS: Final = {
    "down": ["down"],
    "page down": ["page down"],
    "expand": ["enter"],
    "expand all": ["e"],
    "sort": [">"],
    "reverse": ["r"],
    "TCP off and on": ["t"],
    "group": ["g"],
    "a letter of a filter": ["/", "7", "esc"],
    "details": ["i"],
    "help": ["h", "q"],
}


class Background:
    """Makes trees in a thread, as the program does."""

    def __init__(self) -> None:
        self._made: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def __call__(self, make: Callable[[], Tree], show: Callable[[Tree], None]) -> None:
        def work() -> None:
            tree = make()
            self._made.put(lambda: show(tree))

        threading.Thread(target=work, daemon=True).start()

    def settle(self, harness: Harness) -> None:
        """Waits until nothing is being made."""
        while harness.desk.is_building:
            self._made.get()()


def board(processes: int) -> tuple[Harness, Background]:
    """A screen with so many processes, each with REMOTES remotes."""
    harness, background = Harness(132, 43), Background()
    harness.desk.in_background = background
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
            remote(address(of.pid * REMOTES + n), 443, TCP if n else UDP): Traffic(
                rx=of.pid * n + 1, tx=n
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
    """A different one for each number."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def measure(harness: Harness, background: Background, keys: list[str]) -> Iterator[float]:
    """Seconds from each press to its frame; what the background does is waited for between presses."""
    for _ in range(PRESSES):
        for name in keys:
            harness.now += 1
            begun = time.perf_counter()
            harness.screen.keypress(harness.size, name)
            harness.screen.render(harness.size, focus=True)
            yield time.perf_counter() - begun
            background.settle(harness)
            harness.screen.render(harness.size, focus=True)


def main() -> None:
    """Prints the table."""
    collect_young_only()
    rows: dict[str, list[float]] = {name: [] for name in KEYS}
    worst: dict[str, float] = {}
    for processes in SIZES:
        harness, background = board(processes)
        for name, keys in KEYS.items():
            taken = [1000 * seconds for seconds in measure(harness, background, keys)]
            rows[name].append(statistics.median(taken))
            worst[name] = max(taken)
    heads = [f"{size:,} x {REMOTES}" for size in SIZES]
    out = sys.stdout.write
    out(
        f"{'key to frame, ms':<24}"
        + "".join(f"{head:>14}" for head in heads)
        + f"{'ratio':>8}{'worst':>8}\n"
    )
    for name, values in rows.items():
        cells = "".join(f"{value:>14.1f}" for value in values)
        out(f"{name:<24}{cells}{values[-1] / values[0]:>8.1f}{worst[name]:>8.1f}\n")


if __name__ == "__main__":
    main()
