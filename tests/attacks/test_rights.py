"""Rights of every process of bwtop once it has started, as the kernel reports them: none that its user does not have.

Screen and demo keep CAP_KILL, one process that reads the names of containers CAP_DAC_READ_SEARCH, and kernels before 5.19 may demand a capability for reading maps.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bwtop.rights.privileges import CAP_BPF, CAP_DAC_READ_SEARCH, CAP_KILL
from tests.attacks.stage import HANG, TICK, TOKEN, Stage, wait_until
from tests.kernel.test_privileges import reads_maps
from tests.processes import bits, children, is_alive, status
from tests.screen.terminal import Terminal

pytestmark = pytest.mark.kernel

LASTING = 0.5
"""Seconds in which a process that has left root does not have it again."""

LOADED = (0.0, 0.1, 0.2)
"""Seconds for which a loader has compiled when it is stopped, of the seconds that it takes."""

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

SERVER = "clickhouse://127.0.0.1/bwtop"

MODES = {
    "batch": ("--batch", "-d", "0.3"),
    "not recording": ("--batch", "-d", "0.3", "--no-record"),
    "shipping": ("--batch", "-d", "0.3", "--ship", SERVER, "--password-file", "/home/ada/token"),
    "record": ("--record",),
    "metrics": ("--record", "--metrics", "127.0.0.1", "--token-file", "/home/ada/token"),
    "serve": ("--serve", "--token-file", "/home/ada/token"),
    "screen": (),
    "demo": ("--demo",),
    "history": ("--history",),
    "check": ("--check",),
}
SCREENS = ("screen", "demo")
NAMING = {CAP_DAC_READ_SEARCH}
"""Capabilities of the process that reads the names of containers."""

PRINTING = ("history", "check")
"""They end by themselves, and are looked at when they print: into a pipe that is full."""


def fields(pid: int) -> list[dict[str, list[str]]]:
    """Return /proc/PID/status of each thread; none where the process has ended."""
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            thread = status(f"{pid}/task/{task}")
            found.append({name: text.split() for name, text in thread.items()})
    return found


def excess(pid: int, owner: tuple[int, int], kept: set[int]) -> list[str]:
    """Say what a process has that it should not have."""
    found = []
    for thread in fields(pid):
        if thread["State"][0] in "ZX":
            continue
        for name, expected in zip(("Uid", "Gid"), owner, strict=True):
            if thread[name] != [str(expected)] * 4:
                found.append(f"{name} {thread[name]}")
        if "0" in thread["Groups"]:
            found.append(f"Groups {thread['Groups']}")
        for name in SETS:
            allowed = kept if name in ("CapPrm", "CapEff") else set()
            if set(held := bits(*thread[name])) != allowed:
                found.append(f"{name} {held[:8]}")
        if thread["NoNewPrivs"] != ["1"]:
            found.append("NoNewPrivs 0")
    return [f"{pid}: {text}" for text in found]


def holds(pid: int) -> set[int]:
    """Return what all threads of a process may do."""
    return {bit for thread in fields(pid) for bit in bits(*thread["CapPrm"])}


def ids(stage: Stage, user: str) -> tuple[int, int]:
    uid, gid = stage.shell("root", f"id -u {user}; id -g {user}").split()
    return int(uid), int(gid)


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """Yield the writing end of a full pipe: a write to it blocks."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(1))
    os.set_blocking(writing, True)
    try:
        yield writing
    finally:
        os.close(writing)
        os.close(reading)


def has_written(stage: Stage) -> bool:
    """Say whether bwtop waits for its reader."""
    with contextlib.suppress(OSError):
        return any("pipe_write" in Path(f"/proc/{p}/wchan").read_text() for p in stage.bwtops())
    return False


@contextlib.contextmanager
def running(stage: Stage, mode: str, command: list[str]) -> Iterator[Callable[[], bool]]:
    """Run bwtop as its mode needs it; yield a function that returns True once it has started and can be examined."""
    try:
        if mode in SCREENS:
            with Terminal(command, env={"BWTOP_DB": ""}) as terminal:
                yield lambda: bool(terminal.text())
        elif mode in PRINTING:
            with full_pipe() as pipe, started(command, pipe):
                yield lambda: has_written(stage)
        else:
            with started(command, subprocess.DEVNULL):
                yield lambda: bool(stage.bwtops())
    finally:
        stage.kill()


@contextlib.contextmanager
def started(command: list[str], out: int) -> Iterator[None]:
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


