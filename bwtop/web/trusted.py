"""The users of this machine who may look without the token."""

import grp
import pwd
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from bwtop.identity.users import user_name

GROUP: Final = "bwtop"
"""Its members may look; the package makes it, and they read the service's history."""

KNOWN_SECONDS: Final = 5.0
"""For which a user's membership is believed."""

MAX_KNOWN: Final = 256


class Trusted(Protocol):
    """Users that need no token."""

    def include(self, uid: int | None) -> bool:
        """Return whether a user may look; None: bwtop does not know which user asks."""

    def __str__(self) -> str:
        """Return them as words."""


class Everyone:
    """All users of this machine: --open."""

    def include(self, _: int | None) -> bool:
        """Return True, also for a user that is not known."""
        return True

    def __str__(self) -> str:
        return "everyone"


class TrustedUsers:
    """Root, the user that bwtop runs for, those named, and members of the group."""

    def __init__(
        self,
        owner: int | None,
        others: Iterable[int] = (),
        group: str = GROUP,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`owner` and `others` are uids; no owner: bwtop runs for root alone."""
        self._uids = dict.fromkeys([0, *([] if owner is None else [owner]), *others])
        self._group = group
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[int, tuple[float, bool]] = {}
        """Until when, and whether, a user is a member."""

    def include(self, uid: int | None) -> bool:
        """Return whether a user may look.  It may ask a directory service: only a request's own thread may wait for it."""
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
    """Return whether a user is in a group, by the group's list or as the user's own group.

    Not by os.getgrouplist(), which keeps the interpreter from all else while a directory service answers.
    """
    try:
        user, entry = pwd.getpwuid(uid), grp.getgrnam(group)
    except (KeyError, OSError):
        return False
    return user.pw_gid == entry.gr_gid or user.pw_name in entry.gr_mem
