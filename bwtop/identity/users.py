"""Names of uids, and identities completed with them."""

import functools
import pwd
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from bwtop.identity.lookup import Lookup
from bwtop.identity.units import place
from bwtop.model.flows import Identity, ProcessKey
from bwtop.model.sample import Sample

_UNNAMED: Final = 2048
"""Largest number of processes that wait for the name of their user: 0.8 KiB each."""

_THREADS: Final = 2
"""Look-ups in flight."""

_PATIENCE: Final = 0.1
"""Longest wait for names of new uids, in seconds: a local file answers within 1 ms, on a slow machine within 50."""


@functools.lru_cache(maxsize=1024)
def user_name(uid: int) -> str | None:
    """Return the user's name, None for a uid that has none here, as many in containers.

    Block for as long as NSS does (nsswitch.conf(5)): LDAP and the like can take seconds.
    """
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def complete(identity: Identity, user: str | None) -> Identity:
    """Return the identity with its user's name, and the unit, container and pod of its cgroup if it has one."""
    if identity.cgroup is None:
        return replace(identity, user=user)
    placement = place(identity.cgroup)
    return replace(
        identity,
        user=user,
        unit=placement.unit,
        container=placement.container,
        pod=placement.pod,
    )


class _Completed(NamedTuple):
    """An identity, what was known of its user, and the identity completed with it."""

    identity: Identity
    user: str | None
    whole: Identity


class Describer:
    """Completes identities: with the unit, container and pod, and with the user's name once it is known.

    Identities of other machines are complete: their uids are not this machine's.
    """

    def __init__(self) -> None:
        self._users = Lookup(user_name, "bwtop-users", _THREADS, known=1024)
        self._unnamed: dict[ProcessKey, Identity] = {}
        """Processes whose user's name was not known when they moved bytes."""
        self._last: dict[ProcessKey, _Completed] = {}
        """The processes of the last sample: most are in the next as well."""

    def describe(self, sample: Sample) -> None:
        """Complete the identities of a sample; add those of earlier ones whose user's name has come since."""
        self._wait(sample.identities.values())
        for part in (sample.late, sample):
            if part:
                found = {k: self._complete(k, i) for k, i in part.identities.items()}
                self._last = found
                part.identities = {key: each.whole for key, each in found.items()}
        for key in sample.exited:
            self._unnamed.pop(key, None)
        self._rename(sample)

    def _wait(self, identities: Iterable[Identity]) -> None:
        """Give the system a moment to name uids seen for the first time, unless it is slow anyway."""
        new = {i.uid for i in identities if i.uid is not None and i.host is None}
        new = {uid for uid in new if not self._users.is_known(uid)}
        if new and not self._unnamed:
            self._users.wait(new, _PATIENCE)

    def _complete(self, key: ProcessKey, identity: Identity) -> _Completed:
        if identity.host is not None:
            return _Completed(identity, None, identity)
        name = self._user(key, identity)
        last = self._last.get(key)
        if last and last.identity is identity and last.user == name:
            return last
        return _Completed(identity, name, complete(identity, name))

    def _user(self, key: ProcessKey, identity: Identity) -> str | None:
        """Return the user's name if it is known; otherwise remember the process for `_rename`."""
        if identity.uid is None:
            return None
        name = self._users.get(identity.uid)
        is_waiting = name is None and not self._users.is_known(identity.uid)
        if is_waiting and len(self._unnamed) < _UNNAMED:
            self._unnamed[key] = identity
        return name

    def _rename(self, sample: Sample) -> None:
        """Add the identities of processes whose user's name has come since."""
        for key, identity in list(self._unnamed.items()):
            assert identity.uid is not None, "_complete() keeps only those with a uid"
            if self._users.is_known(identity.uid):
                del self._unnamed[key]
                name = self._users.get(identity.uid)
                sample.identities.setdefault(key, complete(identity, name))
