"""A fresh Debian in a folder, of the machine's own suite or another, from where the machine's apt has its packages."""

import os
import platform
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.packaging.making import run
from tests.processes import children
from tests.vm.sources import Stanza, deb822, for_suite, machine_sources

INSIDE = """
mount --bind "$0" "$0" && cd "$0" || exit
for name in proc sys dev; do mount --rbind "/$name" "$name" || exit; done
pivot_root . . && umount -l . && exec "$@"
"""
"""Runs in a mount namespace of its own: what it mounts is gone when its command has ended.

The folder becomes the root of that namespace: in a chroot, programs cannot make others.
"""

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "xterm-256color",
}

BOOT = 300
"""Seconds after which systemd will never be up."""


@dataclass(frozen=True)
class Root:
    """A Debian in a folder."""

    path: Path

    def command(self, *arguments: str) -> list[str]:
        """Return what runs a command there, as root, on this machine's kernel."""
        variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        mounted = ["unshare", "--mount", "sh", "-c", INSIDE, str(self.path)]
        return ["env", "-i", *variables, *mounted, *arguments]

    def run(self, *arguments: str) -> str:
        """Run a command, which must succeed; return its standard output."""
        return run(*self.command(*arguments))


def made(folder: Path, suite: str = "") -> Root:
    """Make a Debian, of the machine's own suite if none is named."""
    release = platform.freedesktop_os_release()["VERSION_CODENAME"]
    suite = suite or release
    sources = for_suite(machine_sources(), release, suite)
    assert sources, "this machine's apt has no source of Debian's packages"
    archive = next(deb822(sources))
    mirror = archive["uris"].split()[0]
    run("debootstrap", "--variant=minbase", *trust(archive), suite, folder, mirror)
    configure_apt(folder, sources)
    root = Root(folder)
    root.run("apt-get", "update", "-q")
    return root


def trust(archive: Stanza) -> list[str]:
    """Return the flags that tell debootstrap how apt checks the archive."""
    if archive.get("trusted") == "yes":
        return ["--no-check-gpg"]
    key = archive.get("signed-by", "")
    return [f"--keyring={key}"] if key.startswith("/") else []


def configure_apt(root: Path, sources: str) -> None:
    """Give apt these sources, the keys that they name, and the settings of the machine's apt for the network."""
    etc = root / "etc/apt"
    (etc / "sources.list").unlink(missing_ok=True)
    (etc / "sources.list.d/debian.sources").write_text(sources)
    for key in re.findall(r"^signed-by: (/.*)$", sources, re.MULTILINE):
        copy = root / key[1:]
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(key, copy)
    settings = run("apt-config", "dump").splitlines()
    wanted = re.compile(r'Acquire::(?!IndexTargets|Languages|cdrom|Changelogs)[\w:.-]+ ".')
    lines = [*(line for line in settings if wanted.match(line)), 'Acquire::Retries "5";']
    (etc / "apt.conf.d/90machine").write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Machine:
    """A booted Debian, with systemd."""

    leader: int
    """systemd's process, as this machine sees it."""

    def command(self, *arguments: str) -> list[str]:
        """Return what runs a command there as root."""
        variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        entered = ["nsenter", f"--target={self.leader}", "--all", "--"]
        return [*entered, "env", "-i", *variables, *arguments]

    def run(self, *arguments: str) -> str:
        """Run a command, which must succeed; return its standard output."""
        return run(*self.command(*arguments))

    def state(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()


NAME = "bwtop-test"

_LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")

NSPAWN = [
    *("systemd-nspawn", "--boot", f"--machine={NAME}", "--register=no", "--console=pipe"),
    *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
    "--capability=CAP_BPF,CAP_PERFMON,CAP_NET_ADMIN",
    f"--system-call-filter=bpf perf_event_open {' '.join(_LANDLOCK)}",
]
"""Boots a container with this machine's network, which may load programs into its kernel, and close files to itself."""

SETTINGS = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_USE_CGNS": "0"}
"""It sees the root of this machine's cgroups, where bwtop learns the peers of unconnected UDP."""


@contextmanager
def booted(root: Root) -> Iterator[Machine]:
    """Boot a Debian; everything that runs there has ended after the block."""
    log = root.path.with_name(f"{root.path.name}.log")
    before = cgroups()
    # Where systemd runs, it makes the container's cgroups.
    alone = [] if Path("/run/systemd/system").exists() else ["--keep-unit"]
    with log.open("w") as console:
        process = subprocess.Popen(
            [*NSPAWN, *alone, f"--directory={root.path}"],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env=os.environ | SETTINGS,
        )
    try:
        yield await_boot(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(BOOT)
        for made in cgroups() - before:
            for folder, _, _ in os.walk(made, topdown=False):
                os.rmdir(folder)


def cgroups() -> set[Path]:
    """Return the cgroups that nspawn makes within this process's, and leaves."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    ours = {line.split(":", 2)[2].strip("/") for line in lines}
    root = Path("/sys/fs/cgroup")
    within = [path for path in (root, *root.glob("*")) if path.is_dir()]
    wanted = (w / our / name for w in within for our in ours for name in ("payload", "supervisor"))
    return {path for path in wanted if path.is_dir()}


def await_boot(process: "subprocess.Popen[bytes]", log: Path) -> Machine:
    """Wait until everything is started that starts by itself; return the machine."""
    deadline = time.monotonic() + BOOT
    while time.monotonic() < deadline and process.poll() is None:
        for leader in children(process.pid):
            machine = Machine(leader)
            asked = [*machine.command("systemctl", "is-system-running")]
            said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
            if said.strip() in ("running", "degraded"):
                return machine
        time.sleep(0.5)
    raise AssertionError(f"it did not boot:\n{log.read_text()}")
