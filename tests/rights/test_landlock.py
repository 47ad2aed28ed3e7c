"""Landlock: what a process can still open; each is asked in a process of its own."""

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bwtop.rights import landlock
from bwtop.rights.account import NOBODY
from bwtop.rights.confine import confine
from tests.rights.test_privileges import in_child

pytestmark = pytest.mark.kernel


@pytest.fixture(name="place")
def _place(top: Path) -> Path:
    """Return a folder with a directory of state and a secret."""
    (top / "state").mkdir()
    (top / "state" / "old").write_text("old")
    (top / "secret").write_text("secret")
    return top


def refused(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EPERM, errno.EXDEV)
    return False


def restricted(place: Path, action: Callable[[], object]) -> Callable[[], object]:
    """Return an action restricted by Landlock alone: root keeps all its capabilities."""

    def run() -> object:
        from bwtop.rights import privileges

        privileges._prctl(privileges._PR_SET_NO_NEW_PRIVS, 1)
        assert landlock.restrict(writable=[place / "state"])
        return action()

    return run


def test_only_the_state_can_be_written(place: Path) -> None:
    def write() -> list[bool]:
        state = place / "state"
        (state / "new").write_text("new")
        (state / "old").write_text("newer")
        (state / "new").unlink()
        (state / "folder").mkdir()
        Path("/dev/null").write_text("nothing")
        return [
            refused(lambda: (place / "secret").write_text("")),
            refused(lambda: (place / "new").write_text("")),
            refused(lambda: Path("/etc/bwtop-test").write_text("")),
            refused(lambda: os.truncate(place / "secret", 0)),
            refused(lambda: (place / "secret").unlink()),
            refused(lambda: (state / "link").symlink_to("/etc")),
            refused(lambda: os.mkfifo(state / "fifo")),
            refused(lambda: os.link(place / "secret", state / "hard")),
        ]

    answer = in_child(restricted(place, write))
    abi = landlock.abi()
    assert abi >= 1
    assert answer == [True, True, True, abi >= 3, True, True, True, True]
    assert (place / "state" / "old").read_text() == "newer"


def test_only_the_systems_files_can_be_read_and_none_be_executed(place: Path) -> None:
    def look() -> list[bool]:
        (place / "state" / "old").read_text()
        Path("/etc/passwd").read_text()
        Path("/proc/self/status").read_text()
        import ftplib  # noqa: F401 - modules are imported when they are needed

        return [
            opened.read() == "secret",
            refused(lambda: (place / "secret").read_text()),
            refused(lambda: list(place.iterdir())),
            refused(lambda: list(Path("/root").iterdir())),
            refused(lambda: subprocess.run(["/bin/true"], check=True)),
        ]

    with (place / "secret").open() as opened:
        assert in_child(restricted(place, look)) == [True] * 5


def test_kernel_without_it_refuses_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    assert landlock.restrict() is False


def test_refusal_is_an_error() -> None:
    """It needs no_new_privs, or CAP_SYS_ADMIN."""

    def restrict() -> None:
        os.setresuid(65534, 65534, 65534)
        landlock.restrict()

    assert in_child(restrict) == "PermissionError"


def test_confined_process_reaches_its_database_and_nothing_else(place: Path) -> None:
    state = place / "state"
    os.chown(state, *NOBODY)
    (place / "secret").chmod(0o644)

    def work() -> list[bool]:
        confine(NOBODY, state / "deeper" / "x.db", prepare=(state / "deeper").mkdir)
        (state / "deeper" / "x.db").write_text("rows")
        return [refused(lambda: (place / "secret").read_text()), os.geteuid() == NOBODY.uid]

    assert in_child(work) == [True, True]


def test_database_that_another_bwtop_may_create_need_not_be_there(place: Path) -> None:
    assert in_child(lambda: confine(NOBODY, place / "later" / "x.db")) is None
