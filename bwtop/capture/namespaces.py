"""Network namespaces: what the kernel shows of one at a time has to be looked at in each."""

import ctypes
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bwtop.capture.mounts import mounts

_CLONE_NEWNET: Final = 0x40000000


class RefusedNamespaceError(Exception):
    """Namespaces that cannot be entered; the text is the kernel's reason for the first."""


def in_each(action: Callable[[], None]) -> None:
    """Do something in every network namespace that a process or a mount keeps; end in this process's own.

    Raise RefusedNamespaceError after the others if some cannot be entered.
    """
    action()
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    seen = {_number(own)}
    refused = ""
    for file in _files():
        try:
            if _enter(file, seen):
                action()
        except OSError as error:
            refused = refused or error.strerror or str(error)
    if len(seen) > 1:
        _set(own)
    os.close(own)
    if refused:
        raise RefusedNamespaceError(f"other network namespaces cannot be entered: {refused}")


def _files() -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        yield f"{process}/ns/net"
    for mount in mounts():
        if mount.root.startswith("net:"):
            yield mount.point


def _enter(file: str, seen: set[tuple[int, int]]) -> bool:
    """Enter a namespace unless it has been seen or cannot be looked at; return whether.

    The file is looked at before it is opened: a mount may stand in a folder of a user's, who has put something else in its
    place.  Raise OSError if it cannot be entered.
    """
    try:
        found = os.open(file, os.O_PATH)
    except OSError:
        return False  # its process has ended, or is out of reach
    try:
        number = _number(found)
        if number in seen or number[0] not in {device for device, _ in seen}:
            return False
        descriptor = os.open(f"/proc/self/fd/{found}", os.O_RDONLY)
        try:
            _set(descriptor)
        finally:
            os.close(descriptor)
        seen.add(number)
    finally:
        os.close(found)
    return True


def _number(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _set(descriptor: int) -> None:
    """Call setns(2)."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
