"""The cost of a start: with programs that are compiled, and with those of the cache, in turn.

`python -m tests.bench.start FOLDER` starts once with the cache in that folder, without one if FOLDER is empty, and
prints what its loader took: the process is new, and as small as bwtop is when it starts.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bwtop.capture.session import Loading
from tests.bench.flows import CHECKOUT
from tests.bench.tables import MIB, Effort, Table, middle
from tests.bench.watched import Mode, Watched, installed

FLAGS: Final = {"compiled": ["--no-cache"], "from the cache": []}
"""Both ways to start, and the flags that choose them."""


@dataclass(frozen=True)
class Figure:
    """One of the figures of a start."""

    name: str
    budget: float | None = None
    """With the cache."""
    digits: int = 0


FIGURES: Final = (
    Figure("exec to the first frame, ms", 200),
    Figure("exec to attached: the screen says so, ms", 350),
    Figure("the loader: fork to attached, ms"),
    Figure("the loader: processor time, ms"),
    Figure("the loader: peak memory, MiB", 60, digits=1),
)

Start = tuple[float, ...]
"""A value of each figure."""


def tables(effort: Effort) -> Iterator[Table]:
    """See tables.Part."""
    rounds = effort.rounds(15)
    found: dict[str, list[Start]] = {way: [] for way in FLAGS}
    with installed() as bwtop, tempfile.TemporaryDirectory() as folder:
        for counted in [False, *rounds * [True]]:  # the first fills the cache
            for way, flags in FLAGS.items():
                figures = (*screen(bwtop, flags), *loader("" if flags else folder))
                found[way] += [figures] * counted
    yield Table(
        "A start",
        ["", *FLAGS, "budget"],
        [row(number, found) for number in range(len(FIGURES))],
        f"Medians of {rounds} rounds, the least and the most in parentheses.",
    )


def row(number: int, found: dict[str, list[Start]]) -> list[str]:
    """Return the row of a figure, with both ways to start."""
    figure = FIGURES[number]
    cells = []
    for starts in found.values():
        values = [start[number] for start in starts]
        texts = [f"{each:.{figure.digits}f}" for each in (middle(values), min(values), max(values))]
        cells.append("{} ({}-{})".format(*texts))
    if figure.budget is None:
        return [figure.name, *cells, ""]
    over = " (over)" if middle(values) > figure.budget else ""
    return [figure.name, *cells, f"{figure.budget:.0f}{over}"]


def screen(bwtop: Path, flags: list[str]) -> tuple[float, float]:
    """Return the milliseconds from exec to the first frame, and to the header that names the backend."""
    mode = Mode("screen", ["--no-resolve", *flags], b"PROCESS", records=False, screen=True)
    begun = time.monotonic()
    with Watched(bwtop, mode) as watched:
        frame = 1000 * (time.monotonic() - begun)
        watched.await_text(b"backend ")
        return frame, 1000 * (time.monotonic() - begun)


def loader(folder: str) -> tuple[float, float, float]:
    """Return the milliseconds, the processor milliseconds and the MiB that a loader took, in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.start", folder]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["start"].startswith("from the cache" if folder else "compiled") or folder
    return answer["wall"], answer["processor"], answer["memory"]


def main() -> None:
    """Start once; print what the loader took, as JSON."""
    import bwtop.cli  # noqa: F401  what bwtop has imported when it starts the loader

    folder = sys.argv[1]
    begun = time.monotonic()
    capture = Loading(cache=Path(folder) if folder else None).start()
    took = 1000 * (time.monotonic() - begun)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = {
        "start": capture.report.start,
        "wall": took,
        "processor": 1000 * (usage.ru_utime + usage.ru_stime),
        "memory": usage.ru_maxrss * 1024 / MIB,
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
