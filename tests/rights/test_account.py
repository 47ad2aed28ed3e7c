"""Accounts: the user behind root, the service's, and homes."""

import os
import pwd
from pathlib import Path

import pytest

from bwtop.rights.account import (
    NOBODY,
    Account,
    AccountError,
    groups,
    home,
    invoker,
    of_uid,
    owner,
    service,
    unprivileged,
)
from tests.history.others import needs_root

UNUSED = next(uid for uid in range(3_000_000_000, 0, -1) if of_uid(uid) == Account(uid, NOBODY.gid))
DAEMON = pwd.getpwnam("daemon")


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"SUDO_UID": ""}, None),
        ({"SUDO_UID": "0", "SUDO_GID": "0"}, None),
        ({"SUDO_UID": str(UNUSED), "SUDO_GID": "100"}, (UNUSED, 100)),
        ({"SUDO_UID": str(UNUSED)}, (UNUSED, NOBODY.gid)),
        *(
            ({"SUDO_UID": str(UNUSED), "SUDO_GID": gid}, (UNUSED, NOBODY.gid))
            for gid in ("4294967295", "abc", "-1", "")
        ),
        ({"SUDO_UID": str(DAEMON.pw_uid), "SUDO_GID": "0"}, (DAEMON.pw_uid, DAEMON.pw_gid)),
        ({"PKEXEC_UID": str(DAEMON.pw_uid)}, (DAEMON.pw_uid, DAEMON.pw_gid)),
        ({"DOAS_USER": "daemon"}, (DAEMON.pw_uid, DAEMON.pw_gid)),
        ({"DOAS_USER": "root"}, None),
    ],
)
def test_user_behind_root(environment: dict[str, str], found: tuple[int, int] | None) -> None:
    assert invoker(environment) == found


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("SUDO_UID", value) for value in ("4294967295", "99999999999", "-1", "ada")),
        *(("SUDO_UID", value) for value in (" 5", "1e3", "\u0665", "5" * 5000)),
        ("PKEXEC_UID", "4294967295"),
        ("DOAS_USER", "no such user"),
        ("DOAS_USER", "root\0ada"),
    ],
)
def test_invalid_user_behind_root_is_an_error(variable: str, value: str) -> None:
    """Going on as if there were none would open the user's files as root."""
    with pytest.raises(AccountError, match=f"{variable}=.*run: env -u {variable}") as caught:
        invoker({variable: value})
    assert len(str(caught.value)) < 150


def test_service_is_a_system_user_or_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"bwtop": (990, 991)}

    def getpwnam(name: str) -> pwd.struct_passwd:
        uid, gid = found[name]
        return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/false"))

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    assert service() == (990, 991)
    for person in ((1000, 1000), (0, 0), (990, 0)):
        found["bwtop"] = person
        assert service() == NOBODY
    found.clear()
    assert service() == NOBODY
    assert unprivileged({}) == NOBODY
    assert unprivileged({"SUDO_UID": "5"}).uid == 5


def test_groups_are_those_of_passwd() -> None:
    assert groups(Account(UNUSED, 5)) == []
    assert groups(of_uid(DAEMON.pw_uid)) == [DAEMON.pw_gid]


@needs_root
def test_home_is_that_of_the_user_behind_sudo() -> None:
    behind = {"SUDO_UID": str(DAEMON.pw_uid), "HOME": "/root"}
    assert home(behind) == Path(DAEMON.pw_dir)
    assert owner(behind) == DAEMON.pw_uid
    assert home({"SUDO_UID": str(UNUSED), "HOME": "/root"}) == Path("/")
    assert home({"HOME": "/x"}) == Path("/x")
    assert owner({}) == 0


@needs_root
def test_only_root_has_a_user_behind_it() -> None:
    behind = {"SUDO_UID": str(DAEMON.pw_uid), "HOME": "/root"}
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.setresuid(65534, 65534, 65534)
            status = int((home(behind), owner(behind)) != (Path("/root"), 65534))
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
