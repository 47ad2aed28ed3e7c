"""Names of uids, and what a process's raw identity becomes with them."""

import functools
import pwd
from dataclasses import replace
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
