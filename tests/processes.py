"""Run programs to their end, wait for what they do, and read what the kernel tells of them: proc(5)."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.kernel.running import HANG

USER: Final = 31234
"""A uid without a user."""


def ran(
    command: Sequence[str | Path], *, timeout: float = HANG, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; return its exit status and its output as text."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=check, **options
    )


def waited(pid: int) -> float:
    """Return the seconds for which threads of a process were ready to run and waited for a processor.

    The second number in /proc/PID/task/TID/schedstat, in nanoseconds; on a busy machine as long as its intervals are late.
    """
    total = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):
            total += int(file.read_text().split()[1])
    return total / 1e9


def until(
    condition: Callable[[], object],
    what: str | Callable[[], object] = "it never is",
    seconds: float = HANG,
) -> None:
    """Wait until a condition is true; fail if it is not within so many seconds.

    what: the message of the failure, or a function that returns it.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.02)


def refused_line(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the error of a bwtop that refused to run; check that this line is all its output, and that its status is 2."""
    assert (ended.returncode, ended.stdout) == (2, ""), ended
    (line,) = ended.stderr.splitlines(keepends=True)
    assert line.startswith("bwtop: "), ended
    assert line.endswith("\n"), ended
    return line.removeprefix("bwtop: ").removesuffix("\n")


def status(process: int | str) -> dict[str, str]:
    """Return the fields of proc_pid_status(5), of a process or of a path below /proc such as `thread-self`."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


def capability_sets(process: int | str) -> dict[str, list[int]]:
    """Return the capabilities in each set of a process, by the set's name in its status."""
    return {name: bits(mask) for name, mask in status(process).items() if name.startswith("Cap")}


def bits(mask: str) -> list[int]:
    """Return the bits that are set in a hexadecimal mask."""
    return [bit for bit in range(64) if int(mask, 16) >> bit & 1]


def children(process: int) -> list[int]:
    """Return the children of all threads of a process, those that have ended too; none of one that has gone."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            with suppress(OSError):
                found += map(
                    int, Path(f"/proc/{process}/task/{thread}/children").read_text().split()
                )
    return found


def family(process: int) -> list[int]:
    """Return a process and its descendants."""
    return [process, *(one for child in children(process) for one in family(child))]


def threads(process: int) -> int:
    """Return the number of threads of a process."""
    return len(os.listdir(f"/proc/{process}/task"))


def descriptors(process: int) -> int:
    """Return the number of open descriptors of a process."""
    return len(os.listdir(f"/proc/{process}/fd"))


def descriptors_of(pattern: str) -> set[int]:
    """Return the descriptors of this process for what matches a regular expression: a path, `socket:`, `anon_inode:bpf`.

    Those of all kinds tell nothing: other threads, as of an embedded ClickHouse, open files at any time.
    """
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile, as that of the listing itself
            if re.match(pattern, os.readlink(f"/proc/self/fd/{name}")):
                found.add(int(name))
    return found


def proportional_memory(process: int) -> int:
    """Return the bytes of a process's own memory and of its share of what it shares with others (PSS)."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    raise AssertionError("there is no Pss")


def is_alive(process: int) -> bool:
    """Say whether a process runs: one that has ended may wait for its parent."""
    try:
        return status(process)["State"][0] not in "ZX"
    except OSError:
        return False
