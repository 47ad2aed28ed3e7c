"""Names of uids, and identities completed with them."""

import functools
import pwd
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple, Protocol

from bwtop.identity.lookup import Lookup
from bwtop.identity.units import ContainerKey, container_key, place
from bwtop.model.containers import own_name
from bwtop.model.flows import Identity, ProcessKey
from bwtop.model.sample import Sample

_UNNAMED: Final = 2048
"""Largest number of processes that wait for the name of their user: 0.8 KiB each."""

_THREADS: Final = 2
"""Look-ups in flight."""

_PATIENCE: Final = 0.1
"""Longest wait for names of new uids, in seconds: a local file answers within 1 ms, on a slow machine within 50."""

_KEPT: Final = 60.0
"""Seconds for which a report keeps a name: a row in millions is no reason to ask, but a directory may start after bwtop."""


def user_name(uid: int) -> str | None:
    """Return what `look_up` does, kept for a minute at most."""
    return _name_in(uid, int(time.monotonic() // _KEPT))


@functools.lru_cache(maxsize=1024)
def _name_in(uid: int, _minute: int) -> str | None:
    return look_up(uid)


def look_up(uid: int) -> str | None:
    """Return the user's name, None for a uid that has none here, as many in containers.

    Block for as long as NSS does (nsswitch.conf(5)): LDAP and the like can take seconds.
    """
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


class Container(Protocol):
    """The known facts about a container."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def image(self) -> str | None:
        """Return its image."""


class ContainerSource(Protocol):
    """A source of the names of containers."""

    def get(self, key: ContainerKey) -> Container | None:
        """Return what is known of a container; if it is not known yet, ask in the background."""

    def is_known(self, key: ContainerKey) -> bool:
        """Return whether there is an answer for a container."""

    def wait(self, keys: Iterable[ContainerKey], seconds: float) -> None:
        """Wait until all have answers, but at most so many seconds."""


def complete(identity: Identity, user: str | None, container: Container | None = None) -> Identity:
    """Return the identity with its user's name, and the unit, container and pod of its cgroup if it has one."""
    if identity.cgroup is None:
        return replace(identity, user=user)
    placement = place(identity.cgroup)
    return replace(
        identity,
        user=user,
        unit=placement.unit,
        container=placement.container,
        container_name=container.name if container else own_name(placement.container or ""),
        image=container.image if container else None,
        pod=placement.pod,
    )


class _Completed(NamedTuple):
    """An identity, what was known of its user and container, and the identity completed with them."""

    identity: Identity
    known: tuple[str | None, Container | None]
    whole: Identity


class Describer:
    """Completes identities: with the unit, container and pod, and with names of users and containers once known.

    Identities of other machines are complete: their uids are not this machine's.
    """

    def __init__(self, containers: ContainerSource | None = None) -> None:
        """Without a source, containers are named only where their cgroup does."""
        self._users = Lookup(look_up, "bwtop-users", _THREADS, known=1024)
        self._containers = containers
        self._unnamed: dict[ProcessKey, Identity] = {}
        """Processes whose user's or container's name was not known when they moved bytes."""
        self._last: dict[ProcessKey, _Completed] = {}
        """The processes of the last sample: most are in the next as well."""

    def describe(self, sample: Sample) -> None:
        """Complete the identities of a sample; add those of earlier ones whose names have come since."""
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
        """Give the system a moment for names seen for the first time, unless it is slow anyway."""
        if self._unnamed:
            return
        own = [identity for identity in identities if identity.host is None]
        new = {i.uid for i in own if i.uid is not None and not self._users.is_known(i.uid)}
        if new:
            self._users.wait(new, _PATIENCE)
        if self._containers:
            keys = {
                key for i in own if (key := self._key(i)) and not self._containers.is_known(key)
            }
            if keys:
                self._containers.wait(keys, _PATIENCE)

    def _complete(self, key: ProcessKey, identity: Identity) -> _Completed:
        if identity.host is not None:
            return _Completed(identity, (None, None), identity)
        known = self._known(identity)
        last = self._last.get(key)
        if last and last.identity is identity and last.known == known:
            return last
        if self._is_waiting(identity) and len(self._unnamed) < _UNNAMED:
            self._unnamed[key] = identity
        return _Completed(identity, known, complete(identity, *known))

    def _key(self, identity: Identity) -> ContainerKey | None:
        """Return the container to ask for; None: there is none, or no source."""
        if self._containers is None or identity.cgroup is None:
            return None
        return container_key(identity.cgroup)

    def _known(self, identity: Identity) -> tuple[str | None, Container | None]:
        """Return what is known of the user and the container; ask for the rest."""
        user = None if identity.uid is None else self._users.get(identity.uid)
        key = self._key(identity)
        return user, self._containers.get(key) if self._containers and key else None

    def _is_waiting(self, identity: Identity) -> bool:
        """Return whether a name may still come."""
        key = self._key(identity)
        return (identity.uid is not None and not self._users.is_known(identity.uid)) or bool(
            self._containers and key and not self._containers.is_known(key)
        )

    def _rename(self, sample: Sample) -> None:
        """Add the identities of processes whose names have come since."""
        for key, identity in list(self._unnamed.items()):
            if not self._is_waiting(identity):
                del self._unnamed[key]
                sample.identities.setdefault(key, complete(identity, *self._known(identity)))
