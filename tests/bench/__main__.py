"""Measure how fast and how small bwtop is, beside its peers: `make bench`, or parts of it by name.

The tables go to standard output as they are made; with --results they are also written to a file, with the machine's
description before them.  RESULTS.md is put together of such files, one or more parts each.
"""

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Final

from tests.bench import (
    cost,
    faults,
    fleet,
    history,
    latency,
    overhead,
    programs,
    scale,
    screen,
    soak,
    start,
)
from tests.bench.tables import Effort, Part

PARTS: Final[dict[str, Part]] = {
    "overhead": overhead.tables,
    "programs": programs.tables,
    "cost": cost.tables,
    "start": start.tables,
    "latency": latency.tables,
    "faults": faults.tables,
    "screen": screen.tables,
    "history": history.tables,
    "scale": scale.tables,
    "fleet": fleet.tables,
    "soak": soak.tables,
}
"""In the order in which they run."""


def main() -> None:
    """Parse the command line and run the parts that it names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; all without any")
    parser.add_argument("--quick", action="store_true", help="few rounds and small sizes")
    parser.add_argument(
        "--beside", type=Path, help="a checkout whose bwtop watches in turn with this one"
    )
    parser.add_argument("--results", type=Path, help="the file to write")
    options = parser.parse_args()
    if unknown := set(options.part) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    written = [f"{machine()}\n"]
    for text in sections(options.part or list(PARTS), Effort(options.quick, options.beside)):
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        written.append(text)
    if options.results:
        options.results.write_text("\n".join(written))


def sections(parts: list[str], effort: Effort) -> Iterator[str]:
    """Yield a heading and all tables of each part, in Markdown."""
    for part in parts:
        yield f"## {part.capitalize()}\n"
        for table in PARTS[part](effort):
            yield table.markdown()


def machine() -> str:
    """Return a description of the machine that the figures were measured on."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return "\n".join(
        [
            "# Results of `make bench`",
            "",
            f"- {date.today()}, commit {commit or 'unknown'}",
            f"- {os.cpu_count()} processors ({_processor()}), {memory:.0f} GB of memory",
            f"- Linux {platform.release()}, Python {platform.python_version()}",
        ]
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in info if ":" in line)
    names = {name.strip(): value.strip() for name, value in fields.items()}
    guest = ", virtual" if "hypervisor" in names.get("flags", "") else ""
    return f"{names.get('model name', platform.machine())}{guest}"


if __name__ == "__main__":
    main()
