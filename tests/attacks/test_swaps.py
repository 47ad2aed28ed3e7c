"""A file or directory that becomes a link between two looks at it, some ten thousand times while bwtop starts."""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.attacks.stage import BATCH, SECRET, Stage

pytestmark = pytest.mark.kernel

STARTS = 2

LEAST = 200
"""Swaps during the starts; there are far more."""

SWAP = """
import ctypes, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
first, second = (name.encode() for name in sys.argv[1:])
AT_FDCWD, RENAME_EXCHANGE = -100, 2
count = 0

def end(*_):
    print(count, flush=True)
    raise SystemExit

signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
while True:
    if libc.renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")
    count += 1
"""

HERS = "dir=.local/state/bwtop; db=$dir/history.db; mkdir -p $dir; "

SWAPS = {
    "history": (HERS + "cp made.db $db; ln -s /etc/cron.d/zz it", ".local/state/bwtop/history.db"),
    "directory": (HERS + "ln -s /etc/cron.d it", ".local/state/bwtop"),
    "directory above": (
        HERS + "mkdir d; ln -s ~/d it; rm -r .local/state; ln -s /etc .local/state",
        ".local/state",
    ),
    "lock": (
        HERS + "touch $db.lock; ln -s /etc/cron.d/zz it",
        ".local/state/bwtop/history.db.lock",
    ),
}
"""ada's preparations, and the file that she swaps with `it`."""


@contextlib.contextmanager
def swapping(stage: Stage, name: str) -> Iterator[None]:
    """Let ada swap a file and ~/it without a pause during the block."""
    swapper = subprocess.Popen(
        stage.command("ada", "/usr/bin/python3", "-c", SWAP, name, "it"),
        stdout=subprocess.PIPE,
        text=True,
    )
    with swapper:
        assert swapper.stdout
        try:
            assert swapper.stdout.readline() == "begun\n"
            yield
            swapper.terminate()
            assert int(swapper.stdout.readline()) > LEAST
        finally:
            swapper.kill()


def began(result: subprocess.CompletedProcess[str]) -> None:
    """Check that bwtop ran and measured."""
    assert result.returncode in (0, 1), result.stderr
    assert "bwtop: measuring" in result.stderr


@pytest.mark.parametrize(("script", "name"), SWAPS.values(), ids=SWAPS)
def test_swap_under_sudo_gains_nothing(stage: Stage, script: str, name: str) -> None:
    stage.shell("ada", script)
    with stage.unchanged("/home/ada"), swapping(stage, name):
        for _ in range(STARTS):
            began(stage.sudo(*BATCH))


@pytest.mark.parametrize(
    ("script", "name", "named"),
    [
        ("cp made.db x.db; ln -s /etc/cron.d/zz it", "x.db", "/home/ada/x.db"),
        ("mkdir d; ln -s /etc/cron.d it", "d", "/home/ada/d/zz"),
        ("touch /tmp/x.db.lock; ln -s /etc/cron.d/zz it", "/tmp/x.db.lock", "/tmp/x.db"),
    ],
    ids=["history", "directory", "lock in /tmp"],
)
def test_swap_under_root_gains_nothing(stage: Stage, script: str, name: str, named: str) -> None:
    stage.shell("ada", script)
    with stage.unchanged("/home/ada", free=("/tmp",)), swapping(stage, name):
        for _ in range(STARTS):
            began(stage.run("root", "bwtop", *BATCH, "--db", named))


def test_swap_shows_no_file_of_root_s(stage: Stage) -> None:
    """Configuration files are looked at, then read: what is read is to be what was looked at."""
    stage.shell(
        "ada",
        "mkdir -p .config/bwtop; echo 'limit = 3' > .config/bwtop/config.toml;"
        " ln -s /root/settings/bwtop/config.toml it",
    )
    with stage.unchanged("/home/ada"), swapping(stage, ".config/bwtop/config.toml"):
        for _ in range(5):
            result = stage.sudo("--history")
            assert SECRET not in result.stdout + result.stderr