def check(stage: Stage, mode: str, command: list[str], owner: tuple[int, int]) -> None:
    """Fail if any process of bwtop has more than it should when it has started, or again afterwards."""
    kept = {CAP_KILL} if mode in SCREENS else set()
    if mode != "history" and not reads_maps():
        kept.add(CAP_BPF)

    def found() -> list[str]:
        pids = stage.bwtops()
        started = {child for pid in pids for child in children(pid)}
        helper = next((pid for pid in started if holds(pid) == NAMING), 0)
        allowed = {pid: NAMING if pid == helper else set() for pid in started}
        return [text for pid in pids for text in excess(pid, owner, allowed.get(pid, kept))]

    with running(stage, mode, command) as is_there:
        wait_until(is_there, "bwtop has begun")
        deadline = time.monotonic() + HANG
        while found():
            assert time.monotonic() < deadline, found()
            time.sleep(TICK)
        assert stage.bwtops(), "bwtop has ended"
        lasting = time.monotonic() + LASTING
        while time.monotonic() < lasting:
            assert not found()
            time.sleep(TICK)
        assert stage.bwtops(), "bwtop has ended"


@pytest.fixture
def prepared(stage: Stage) -> Stage:
    """Return a stage with a history for ada and for root, and a token that both may read."""
    stage.allow_any_arguments()
    stage.shell("ada", f"umask 077; echo {TOKEN} > token; mkdir -p .local/state/bwtop")
    stage.shell("ada", "cp made.db .local/state/bwtop/history.db")
    stage.shell("root", "rm -rf .local/state/bwtop && mkdir -p .local/state/bwtop")
    stage.shell("root", "install -m 600 ~ada/made.db .local/state/bwtop/history.db")
    return stage


@pytest.mark.parametrize("mode", MODES)
def test_under_sudo_all_of_it_is_the_user(prepared: Stage, mode: str) -> None:
    command = prepared.command("ada", "sudo", "-n", "bwtop", *MODES[mode])
    check(prepared, mode, command, ids(prepared, "ada"))


@pytest.mark.parametrize("mode", MODES)
def test_under_root_none_of_it_is_root(prepared: Stage, mode: str) -> None:
    """It is the system user bwtop's."""
    prepared.shell("root", "useradd --system --no-create-home bwtop")
    command = prepared.command("root", "bwtop", *MODES[mode])
    check(prepared, mode, command, ids(prepared, "bwtop"))


def test_without_a_system_user_it_is_nobody(prepared: Stage) -> None:
    command = prepared.command("root", "bwtop", *MODES["batch"])
    check(prepared, "batch", command, ids(prepared, "nobody"))


def test_history_of_a_user_makes_root_that_user(prepared: Stage) -> None:
    command = prepared.command("root", "bwtop", *MODES["batch"], "--db", "/home/ada/new.db")
    check(prepared, "batch", command, ids(prepared, "ada"))


def test_group_behind_sudo_is_never_root_s(prepared: Stage) -> None:
    """It starts without, or does not start."""
    variables = {"SUDO_UID": str(ids(prepared, "ada")[0]), "SUDO_GID": "0", "SUDO_USER": "ada"}
    command = prepared.command("root", "bwtop", *MODES["batch"], env=variables)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        wait_until(lambda: not zeros(prepared), "no process of it is root's")
        prepared.kill()
        _, err = process.communicate()
    assert line or (process.returncode == 2 and err.count("\n") == 1)


def zeros(stage: Stage) -> list[tuple[int, str]]:
    """Return the processes of bwtop that are root's in anything."""
    return [
        (pid, name)
        for pid in stage.bwtops()
        for thread in fields(pid)
        for name in ("Uid", "Gid", "Groups")
        if "0" in thread[name]
    ]


# The loader


def busy(pid: int) -> bool:
    """Say whether a process has used the processor for a while, and so has come to what it is for."""
    try:
        numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(numbers[11]) + int(numbers[12]) >= 2


def loader(parent: int) -> int:
    """Return the child of bwtop's that compiles; 0: none does now."""
    found = [
        pid
        for pid in children(parent)
        if busy(pid) and any(thread["Uid"][1] == "0" for thread in fields(pid))
    ]
    return found[0] if found else 0


def test_loader_ends_with_its_parent(stage: Stage) -> None:
    """Found: it was alive 2.5 seconds after `kill -9` of that.

    It compiles, and is stopped before, at another point of its work each time, so that it cannot end by itself; being
    killed works nevertheless.
    """
    assert not any(loader_survives(stage, seconds) for seconds in LOADED)


def loader_survives(stage: Stage, seconds: float) -> bool:
    """Say whether a loader that has worked for so long is still there after its parent was killed.

    Where this process is held up the loader may have ended by then, so there are some attempts.
    """
    for _ in range(5):
        if child := stopped_loader(stage, seconds):
            try:
                return not ended(child)
            finally:
                stage.kill()
    raise AssertionError("it compiles no longer")


def stopped_loader(stage: Stage, seconds: float) -> int:
    """Stop a loader that has worked for so long, and kill its parent; return its pid, 0 if it had ended."""
    command = stage.command("root", "bwtop", "--batch", "--no-record", "--no-cache")
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            wait_until(lambda: loader(process.pid), "it loads")
            time.sleep(seconds)
            child = loader(process.pid)
            if child:
                os.kill(child, signal.SIGSTOP)
            return child
        finally:
            process.kill()


def ended(pid: int) -> bool:
    """Say whether a process has ended within HANG seconds."""
    deadline = time.monotonic() + HANG
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(TICK)
    return True
