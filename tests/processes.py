"""Processes as the kernel shows them to tests."""

import os
from contextlib import suppress
from pathlib import Path


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


def is_alive(process: int) -> bool:
    """Say whether a process runs: one that has ended may wait for its parent."""
    try:
        return status(process)["State"][0] not in "ZX"
    except OSError:
        return False
