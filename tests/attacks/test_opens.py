"""Files that bwtop opens while it is root: those of the system, by a list, and none that a user named.

strace follows a real sudo: each open() counts for the user that the process is at that moment.
"""

import contextlib
import os
import re
import signal
import subprocess

import pytest

from tests.attacks.stage import BATCH, HANG, TOKEN, Stage, wait_until
from tests.attacks.trace import CALLS, Named, named
from tests.processes import children
from tests.screen.terminal import Terminal

pytestmark = pytest.mark.kernel

ALLOWED = (
    *("/usr", "/proc", "/sys", "/dev/null", "/dev/tty", "/dev/pts", "/dev/random", "/dev/urandom"),
    *("/etc/bwtop", "/etc/debian_version", "/etc/group", "/etc/host.conf", "/etc/hosts"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/locale.alias"),
    *("/etc/localtime", "/etc/lsb-release", "/etc/machine-id", "/etc/nsswitch.conf"),
    *("/etc/os-release", "/etc/passwd", "/etc/python3", "/etc/python3.11", "/etc/resolv.conf"),
    *("/etc/ssl", "/var/lib/bwtop", "/var/cache/bwtop"),
)
"""Paths that root's bwtop may open, with everything below them; the compiler asks which distribution this is."""

LISTED = ("/", "/etc", "/lib", "/lib64", "/opt", "/run", "/var", "/var/cache")
"""Directories that it may open by themselves: libraries look for other compilers and for users of systemd's there, and
the way to the cache is checked step by step."""

HOME = "/home/ada"

SERVER = "clickhouse://127.0.0.1/bwtop"

MODES = {
    "batch": BATCH,
    "shipping": (*BATCH, "--ship", SERVER, "--password-file", f"{HOME}/token"),
    "named by a relative path": (*BATCH, "--db", "new/x.db", "--config", "named.toml"),
    "history": ("--history",),
    "check": ("--check",),
    "print-config": ("--print-config",),
    "record": ("--record",),
    "metrics": ("--record", "--metrics", "127.0.0.1", "--token-file", f"{HOME}/token"),
    "serve": ("--serve",),
    "screen": (),
    "demo": ("--demo",),
}
SCREENS = ("screen", "demo")
LASTING = ("record", "metrics", "serve", *SCREENS)

CONFIG = f"""\
token-file = "{HOME}/token"
chart-js = "{HOME}/chart.js"
interval = 0.5
"""

TRACE = "/var/tmp/trace"


def traced(stage: Stage, *command: str) -> list[str]:
    """Return a command that ada runs in her home, under a strace of root's."""
    return stage.command(
        "root",
        *("env", f"--chdir={HOME}"),
        *("strace", "-ff", "-y", "-qq", "-e", f"trace={CALLS}", "-e", "signal=none"),
        *("-o", TRACE, *command),
    )


def has_left_root(stage: Stage) -> bool:
    """Say whether bwtop is there, and no process of it is root."""
    pids = stage.bwtops()
    with contextlib.suppress(OSError):
        return bool(pids) and all(os.stat(f"/proc/{pid}").st_uid for pid in pids)
    return False


def parents(stage: Stage) -> list[int]:
    """Return the processes of bwtop that no other one has started: the lowest pid may be that of a child."""
    pids = stage.bwtops()
    return sorted(set(pids).difference(*map(children, pids)))


def end(stage: Stage, history: str) -> None:
    """End a bwtop that lasts, once it has left root and has a history, if one is named."""
    wait_until(lambda: has_left_root(stage), "it has left root")
    if history:
        wait_until(stage.path(history).exists, "it has opened its history")
    wait_until(lambda: len(parents(stage)) == 1, "no child ends while they are listed")
    (first,) = parents(stage)
    os.kill(first, signal.SIGTERM)
    wait_until(lambda: not stage.bwtops(), "bwtop has ended")


def run(stage: Stage, mode: str, command: list[str], history: str = "") -> None:
    """Run it to its end; see end()."""
    quiet = subprocess.DEVNULL
    if mode in SCREENS:
        with Terminal(command, env={"BWTOP_DB": ""}):
            end(stage, history)
        return
    with subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet) as process:
        try:
            if mode in LASTING:
                end(stage, history)
            process.wait(HANG)
        finally:
            stage.kill()


@pytest.fixture
def prepared(stage: Stage) -> Stage:
    """Return a stage with all files that ada can have for bwtop."""
    stage.allow_any_arguments()
    stage.shell("ada", f"umask 077; echo {TOKEN} > token; echo 'let x' > chart.js")
    stage.shell("ada", "mkdir -p .local/state/bwtop && cp made.db .local/state/bwtop/history.db")
    stage.shell("ada", f"umask 077; mkdir -p .config/bwtop; echo '{CONFIG}' > named.toml")
    stage.shell("ada", "cp -p named.toml .config/bwtop/config.toml")
    stage.shell("root", "mkdir -p /etc/bwtop; echo 'limit = 7' > /etc/bwtop/config.toml")
    return stage


NAMESPACE = re.compile(r"net:\[[0-9]+\]")
"""The target of the links in /proc/PID/ns, files of the kernel: connections are looked for in each."""


def by_root(found: list[Named]) -> list[Named]:
    return [one for one in found if one.uid == 0]


def strange(found: list[Named]) -> set[str]:
    """Return what root opened that is not on the list."""
    opened = {one for one in by_root(found) if one.opened}
    paths = {one.path for one in opened if not any(map(one.is_in, ALLOWED))} - set(LISTED)
    return {path for path in paths if not NAMESPACE.fullmatch(path)}


def hers(found: list[Named]) -> set[tuple[str, str]]:
    """Return how root named anything in ada's home, in vain or not."""
    return {(one.call, one.path) for one in by_root(found) if one.is_in(HOME)}


@pytest.mark.parametrize("mode", MODES)
def test_root_under_sudo_opens_nothing_that_a_user_named(prepared: Stage, mode: str) -> None:
    run(prepared, mode, traced(prepared, "-u", "ada", "sudo", "-n", "bwtop", *MODES[mode]))
    found = named(prepared.path(TRACE), "/usr/bin/bwtop", cwd=HOME)
    assert any(one.opened for one in by_root(found)), "root did"
    assert not strange(found)
    assert not hers(found)
    assert any(one.opened and one.uid and one.is_in(HOME) for one in found), "she did"


@pytest.mark.parametrize("mode", ["batch", "record", "serve", "screen"])
def test_root_without_sudo_opens_no_history_of_a_user_s(prepared: Stage, mode: str) -> None:
    history = f"{HOME}/new/x.db"
    command = traced(prepared, "bwtop", *MODES[mode], "--no-config", "--db", history)
    run(prepared, mode, command, history)
    found = named(prepared.path(TRACE), "/usr/bin/bwtop", cwd=HOME)
    assert not {path for path in strange(found) if path.startswith(HOME)}
    assert any(one.opened and one.uid and one.is_in(f"{HOME}/new") for one in found), "she did"
