"""Facts from /proc about a live process that the kernel record shortens or lacks."""

import contextlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from bwtop.model.flows import ProcessKey

_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def is_same(process: ProcessKey) -> bool:
    """Return True if the pid still belongs to the process: field 22 of /proc/PID/stat is its start, proc(5)."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return int(stat.rpartition(")")[2].split()[19]) == process.start // _TICK


LONGEST: Final = 64 << 10
"""Bytes of a command line that are read: it may have megabytes (RLIMIT_STACK in execve(2))."""


@lru_cache(maxsize=64)
def command_line(process: ProcessKey) -> str | None:
    """Return the command line, its arguments joined by spaces; None if it cannot be read.

    It is whole up to LONGEST, and ends in an ellipsis beyond.
    """
    try:
        with Path(f"/proc/{process.pid}/cmdline").open("rb") as file:
            arguments = file.read(LONGEST + 1)
    except OSError:
        return None
    more = "…" if len(arguments) > LONGEST else ""
    text = arguments[:LONGEST].rstrip(b"\0").replace(b"\0", b" ").decode(errors="backslashreplace")
    return f"{text}{more}" if text and is_same(process) else None


MOST_BYTES: Final = 4 << 20
"""Bytes read of a table of sockets."""

TABLES: Final = ("tcp", "tcp6", "udp", "udp6")
"""Tables of sockets in /proc/PID/net; the kernel may have been told to have none of IPv6."""

_LISTEN: Final = "0A"
"""TCP_LISTEN in include/net/tcp_states.h, as /proc/PID/net/tcp has it."""


def parent(process: ProcessKey) -> str | None:
    """Return the name and pid of the parent; None if the process has none, or is gone."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
        name = Path(f"/proc/{pid}/comm").read_text(errors="backslashreplace").rstrip("\n")
    except OSError:
        return None
    return f"{name} ({pid})" if is_same(process) else None


def listening(process: ProcessKey) -> list[str] | None:
    """Return the ports that a process listens on, such as "tcp 443"; None if its files cannot be read.

    Only root and its user can read them (PTRACE_MODE_READ in ptrace(2)).
    """
    try:
        inodes = set(_sockets(process))
        found = [
            (kind.rstrip("6"), port)
            for kind in TABLES
            for port, inode in _bound(process, kind)
            if inode in inodes
        ]
    except OSError:
        return None
    return [f"{kind} {port}" for kind, port in sorted(set(found))] if is_same(process) else None


def _sockets(process: ProcessKey) -> Iterator[str]:
    """Yield the inodes of the sockets that a process has open."""
    for file in Path(f"/proc/{process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            target = str(file.readlink())
            if target.startswith("socket:["):
                yield target[8:-1]


def _bound(process: ProcessKey, kind: str) -> Iterator[tuple[int, str]]:
    """Yield port and inode of the sockets that listen, or of UDP that have no peer, in the process's network."""
    table = Path(f"/proc/{process.pid}/net/{kind}")
    with contextlib.suppress(FileNotFoundError), table.open() as file:
        for line in file.readlines(MOST_BYTES)[1:]:
            _, local, far, state, *rest = line.split()
            port = int(local.rpartition(":")[2], 16)
            is_open = state == _LISTEN if kind.startswith("tcp") else far.endswith(":0000")
            if is_open and port:
                yield port, rest[5]
