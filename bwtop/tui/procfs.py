"""Facts from /proc about a live process that the kernel record shortens or lacks."""

import os
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


@lru_cache(maxsize=64)
def command_line(process: ProcessKey) -> str | None:
    """Return the whole command line, its arguments joined by spaces; None if it cannot be read."""
    try:
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    except OSError:
        return None
    text = arguments.rstrip(b"\0").replace(b"\0", b" ").decode(errors="backslashreplace")
    return text if text and is_same(process) else None
