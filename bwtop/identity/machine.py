"""The name and id of this machine."""

import hmac
import socket
import uuid
from functools import cache
from pathlib import Path
from typing import Final

from bwtop.model.flows import Host

_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))

_BWTOP: Final = uuid.UUID("6b4c9c1e-2f0a-4f3e-9a53-8d5e6f1f7c21")
"""The application id of bwtop, from which machine ids are derived."""


def this_machine() -> Host:
    """Return the name of this machine and an id that stays, derived from machine-id(5) or else from the name."""
    name = socket.gethostname()
    return Host(name, _id(name))


@cache
def _id(name: str) -> str:
    """Return the id for this machine.  Its own id is confidential (machine-id(5)), so this one is derived from it.

    As in sd_id128_get_machine_app_specific(3): HMAC-SHA256 of the application's id, keyed with the machine's.
    """
    key = _machine_id()
    if key is None:
        return str(uuid.uuid5(_BWTOP, name))
    digest = hmac.digest(key.bytes, _BWTOP.bytes, "sha256")
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _machine_id() -> uuid.UUID | None:
    for path in _FILES:
        try:
            return uuid.UUID(path.read_text().strip())
        except (OSError, ValueError):  # missing, or still "uninitialized"
            continue
    return None
