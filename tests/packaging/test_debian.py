"""The package in a fresh Debian: what it brings along, every mode of bwtop, the service, and what is left after it.

This takes minutes: a Debian is made, with all that bwtop depends on.  The tests of a root build on each other, in this
order.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bwtop.rights.privileges import CAP_BPF
from tests.kernel.running import HANG
from tests.kernel.test_privileges import reads_maps
from tests.packaging.debian import Machine, Root, booted
from tests.packaging.making import run
from tests.packaging.modes import MODES, SIZE, Installed, Sender, question, send, sent
from tests.processes import ran, until
from tests.web.serving import ask

pytestmark = pytest.mark.kernel

STATE = "var/lib/bwtop"
DATABASE = f"/{STATE}/history.db"
MEMBER = "ada"


@pytest.fixture(scope="module")
def root(deb: Path, fresh: Root, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """Yield a Debian with the package, installed by apt: so its dependencies are the ones that it names."""
    folder = tmp_path_factory.mktemp("debian") / "root"
    root = Root(folder)
    run("cp", "-a", fresh.path, folder)
    shutil.copy(deb, folder / "var/tmp/bwtop.deb")
    root.run("apt-get", "install", "-q", "-y", "--no-install-recommends", "/var/tmp/bwtop.deb")
    yield root
    shutil.rmtree(folder)


@pytest.mark.parametrize("check", MODES, ids=lambda check: check.__name__)
def test_mode(root: Root, check: Callable[[Installed], None]) -> None:
    check(Installed(lambda *flags: root.command("bwtop", *flags), "/root/history.db", Path("/")))


def test_python_has_compiled_it(root: Root) -> None:
    modules = list((root.path / "usr/share/bwtop/bwtop").rglob("*.py"))
    compiled = list((root.path / "usr/share/bwtop/bwtop").rglob("__pycache__/*.pyc"))
    assert len(modules) == len(compiled) > 0


def test_service_is_the_administrators_decision(root: Root) -> None:
    assert not list((root.path / "etc/systemd").rglob("*bwtop*"))
    assert not (root.path / STATE).exists()


@pytest.fixture(scope="module")
def machine(root: Root) -> Iterator[Machine]:
    """Yield that Debian booted, with a member of the group bwtop."""
    root.run("useradd", "--groups", "bwtop", MEMBER)
    root.run("useradd", "other")
    with booted(root) as running:
        yield running


def as_user(machine: Machine, user: str, *flags: str) -> list[str]:
    """Return the command that starts a user's bwtop."""
    identity = ["--reset-env", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    return machine.command("setpriv", *identity, "bwtop", *flags)


def report(machine: Machine, user: str, sender: Sender) -> subprocess.CompletedProcess[str]:
    """Report the sent bytes of a process to a user; return the finished command."""
    return ran(as_user(machine, user, *question(sender)))


def recorded(machine: Machine, sender: Sender) -> int:
    """Return the sent bytes of a process, as soon as the recorder has written them."""
    deadline = time.monotonic() + HANG
    while True:
        answer = report(machine, MEMBER, sender)
        assert answer.returncode == 0, answer.stderr
        if sent(answer.stdout) or time.monotonic() > deadline:
            return sent(answer.stdout)
        time.sleep(0.2)


@pytest.fixture(scope="module")
def service(machine: Machine) -> Machine:
    """Start the recorder.  When it fails, it restarts sooner than elsewhere."""
    drop_in = "/run/systemd/system/bwtop.service.d"
    machine.run("mkdir", "-p", drop_in)
    machine.run("sh", "-c", f"printf '[Service]\\nRestartSec=1\\n' >{drop_in}/soon.conf")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "bwtop")
    return machine


def test_boot_does_not_start_the_service(machine: Machine) -> None:
    assert machine.state("bwtop", "ActiveState") == "inactive"
    assert machine.state("bwtop", "UnitFileState") == "disabled"


