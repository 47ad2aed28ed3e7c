"""The helper: its rights, its end, and names of containers from the running program."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bwtop.capture.cgroups import v2_root
from bwtop.containers import folders, helper, names
from bwtop.containers.formats import Named
from bwtop.containers.names import ContainerNames
from bwtop.identity.units import ContainerKey
from bwtop.rights import landlock, privileges
from bwtop.rights.account import Account
from bwtop.rights.privileges import CAP_DAC_READ_SEARCH
from tests.build import eventually
from tests.containers import engines
from tests.kernel.running import HANG, Bwtop, Document, command, run, send_datagram
from tests.processes import capability_sets, family, is_alive, ran, status
from tests.rights.test_landlock import refused
from tests.rights.test_privileges import capabilities, in_child

pytestmark = pytest.mark.kernel

ADA = Account(1234, 1234)
ID = "a" * 64
KEY = ContainerKey(0, ID)
STORAGE = "/var/lib/containers/storage/overlay-containers"


@pytest.fixture(autouse=True)
def _storage() -> Iterator[None]:
    """Make podman's folder where the machine has none: a helper without any folder ends."""
    folder = Path(STORAGE)
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    yield
    for one in made:
        with suppress(OSError):  # podman has put something there meanwhile
            one.rmdir()


def mounted(root: Path) -> list[str]:
    """Return what to put before a command that finds podman's folders of `root` at their place."""
    place = "/var/lib/containers"
    Path(place).mkdir(exist_ok=True)
    return [
        "unshare",
        "--mount",
        "sh",
        "-c",
        f'mount --bind {root}{place} {place} && exec "$@"',
        "sh",
    ]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a helper that starts late."""
    monkeypatch.setattr(names, "PATIENCE", HANG)


@pytest.mark.usefixtures("patient")
def test_helper_has_one_right_and_reads_it_back() -> None:
    found = ContainerNames(ADA)
    try:
        hello = found.hello()
        fields, sets = status(found.pid), capability_sets(found.pid)
    finally:
        found.close()
    assert hello
    assert (
        hello.rights
        == "uid 1234, capabilities: CAP_DAC_READ_SEARCH, bounding set: empty, no_new_privs: yes"
    )
    assert hello.is_restricted
    assert STORAGE in hello.folders
    assert fields["Uid"].split() == ["1234"] * 4
    assert fields["NoNewPrivs"] == "1"
    assert sets == capabilities(CAP_DAC_READ_SEARCH)


def test_confined_helper_reads_its_folders_and_nothing_else(root: Path) -> None:
    """Another user's secret without the right; with it only what Landlock leaves."""
    inside, outside = root / "inside", root / "outside"
    for folder in (inside, outside):
        folder.mkdir(mode=0o700)
        (folder / "secret").write_text("secret")
        (folder / "secret").chmod(0o600)

    def look() -> list[bool]:
        privileges.drop(ADA, keep=[CAP_DAC_READ_SEARCH])
        before = (outside / "secret").read_text() == "secret"
        assert landlock.restrict(readable=[inside], system=False)
        return [
            before,
            (inside / "secret").read_text() == "secret",
            refused((outside / "secret").read_text),
            refused(Path("/etc/passwd").read_text),
            refused(Path("/etc/shadow").read_text),
            refused(Path("/proc/self/status").read_text),
            refused(lambda: os.listdir("/")),
            refused(lambda: (inside / "new").write_text("")),
            refused(lambda: (inside / "secret").write_text("")),
            refused(lambda: Path("/dev/null").write_text("")),
            refused(lambda: os.execv("/bin/true", ["true"])),
        ]

    assert in_child(look) == [True] * 11


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("stopped", [False, True])
def test_helper_ends_with_its_parent(stopped: bool) -> None:
    """The kernel ends one that is stuck, too, although its parent has dropped root."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        found = ContainerNames(ADA)
        privileges.drop(ADA)
        found.hello()
        if stopped:
            os.kill(found.pid, signal.SIGSTOP)
        os.write(writing, str(found.pid).encode())
        signal.pause()
    os.close(writing)
    with os.fdopen(reading) as pipe:
        started = int(os.read(pipe.fileno(), 20))
    assert Path(f"/proc/{started}").exists()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert eventually(lambda: not is_alive(started))


def test_helper_that_cannot_be_killed_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL does not end a process that waits for a dead file system."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, subprocess.Popen(["sleep", "20"]) as stuck:
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", lambda *_: None)
            helper.Helper(stuck.pid, ours).close()
        assert stuck.poll() is None
        stuck.kill()


@pytest.mark.usefixtures("patient")
def test_helper_keeps_no_descriptor_and_no_signal_of_a_terminal() -> None:
    with TemporaryDirectory() as folder, socket.socket() as listening:
        file = os.open(folder, os.O_RDONLY)
        os.set_inheritable(listening.fileno(), True)
        found = ContainerNames(ADA)
        try:
            hello = found.hello()
            assert hello
            kept = [
                os.readlink(f"/proc/{found.pid}/fd/{n}")
                for n in os.listdir(f"/proc/{found.pid}/fd")
            ]
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
                os.kill(found.pid, number)
            time.sleep(0.1)
            assert eventually(lambda: status(found.pid)["State"][0] == "S"), (
                "neither ended nor stopped"
            )
        finally:
            found.close()
            os.close(file)
    sockets = [path for path in kept if path.startswith("socket:")]
    assert len(sockets) == 1
    assert set(kept) - {*sockets, "/dev/null"} == {*hello.folders}


def test_without_folders_there_is_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "opened", list)
    found = ContainerNames(ADA)
    try:
        found.greet()
        assert eventually(lambda: not Path(f"/proc/{found.pid}").exists()), "nor is it defunct"
        assert found.hello() is None
        assert (found.get(KEY), found.is_known(KEY)) == (None, True)
        found.wait([KEY], HANG)
    finally:
        found.close()


def test_program_without_folders_has_no_defunct_child() -> None:
    places = "/var/lib/containers /var/lib/docker /var/log/containers /var/log/pods"
    hide = (
        f'for place in {places}; do [ ! -d $place ] || mount -t tmpfs none $place; done; exec "$@"'
    )
    with Bwtop(prefix=["unshare", "--mount", "sh", "-c", hide, "sh"]) as bwtop:
        bwtop.settle()
        pid = bwtop.process.pid
        assert eventually(lambda: all(map(is_alive, family(pid)))), "the helper has ended"


def test_answers_are_checked_and_late_ones_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper has read what users write."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fake = helper.Helper(0, ours)
    monkeypatch.setattr(helper, "start", lambda _: fake)
    monkeypatch.setattr(helper.Helper, "close", lambda _: ours.close())
    monkeypatch.setattr(names, "AGE", 0.0)
    found = ContainerNames(ADA)

    def told(*answers: list[object]) -> Named | None:
        asking = threading.Thread(target=found.wait, args=[[KEY], HANG])  # asks once
        asking.start()
        number = json.loads(theirs.recv(1 << 12))[0]
        for answer in answers:
            theirs.send(json.dumps([number + answer[0], *answer[1:]]).encode())
        asking.join()
        return found._last.get(KEY)

    try:
        assert told([0, "web", "nginx"]) == Named("web", "nginx")
        assert told([-1, "late", None], [0, "db", "a\x1bb"]) == Named("db")
        assert told([0, "\x1b[2J", None]) == Named("db"), "as if it had gone"
        assert told([0]) == Named("db"), "a container that has gone keeps its name"
    finally:
        found.close()
        theirs.close()


def test_program_names_containers_and_only_the_helper_may_read_their_files(root: Path) -> None:
    """From podman's own storage; renamed while it runs, and recorded under both names."""
    podman = engines.podman(root)
    id_ = podman.create("nginx-proxy")
    database = root / "history.db"
    top = v2_root()
    assert top, "this machine has no cgroup v2"
    groups = [Path(top) / f"libpod-{one}" for one in (id_, ID)]
    for group in groups:
        group.mkdir(exist_ok=True)  # after a run that was killed

    def inside(group: Path = groups[0]) -> None:
        (group / "cgroup.procs").write_text("0")
        send_datagram(9, 1009)

    def named(bwtop: Bwtop, name: str) -> Document:
        """Return a process of the container that has this name of it: a name comes with a later process if it is late."""
        deadline = time.monotonic() + HANG
        while True:
            found = bwtop.await_entries(run(inside), 1)[0]
            if found["container_name"] == name:
                return found
            assert time.monotonic() < deadline, f"it is never named {name}"
            time.sleep(0.2)

    try:
        with Bwtop("--db", str(database), prefix=mounted(root)) as bwtop:
            before = named(bwtop, "nginx-proxy")
            readers = [
                pid
                for pid in family(bwtop.process.pid)
                if CAP_DAC_READ_SEARCH in capability_sets(pid)["CapPrm"]
            ]
            main = capability_sets(bwtop.process.pid)
            os.kill(readers[0], signal.SIGSTOP)
            count = len(bwtop.documents)
            stuck = bwtop.await_entries(run(inside), 1)[0]
            unnamed = bwtop.await_entries(run(lambda: inside(groups[1])), 1)[0]
            assert eventually(lambda: len(bwtop.documents) > count + 10), "it waits for nothing"
            os.kill(readers[0], signal.SIGCONT)
            podman.run("rename", "nginx-proxy", "old-proxy")
            named(bwtop, "old-proxy")
    finally:
        for group in groups:
            group.rmdir()
    assert before["container"] == f"podman:{id_[:12]}"
    assert before["image"] == f"localhost/{engines.IMAGE}"
    assert stuck["container_name"] == "nginx-proxy"
    assert (unnamed["container"], unnamed["container_name"]) == (f"podman:{ID[:12]}", None)
    assert len(readers) == 1
    assert CAP_DAC_READ_SEARCH not in main["CapPrm"]
    report = command(
        "--history", "1h", "--by", "container", "--db", str(database), "--format", "json"
    )
    rows = json.loads(ran(report, check=True).stdout)["rows"]
    found = {(row["container_name"], row["runtime"], row["container_id"]) for row in rows}
    ours = {row for row in found if row[0] or row[2] == f"podman:{ID[:12]}"}
    assert ours == {
        ("nginx-proxy", "podman", None),
        ("old-proxy", "podman", None),
        (None, "podman", f"podman:{ID[:12]}"),
    }


def test_no_container_names_starts_no_helper() -> None:
    with Bwtop("--no-container-names") as bwtop:
        assert family(bwtop.process.pid) == [bwtop.process.pid]
