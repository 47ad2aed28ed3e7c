"""Names of processes for people: of interpreters the script, of long names the part that the kernel cuts off."""

import re
from pathlib import PurePosixPath
from typing import Final

from bwtop.model.flows import Identity

KERNEL_NAME: Final = 15
"""Longest name in bytes that the kernel keeps (TASK_COMM_LEN - 1)."""

_INTERPRETER: Final = re.compile(
    r"(python|pypy|ruby|perl|node|nodejs|php|lua|bash|dash|sh|zsh|java)[0-9.]*"
)

_WITHOUT_SCRIPT: Final = re.compile(r"-[a-zA-Z]*[ce]")
"""Options whose value is a program text: python -c, perl -e."""

_BEFORE_NAME: Final = ("-m", "-jar")
"""Options whose value names the script."""


def shown_name(identity: Identity) -> str:
    """Return the name to show; the name that is stored and sorted by stays that of the kernel.

    Nothing is cached: a cache of identities would keep those of exited processes.
    """
    name = identity.name
    if _INTERPRETER.fullmatch(name):
        return _script(identity.cmdline) or name
    if len(name.encode(errors="replace")) == KERNEL_NAME:
        program = (identity.exe or "").rpartition("/")[2]
        return program if program.startswith(name) else name
    return name


def _script(cmdline: str) -> str:
    """Return the name of the script in the command line of an interpreter; empty: there is none."""
    words = cmdline.split()[1:]
    for place, word in enumerate(words):
        if word in _BEFORE_NAME:
            return PurePosixPath("".join(words[place + 1 : place + 2])).name
        if _WITHOUT_SCRIPT.fullmatch(word):
            return ""
        if not word.startswith("-"):
            return PurePosixPath(word).name
    return ""
