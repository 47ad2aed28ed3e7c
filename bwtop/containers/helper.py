"""The process that may read the files of container engines, and nothing else.

It keeps CAP_DAC_READ_SEARCH alone, and by Landlock may read only those folders.  Nothing else that bwtop runs has that
right.  It gets ids over a socket pair and answers with names; neither side runs what the other sends.
"""

import contextlib
import gc
import json
import os
import signal
import socket
from pathlib import Path
from typing import Final, NamedTuple

from bwtop.containers import folders
from bwtop.containers.answers import Answers
from bwtop.containers.formats import ID
from bwtop.identity.units import ContainerKey
from bwtop.rights import landlock, opening, privileges
from bwtop.rights.account import Account
from bwtop.rights.privileges import CAP_DAC_READ_SEARCH

LONGEST: Final = 1 << 12
"""Bytes of a message."""

_LISTED: Final = 20
"""Largest number of folders told."""

_QUIET: Final = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    *(signal.SIGTSTP, signal.SIGALRM, signal.SIGWINCH),
)
"""Signals of a terminal's process group, or the service's: the last intervals need names, too."""

_DESCRIPTORS: Final = 1 << 20
"""More than a process may have open (fs.nr_open)."""


class Hello(NamedTuple):
    """The report of a helper on itself, once it is confined."""

    rights: str
    """Its user and capabilities, read back from the kernel."""
    is_restricted: bool
    """False where the kernel has no Landlock."""
    folders: list[str]
    """The folders that it reads."""


class Helper(NamedTuple):
    """A helper, seen from the process that has started it."""

    pid: int
    socket: socket.socket

    def close(self) -> None:
        """End the helper; it does so by itself when this process ends."""
        self.socket.close()
        with contextlib.suppress(OSError):
            opening.end(self.pid)


def start(account: Account) -> Helper:
    """Fork a helper that becomes `account`; call it before root is dropped, and before any thread is started.

    That account may signal the helper, so the kernel ends it with this process; it can neither trace it nor read its
    memory (ptrace(2)).
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _live(theirs.detach(), account, parent)
        finally:
            os._exit(0)
    theirs.close()
    return Helper(pid, ours)


def _live(theirs: int, account: Account, parent: int) -> None:
    """Be the helper, to its end: that of the other side, or at once if there is no folder to read."""
    gc.freeze()  # pages that nothing writes stay shared
    _detach(theirs)
    privileges.drop(account, keep=[CAP_DAC_READ_SEARCH])
    privileges.die_with_parent(parent)
    opened = folders.opened()
    if not opened:
        return
    places = [Path(f"/proc/self/fd/{folder.descriptor}") for folder in opened]
    rights = privileges.described()  # from a file that Landlock closes
    is_restricted = landlock.restrict(readable=places, system=False)
    paths = [folder.path for folder in opened[:_LISTED]]
    with socket.socket(fileno=theirs) as control:
        hello = Hello(rights, is_restricted, paths)
        control.send(json.dumps([0, *hello]).encode()[:LONGEST])
        _serve(control, Answers(opened))


def _detach(theirs: int) -> None:
    """Keep the socket alone, and be ended by the other side alone."""
    for number in _QUIET:
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.closerange(3, theirs)
    os.closerange(theirs + 1, _DESCRIPTORS)


def _serve(control: socket.socket, answers: Answers) -> None:
    """Answer until the other side is closed."""
    while received := control.recv(LONGEST):
        number, *asked = json.loads(received)
        key = ContainerKey(*asked)
        named = answers.answer(key) if ID.fullmatch(key.id) else None
        control.send(json.dumps([number, *(named or ())]).encode())
