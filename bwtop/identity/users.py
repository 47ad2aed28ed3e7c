"""Names of uids, who is behind sudo, and what a process's raw identity becomes with them."""

import functools
import pwd
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from bwtop.identity.units import place
from bwtop.model.flows import Identity


@functools.lru_cache(maxsize=1024)
def user_name(uid: int) -> str | None:
    """The user's name, None for a uid that has none here (those of containers often do not)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


DESCRIBED: Final = 2048
"""Processes that are remembered, of which many are long gone: 0.8 KiB each.  Where more are active in a second, each of
them is described anew every time."""


@functools.lru_cache(maxsize=DESCRIBED)
def describe(identity: Identity) -> Identity:
    """The identity with user, unit, container and pod filled in; without a cgroup those it has stay.

    Another machine's has them already: its uids are not this one's.
    """
    if identity.host is not None:
        return identity
    if identity.cgroup is None:
        return replace(identity, user=None if identity.uid is None else user_name(identity.uid))
    placement = place(identity.cgroup)
    return replace(
        identity,
        user=None if identity.uid is None else user_name(identity.uid),
        unit=placement.unit,
        container=placement.container,
        pod=placement.pod,
    )


def sudo_user(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """(uid, gid) of who called sudo; None if nobody did, or root."""
    try:
        uid, gid = int(environment["SUDO_UID"]), int(environment["SUDO_GID"])
    except (KeyError, ValueError):
        return None
    return (uid, gid) if uid > 0 and gid > 0 else None


def home(environment: Mapping[str, str], uid: int) -> Path:
    """The home directory of a user, or of who is behind sudo."""
    behind = sudo_user(environment) if uid == 0 else None
    try:
        if behind:
            return Path(pwd.getpwuid(behind[0]).pw_dir)
        return Path(environment.get("HOME") or pwd.getpwuid(uid).pw_dir)
    except KeyError:
        return Path("/")
