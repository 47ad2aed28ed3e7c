"""Which machine this is."""

import hmac
import socket
import uuid
from functools import cache
from pathlib import Path
from typing import Final

from bwtop.model.flows import Host

_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))

_BWTOP: Final = uuid.UUID("6b4c9c1e-2f0a-4f3e-9a53-8d5e6f1f7c21")
"""Stands for bwtop in what is made of a machine's id."""


def this_machine() -> Host:
    """Its name now, and an id that stays: of machine-id(5), or of its name where it has none."""
    name = socket.gethostname()
    return Host(name, _id(name))


@cache
def _id(name: str) -> str:
    """A machine's own id is to be kept for itself (machine-id(5)): this is made of it, as systemd does.

    sd_id128_get_machine_app_specific(3): HMAC-SHA256, with the machine's id for a key, of the application's.
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
        except (OSError, ValueError):  # missing, or not made yet: "uninitialized"
            continue
    return None
