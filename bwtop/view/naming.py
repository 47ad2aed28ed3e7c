"""Names of processes for people: of interpreters the script, of long names the part that the kernel cuts off."""

import re
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from bwtop.model.flows import Identity

KERNEL_NAME: Final = 15
"""Longest name in bytes that the kernel keeps (TASK_COMM_LEN - 1)."""


class _Words(NamedTuple):
    """Options of an interpreter, as patterns."""

    without: str
    """Those that come without a script: before a program text, such as python -c, or for standard input."""
    before: str = ""
    """Those right before the script."""
    valued: str = ""
    """Those right before another value."""


_SHELL: Final = _Words("-[a-zA-Z]*[cs][a-zA-Z]*", valued="[-+][a-zA-Z]*[oO]|--rcfile|--init-file")
_PYTHON: Final = _Words("-[a-zA-Z]*c", before="-[a-zA-Z]*m", valued="-[a-zA-Z]*[WX]")
_NODE: Final = _Words(
    "-[a-z]*[ep]|--eval|--print",
    valued="-[rC]|--require|--import|--conditions|--(experimental-)?loader",
)

_INTERPRETERS: Final = {
    **dict.fromkeys(("bash", "dash", "sh", "zsh"), _SHELL),
    **dict.fromkeys(("python", "pypy"), _PYTHON),
    **dict.fromkeys(("node", "nodejs"), _NODE),
    "java": _Words(
        "",
        before="-jar|-m|--module",
        valued="-cp|-classpath|--class-path|-p|--module-path|--(add|limit)-modules|--add-(opens|exports|reads)",
    ),
    "lua": _Words("-e", valued="-l"),
    "perl": _Words("-[alnpsw]*[eE]", valued="-I"),
    "php": _Words("-r", before="-f", valued="-[cdz]"),
    "ruby": _Words("-[alnpsw]*e", valued="-[CEIr]"),
}
"""Interpreters by their names, without a version."""


def shown_name(identity: Identity) -> str:
    """Return the name to show; the name that is stored and sorted by stays that of the kernel.

    Nothing is cached: a cache of identities would keep those of exited processes.
    """
    name = identity.name
    if words := _INTERPRETERS.get(name.rstrip("0123456789.")):
        return _script(identity.cmdline, words) or name
    if len(name.encode(errors="replace")) == KERNEL_NAME:
        program = (identity.exe or "").rpartition("/")[2]
        return program if program.startswith(name) else name
    return name


def bracketed_name(identity: Identity) -> str:
    """Return the name to show; that of the kernel's own work is in brackets, as ps(1) shows it."""
    return f"[{identity.name}]" if identity.kernel else shown_name(identity)


def _script(cmdline: str, of: _Words) -> str:
    """Return the name of the script in the command line of an interpreter; empty: there is none."""
    words = iter(cmdline.split()[1:])
    for word in words:
        if re.fullmatch(of.before, word):
            return PurePosixPath(next(words, "")).name
        if re.fullmatch(of.without, word):
            return ""
        if re.fullmatch(of.valued, word):
            next(words, "")
        elif not word.startswith(("-", "+")):
            return PurePosixPath(word).name
    return ""
