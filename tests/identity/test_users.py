"""Names of uids, and identities filled in."""

import os
import pwd
import threading
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace

import pytest

from bwtop.containers.formats import Named
from bwtop.identity import users
from bwtop.identity.lookup import AGE
from bwtop.identity.units import ContainerKey
from bwtop.identity.users import Describer, user_name
from bwtop.model.flows import UNATTRIBUTED_IDENTITY, UNKNOWN_IDENTITY, Host, Identity, ProcessKey
from tests.build import NOW, eventually, key, sample
from tests.identity.test_lookup import later

KEY, GONE = ProcessKey(1, 1), ProcessKey(2, 2)
NOBODYS_UID = next(uid for uid in range(3_000_000_000, 0, -1) if user_name(uid) is None)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the thread that looks names up, however late it is."""
    monkeypatch.setattr(users, "_PATIENCE", 30)


def test_uid_has_the_name_that_the_system_gives_it() -> None:
    assert user_name(0) == "root"
    assert user_name(os.getuid()) == pwd.getpwuid(os.getuid()).pw_name


def test_uid_that_is_nobodys_has_no_name() -> None:
    assert user_name(NOBODYS_UID) is None


def test_uid_without_a_name_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that starts before the directory of users (sssd) had no names of it until it was restarted."""
    late = Identity("curl", uid=NOBODYS_UID)
    describer = Describer()

    def user() -> str | None:
        reading = sample(identities={KEY: late})
        describer.describe(reading)
        return reading.identities[KEY].user

    assert user_name(NOBODYS_UID) is None
    assert user() is None
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: pwd.struct_passwd(("ada", "x", uid, *"1234")))
    later(monkeypatch, AGE + 1)
    assert user_name(NOBODYS_UID) == "ada"
    assert eventually(lambda: user() == "ada")


def describe(identity: Identity) -> Identity:
    """Return the identity as a view of this host has it."""
    reading = sample(identities={KEY: identity})
    Describer().describe(reading)
    return reading.identities[KEY]


def test_identity_is_filled_in_and_otherwise_kept() -> None:
    pod = "8a4c1b9e-03d2-4f5e-9a77-1c2b3d4e5f60"
    cgroup = f"/kubepods/pod{pod}/{'ab' * 32}"
    raw = Identity("curl", 0, "curl -s", "/usr/bin/curl", cgroup, kernel=True, started=NOW)
    assert describe(raw) == Identity(
        name="curl",
        uid=0,
        cmdline="curl -s",
        exe="/usr/bin/curl",
        cgroup=cgroup,
        kernel=True,
        started=NOW,
        user="root",
        unit=None,
        container="kubernetes:" + "ab" * 6,
        pod=pod,
    )


def test_user_of_a_container_without_a_name_here_stays_unnamed() -> None:
    assert describe(Identity("app", uid=NOBODYS_UID)).user is None


def test_unit_comes_from_the_cgroup() -> None:
    assert describe(Identity("sshd", cgroup="/system.slice/ssh.service")).unit == "ssh.service"


@pytest.mark.parametrize("nobody", [UNKNOWN_IDENTITY, UNATTRIBUTED_IDENTITY], ids=lambda i: i.name)
def test_bytes_of_no_known_process_are_not_said_to_be_roots(nobody: Identity) -> None:
    """Absent, never a false 0."""
    assert describe(nobody).user is None


class Source:
    """Names of containers, once they are let go."""

    def __init__(self, go: bool) -> None:
        self.go, self.named, self.waited = go, Named("web", "nginx"), 0

    def get(self, _: ContainerKey) -> Named | None:
        return self.named if self.go else None

    def is_known(self, _: ContainerKey) -> bool:
        return self.go

    def wait(self, keys: Iterable[ContainerKey], _: float) -> None:
        self.waited += len(set(keys))


def test_name_of_a_container_is_that_of_the_time() -> None:
    """It comes late, and changes; a process is asked for once."""
    source, docker = Source(go=False), Identity("nginx", 0, cgroup=f"/docker/{'ab' * 32}")
    describer = Describer(source)

    def found(identities: dict[ProcessKey, Identity]) -> list[str | None]:
        reading = sample(identities=identities)
        describer.describe(reading)
        return [identity.container_name for identity in reading.identities.values()]

    assert found({KEY: docker, GONE: Identity("sh", 0, cgroup="/lxc/box")}) == [None, "box"]
    assert found({}) == []
    assert source.waited == 1
    source.go = True
    assert found({}) == ["web"]
    assert found({KEY: docker}) == ["web"]
    source.named = Named("old", None)
    assert found({KEY: docker}) == ["old"]


def test_another_hosts_identity_stays_as_it_is() -> None:
    foreign = Identity("nginx", 0, host=Host("web1", "1"))
    assert describe(foreign) == foreign


def test_without_a_cgroup_the_rest_stays_as_it_is() -> None:
    """As what another bwtop has recorded."""
    known = Identity("nginx", 0, unit="nginx.service", container="docker:0123", pod="a")
    assert describe(known) == replace(known, user="root")


def test_identities_of_processes_long_gone_take_little_memory() -> None:
    """Each of 20,000 that live for a moment has a command line of its own."""
    describer = Describer()
    tracemalloc.start()
    try:
        for number in range(20_000):
            compiler = Identity("cc1", 0, f"cc1 -O2 file{number}.c", "/usr/bin/cc1", "/a.service")
            describer.describe(sample(identities={key(number): compiler}))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1 << 20


def test_name_that_comes_late_follows_with_a_later_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory server took 3 s for each uid, and every interval waited for it."""
    go = threading.Event()

    def slow(uid: int) -> str:
        go.wait(60)
        return f"user{uid}"

    monkeypatch.setattr(users, "look_up", slow)
    monkeypatch.setattr(users, "_PATIENCE", 0.1)
    describer = Describer()
    reading = sample(identities={KEY: Identity("curl", 1001), GONE: Identity("wget", 1002)})
    describer.describe(reading)
    assert [identity.user for identity in reading.identities.values()] == [None, None]
    describer.describe(sample(exited={GONE}))
    go.set()

    def renamed() -> dict[ProcessKey, Identity]:
        reading = sample()
        describer.describe(reading)
        return reading.identities

    found: dict[ProcessKey, Identity] = {}
    assert eventually(lambda: bool(found.update(renamed()) or found))
    assert {key: identity.user for key, identity in found.items()} == {KEY: "user1001"}
    assert renamed() == {}