def test_members_read_while_it_records_and_others_do_not(service: Machine) -> None:
    """It records what everybody moves, from a network namespace of its own: the test's process is in this machine's."""
    sender = send()
    assert recorded(service, sender) == SIZE
    assert service.state("bwtop", "ActiveState") == "active"
    refused = report(service, "other", sender)
    assert refused.returncode == 2
    assert "nothing has been recorded yet" in refused.stderr


def test_sandbox_takes_nothing_away(service: Machine, root: Root) -> None:
    """What root's bwtop cannot see here the service may not see either, and nothing else."""
    main = service.state("bwtop", "MainPID")
    said = service.run("journalctl", "--output=cat", f"_PID={main}").splitlines()
    assert [line for line in said if line.startswith(f"recording to {DATABASE} (backend: ")]
    flags = ("--batch", "-n", "1", "-d", "0.1", "--no-resolve", "--no-record")
    roots = ran(root.command("bwtop", *flags), check=True)
    lacking = {line.removeprefix("bwtop: ") for line in roots.stderr.splitlines()}
    assert {line for line in said if "recording to" not in line} == {
        line for line in lacking if "measuring (backend" not in line
    }


def test_service_has_few_privileges(service: Machine) -> None:
    """Of the three that it starts with it keeps what the kernel demands for reading maps: from 5.19 on none."""
    kept = 0 if reads_maps() else 1 << CAP_BPF
    main = service.state("bwtop", "MainPID")
    inside = service.run("cat", f"/proc/{main}/status")
    found = dict(line.split(":\t", 1) for line in inside.splitlines())
    uid = service.run("id", "-u", "bwtop").strip()
    assert found["Uid"].split() == [uid] * 4
    assert [int(found[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")] == [kept, kept, 0]
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_drop_in_of_the_examples_lets_prometheus_in(service: Machine) -> None:
    """Without it the service has no network to answer on, and says so."""
    service.run("apt-get", "install", "-q", "-y", "python3-prometheus-client")
    service.run("mkdir", "-p", "/etc/bwtop", "/run/systemd/system/bwtop.service.d")
    service.run("sh", "-c", "echo 'metrics = \"127.0.0.1:0\"' >/etc/bwtop/config.toml")
    example = "/usr/share/doc/bwtop/examples/prometheus/service.conf"
    drop_in = "/run/systemd/system/bwtop.service.d/metrics.conf"
    try:
        service.run("systemctl", "restart", "--no-block", "bwtop")
        await_line(service, r"Address family not supported by protocol: http://127\.0\.0\.1:0/$")
        service.run("cp", example, drop_in)
        service.run("systemctl", "daemon-reload")
        service.run("systemctl", "restart", "bwtop")
        port = await_line(service, r"metrics on http://127\.0\.0\.1:(\d+)/metrics$")
        assert b"\nbwtop_recording 1.0\n" in ask(int(port), "/metrics").body
    finally:
        service.run("rm", "-rf", "/etc/bwtop", drop_in)
        service.run("systemctl", "daemon-reload")
        service.run("systemctl", "restart", "bwtop")


def await_line(machine: Machine, pattern: str) -> str:
    """Wait for a line of the service's log; return the last group of the pattern."""
    deadline = time.monotonic() + HANG
    while True:
        said = machine.run("journalctl", "--output=cat", "--unit=bwtop")
        if found := re.search(pattern, said, re.MULTILINE):
            return found[found.re.groups]
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


@contextmanager
def following(machine: Machine) -> Iterator[str]:
    """Run a member's bwtop that watches; after its first interval, yield the first line of its standard error."""
    command = as_user(machine, MEMBER, "--batch", "--no-resolve", "-n", "1000")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        try:
            said = process.stderr.readline()
            assert process.stdout.readline(), said + process.stderr.read()
            yield said
        finally:
            process.kill()


def test_members_see_it_live_and_read_after_it_was_stopped_meanwhile(service: Machine) -> None:
    """Then the log stays beside the database, and nobody who may write it has it open."""
    sender = send()
    assert recorded(service, sender) == SIZE
    with following(service) as said:
        assert "watching" in said
        service.run("systemctl", "stop", "bwtop")
        assert recorded(service, sender) == SIZE
    assert recorded(service, sender) == SIZE
    service.run("systemctl", "start", "bwtop")
    assert recorded(service, sender) == SIZE


def test_members_read_after_it_was_stopped(service: Machine) -> None:
    """Then there is no log beside the database, and they may make none."""
    sender = send()
    assert recorded(service, sender) == SIZE
    service.run("systemctl", "stop", "bwtop")
    assert service.state("bwtop", "Result") == "success"
    assert recorded(service, sender) == SIZE
    service.run("systemctl", "start", "bwtop")


def test_members_read_after_it_was_killed_and_it_comes_back(service: Machine) -> None:
    """Then what was written last is in the log alone."""
    sender = send()
    assert recorded(service, sender) == SIZE
    main = service.state("bwtop", "MainPID")
    service.run("systemctl", "kill", "--signal=KILL", "bwtop")
    assert recorded(service, sender) == SIZE
    until(
        lambda: service.state("bwtop", "ActiveState") == "active",
        lambda: service.run("systemctl", "status", "bwtop"),
    )
    assert service.state("bwtop", "MainPID") != main
    assert recorded(service, sender) == SIZE


def test_service_starts_from_its_own_cache(service: Machine, root: Root) -> None:
    """A file that is written anew is another file."""

    def files() -> dict[str, tuple[int, int]]:
        found = (root.path / "var/cache/bwtop-service").iterdir()
        return {path.name: (path.stat().st_ino, path.stat().st_mode) for path in found}

    before = files()
    assert len(before) == 1
    assert {mode & 0o777 for _, mode in before.values()} == {0o600}
    service.run("systemctl", "restart", "bwtop")
    sender = send()
    assert recorded(service, sender) == SIZE
    assert files() == before


def test_upgrade_goes_on_with_recording(service: Machine) -> None:
    """And does not begin with it where it was off."""
    main = service.state("bwtop", "MainPID")
    install = ("dpkg", "--install", "/var/tmp/bwtop.deb")
    service.run(*install)
    assert service.state("bwtop", "ActiveState") == "active"
    assert service.state("bwtop", "MainPID") != main
    service.run("systemctl", "stop", "bwtop")
    service.run(*install)
    assert service.state("bwtop", "ActiveState") == "inactive"
    service.run("systemctl", "start", "bwtop")


def test_removal_stops_the_service_and_keeps_the_history(service: Machine, root: Root) -> None:
    sender = send()
    assert recorded(service, sender) == SIZE
    service.run("apt-get", "remove", "-q", "-y", "bwtop")
    assert service.state("bwtop", "ActiveState") == "inactive"
    memory = "var/lib/systemd/deb-systemd-helper-enabled/bwtop.service.dsh-also"
    history = {STATE, f"{STATE}/history.db", f"{STATE}/history.db.lock"}
    assert left(root) - {memory} == history  # Debian remembers that it was not enabled
    assert not (root.path / "usr/share/bwtop").exists()
    service.run("dpkg", "--install", "/var/tmp/bwtop.deb")
    assert recorded(service, sender) == SIZE


def test_purge_leaves_the_user_alone(machine: Machine, root: Root) -> None:
    """As Debian's system users stay: files of theirs may be anywhere."""
    machine.run("apt-get", "purge", "-q", "-y", "bwtop")
    assert left(root) == set()
    mentions = ran(["grep", "-rlw", "bwtop", root.path / "etc"])
    names = {Path(path).name.rstrip("-") for path in mentions.stdout.splitlines()}
    assert names == {"passwd", "shadow", "group", "gshadow"}


def left(root: Root) -> set[str]:
    """Return the files named after bwtop or in its state, without copied files, logs and lists of packages."""
    others = ("var/log/", "var/tmp/", "var/lib/dpkg/", "var/lib/apt/", "var/cache/apt/")
    names = (str(path.relative_to(root.path)) for path in root.path.rglob("*bwtop*"))
    inside = (str(p.relative_to(root.path)) for p in (root.path / STATE).rglob("*"))
    virtual = ("proc/", "sys/", "dev/", "run/", "tmp/")
    return {name for name in (*names, *inside) if not name.startswith((*others, *virtual))}
