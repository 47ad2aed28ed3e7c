"""Find out if the kernel interrupts programs: one that interrupts itself is skipped, and backends differ in what they miss.

Nothing can be asked for it but the text of the kernel's version, and debugfs where the mode is chosen at boot
(CONFIG_PREEMPT_DYNAMIC): kernel/sched/debug.c, sched_dynamic_show().
"""

import os
import re
from pathlib import Path
from typing import Final

CHOSEN: Final = Path("/sys/kernel/debug/sched/preempt")
"""Has the mode in parentheses: "none (voluntary) full"."""

UNKNOWN: Final = "unknown"

_BY_WORD: Final = {"PREEMPT_RT": "real-time", "PREEMPT_LAZY": "lazy", "PREEMPT": "full"}


def mode(version: str | None = None, chosen: Path = CHOSEN) -> str:
    """Return the mode of preemption: none, voluntary, lazy, full, real-time or UNKNOWN; as root.

    version: the running kernel's, as `uname -v` prints it.  A kernel that names nothing is none or voluntary.
    """
    words = (os.uname().version if version is None else version).split()
    for word, name in _BY_WORD.items():
        if word in words:
            return name
    if "PREEMPT_DYNAMIC" not in words:
        return "voluntary"
    try:
        found = re.search(r"\((\w+)\)", chosen.read_text())
    except OSError:
        return UNKNOWN
    return found[1] if found else UNKNOWN


def interrupts(of: str) -> bool:
    """Return whether programs may be interrupted in this mode."""
    return of not in ("none", "voluntary")
