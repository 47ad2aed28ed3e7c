"""Names of uids, and what a process's raw identity becomes with them."""

import functools
import pwd
from dataclasses import replace

from bwtop.identity.units import place
from bwtop.model.flows import Identity


@functools.lru_cache(maxsize=1024)
def user_name(uid: int) -> str | None:
    """The user's name, None for a uid that has none here (those of containers often do not)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


@functools.lru_cache(maxsize=16384)
def describe(identity: Identity) -> Identity:
    """The identity with user, unit, container and pod filled in."""
    placement = place(identity.cgroup)
    return replace(
        identity,
        user=None if identity.uid is None else user_name(identity.uid),
        unit=placement.unit,
        container=placement.container,
        pod=placement.pod,
    )
