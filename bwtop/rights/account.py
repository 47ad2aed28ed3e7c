"""Accounts: the user who started bwtop as root, and the one that bwtop becomes when it no longer needs root."""

import os
import pwd
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

HIGHEST: Final = (1 << 32) - 2
"""The largest user or group id: the kernel takes the next one, (uid_t)-1, for "leave it as it is" (setresuid(2))."""

SERVICE: Final = "bwtop"
"""The system user of share/bwtop.sysusers."""

HIGHEST_SYSTEM: Final = 999
"""System users have ids up to here; a person who is called like the service is not the service."""


class AccountError(ValueError):
    """The environment names no valid user; the text says which variable, and what to do."""


class Account(NamedTuple):
    """A user and the primary group to run with."""

    uid: int
    gid: int


NOBODY: Final = Account(65534, 65534)
"""Without an entry in passwd(5) it still owns nothing."""


def of_uid(uid: int, gid: int = NOBODY.gid) -> Account:
    """Return the account of a user id; `gid` is its group where passwd(5) has no such user."""
    try:
        return Account(uid, pwd.getpwuid(uid).pw_gid)
    except KeyError:
        return Account(uid, gid)


def groups(account: Account) -> list[int]:
    """Return the supplementary groups of an account; none where passwd(5) has no such user."""
    try:
        return os.getgrouplist(pwd.getpwuid(account.uid).pw_name, account.gid)
    except KeyError:
        return []


def invoker(environment: Mapping[str, str]) -> Account | None:
    """Return the user who became root by sudo, pkexec or doas; None where no one did, or root did.

    Raises AccountError where a variable names no valid user.  The environment is only to be believed by a process that
    is root: sudo(8), pkexec(1) and doas(1) set these variables themselves.
    """
    for variable, parse in VARIABLES.items():
        text = environment.get(variable, "")
        if text:
            uid = parse(variable, text)
            return of_uid(uid, _sudo_gid(environment)) if uid else None
    return None


def _id(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= 10
    return int(text) if is_number and int(text) <= HIGHEST else None


def _uid(variable: str, text: str) -> int:
    uid = _id(text)
    if uid is None:
        raise AccountError(
            f"{variable}={text[:40]!r} is not a user id; run: env -u {variable} bwtop ..."
        )
    return uid


def _named(variable: str, text: str) -> int:
    try:
        return pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise AccountError(
            f"{variable}={text[:40]!r} is not a user; run: env -u {variable} bwtop ..."
        ) from None


VARIABLES: Final[Mapping[str, Callable[[str, str], int]]] = {
    "SUDO_UID": _uid,
    "PKEXEC_UID": _uid,
    "DOAS_USER": _named,
}
"""The variables that name the user, and how each is read; the first that is set counts."""


def _sudo_gid(environment: Mapping[str, str]) -> int:
    gid = _id(environment.get("SUDO_GID", ""))
    return NOBODY.gid if gid is None else gid


def service() -> Account:
    """Return the system user `bwtop`, or nobody where there is none."""
    try:
        entry = pwd.getpwnam(SERVICE)
    except KeyError:
        return NOBODY
    is_system = 0 < entry.pw_uid <= HIGHEST_SYSTEM and entry.pw_gid
    return Account(entry.pw_uid, entry.pw_gid) if is_system else NOBODY


def unprivileged(environment: Mapping[str, str]) -> Account:
    """Return the account that bwtop runs as after root, where no history says otherwise."""
    return invoker(environment) or service()


def owner(environment: Mapping[str, str]) -> int:
    """Return the uid of the user that bwtop was started for: behind sudo that user, else the process's own."""
    behind = invoker(environment) if os.geteuid() == 0 else None
    return behind.uid if behind else os.geteuid()


def home(environment: Mapping[str, str]) -> Path:
    """Return the home directory of the user that bwtop was started for; "/" where there is none."""
    behind = invoker(environment) if os.geteuid() == 0 else None
    try:
        if behind:
            return Path(pwd.getpwuid(behind.uid).pw_dir)
        return Path(environment.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return Path("/")
