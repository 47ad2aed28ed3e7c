"""Users of this machine with access without the token."""

import grp
import pwd
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from bwtop.identity.users import user_name

GROUP: Final = "bwtop"
"""The group with access; the package creates it, and its members read the history of the service."""

KNOWN_SECONDS: Final = 5.0
"""Seconds for which a membership is cached."""

MAX_KNOWN: Final = 256


class Trusted(Protocol):
    """A set of users with access without the token."""

    def include(self, uid: int | None) -> bool:
        """Return True if a user has access; uid None: unknown user."""

    def __str__(self) -> str:
        """Return the users in words."""


class Everyone:
    """All users of this machine: --open."""

    def include(self, _: int | None) -> bool:
        """Return True, also for an unknown user."""
        return True

    def __str__(self) -> str:
        return "everyone"


class TrustedUsers:
    """Root, the user that bwtop runs for, the users of --trust-user, and the members of the group."""

    def __init__(
        self,
        owner: int | None,
        others: Iterable[int] = (),
        group: str = GROUP,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the uids of `owner` and `others`; owner None: bwtop runs for root."""
        self._uids = dict.fromkeys([0, *([] if owner is None else [owner]), *others])
        self._group = group
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[int, tuple[float, bool]] = {}
        """Expiry and membership by uid."""

    def include(self, uid: int | None) -> bool:
        """Return True if a user has access.

        It may wait for a directory service: call it only in the thread of a request.
        """
        if uid is None:
            return False
        return uid in self._uids or self._is_member(uid)

    def _is_member(self, uid: int) -> bool:
        now = self._now()
        with self._lock:
            until, found = self._known.get(uid, (now, False))
        if until > now:
            return found
        found = is_member(uid, self._group)
        with self._lock:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[uid] = now + KNOWN_SECONDS, found
        return found

    def __str__(self) -> str:
        users = [user_name(uid) or f"uid {uid}" for uid in self._uids]
        parts = [*users, f"members of group {self._group}"] if self._has_group() else users
        return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))

    def _has_group(self) -> bool:
        try:
            return bool(grp.getgrnam(self._group))
        except (KeyError, OSError):
            return False


def is_member(uid: int, group: str) -> bool:
    """Return True if a user is in a group, as a listed member or by the primary group.

    os.getgrouplist() would hold the interpreter lock while a directory service answers.
    """
    try:
        user, entry = pwd.getpwuid(uid), grp.getgrnam(group)
    except (KeyError, OSError):
        return False
    return user.pw_gid == entry.gr_gid or user.pw_name in entry.gr_mem
