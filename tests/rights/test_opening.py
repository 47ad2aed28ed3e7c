"""Opening paths that users named: with their rights, and as root only where root alone can write."""

import ctypes
import errno
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bwtop.rights import account, opening
from bwtop.rights.account import Account
from bwtop.rights.opening import Content, check_writers, file_id, holder, read, resolved, rights
from bwtop.sqlite import location

pytestmark = pytest.mark.kernel  # root is needed

ROOT = Account(0, 0)
ADA = Account(1234, 5678)
BOB = Account(4321, 8765)
BEHIND = {"SUDO_UID": str(ADA.uid), "SUDO_GID": str(ADA.gid)}

Made = Callable[..., Path]


def folder(path: Path, owner: Account = ROOT, mode: int = 0o755) -> Path:
    path.mkdir()
    os.chown(path, *owner)
    path.chmod(mode)
    return path


def children() -> str:
    """Return the pids of this thread's child processes, zombies too (proc_tid_children(5))."""
    return Path("/proc/thread-self/children").read_text()


@contextmanager
def redirected(descriptor: int, other: int) -> Iterator[None]:
    """Let a descriptor be another's file."""
    before = os.dup(descriptor)
    os.dup2(other, descriptor)
    try:
        yield
    finally:
        os.dup2(before, descriptor)
        os.close(before)


@contextmanager
def dead_folder(
    place: Path, is_asked: threading.Event
) -> Iterator[Callable[[Callable[[], object]], object]]:
    """Yield a caller of functions in a mount namespace of its own, where a folder is on a dead file system (FUSE).

    Its daemon takes one request, sets `is_asked`, and answers after the block.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR)
    is_over = threading.Event()

    def mount() -> None:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
        assert libc.unshare(0x20000) == 0  # CLONE_NEWNS
        assert libc.mount(None, b"/", None, 0x44000, None) == 0  # MS_REC, MS_PRIVATE
        assert libc.mount(b"dead", bytes(place), b"fuse", 0, options.encode()) == 0, (
            ctypes.get_errno()
        )

    def serve() -> None:
        version = struct.pack("=5I4HI8I", 7, 31, 0, 0, 0, 0, 0, 0, 0, 0, *[0] * 8)
        for error, answer in ((0, version), (-errno.EIO, b"")):
            (request,) = struct.unpack_from("=8xQ", os.read(device, 1 << 17))
            if error:
                is_asked.set()
                is_over.wait()
            os.write(device, struct.pack("=IiQ", 16 + len(answer), error, request) + answer)
        os.close(device)

    def reap() -> None:
        for pid in children().split():
            os.waitpid(int(pid), 0)

    with ThreadPoolExecutor(1) as inside:
        inside.submit(mount).result()
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield lambda work: inside.submit(work).result(30)
        finally:
            is_over.set()
            inside.submit(reap).result()


def file(path: Path, owner: Account = ROOT, mode: int = 0o600, text: str = "text") -> Path:
    path.write_text(text)
    os.chown(path, *owner)
    path.chmod(mode)
    return path


# With whose rights.


@pytest.mark.parametrize(
    ("whose", "mode", "expected"),
    [
        (ROOT, 0o755, None),
        (ROOT, 0o700, None),
        (ADA, 0o755, ADA),
        (ADA, 0o1777, ADA),
        (ROOT, 0o775, "service"),
        (ROOT, 0o757, "service"),
        (ROOT, 0o1777, "service"),
        (Account(0, ADA.gid), 0o770, "service"),
    ],
)
@pytest.mark.parametrize("below", ["history.db", "a/b/history.db"])
def test_first_folder_that_others_can_write_decides(
    top: Path, whose: Account, mode: int, expected: Account | str | None, below: str
) -> None:
    place = folder(top / "d", whose, mode)
    found = account.service() if expected == "service" else expected
    assert holder(place / below) == found
    assert rights(place / below, {}) == found
    assert rights(place / below, BEHIND) == ADA, "behind sudo it is the user's in any place"
    assert rights(place / below, BEHIND, named=False) == found


def test_folder_in_a_users_folder_is_the_users(top: Path) -> None:
    """She can rename it, and put another one there."""
    inner = folder(folder(top / "ada", ADA) / "roots")
    assert holder(inner / "history.db") == ADA


def test_roots_folder_in_a_sticky_one_is_roots(top: Path) -> None:
    sticky = folder(top / "tmp", mode=0o1777)
    assert holder(folder(sticky / "roots") / "history.db") is None
    assert holder(folder(sticky / "ada", ADA) / "history.db") == ADA
    file(sticky / "there")
    assert holder(sticky / "there") == account.service(), "others can create its -wal"
    (sticky / "link").symlink_to("/etc")
    os.chown(sticky / "link", *ADA, follow_symlinks=False)
    assert holder(sticky / "link" / "x.db") == ADA


def test_links_are_followed_only_where_root_made_them(top: Path) -> None:
    ada, roots = folder(top / "ada", ADA), folder(top / "roots")
    (roots / "absolute").symlink_to(ada)
    (roots / "relative").symlink_to("../ada")
    (roots / "chained").symlink_to("relative")
    (roots / "dangling").symlink_to(ada / "nothing")
    (roots / "up").symlink_to("..")
    (ada / "back").symlink_to(roots)
    for name in ("absolute", "relative", "chained", "dangling", "up/ada"):
        assert holder(roots / name / "x.db") == ADA, name
    assert holder(roots / "up" / "roots" / "x.db") is None
    assert holder(ada / "back" / "x.db") == ADA, "hers to change"
    (roots / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        holder(roots / "loop")


def test_file_is_no_folder(top: Path) -> None:
    assert holder(file(top / "file") / "x.db") is None, "the kernel says what is wrong"
    assert holder(Path("/")) is None


def test_relative_path_begins_here(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder(top / "ada", ADA))
    assert holder(Path("x.db")) == holder(Path("a/../x.db")) == ADA
    assert holder(Path("../x.db")) == ADA, "where .. leads is hers to change"


# Reading.


def test_file_is_read_as_the_user(top: Path) -> None:
    hers, roots = file(top / "hers", ADA, 0o640), file(top / "roots")
    assert read(hers, 10, ADA) == Content(b"text", 0o100640, ADA.uid)
    assert read(roots, 10, None) == Content(b"text", 0o100600, 0)
    for path in (roots, file(top / "bobs", BOB)):
        with pytest.raises(PermissionError) as caught:
            read(path, 10, ADA)
        assert (caught.value.strerror, caught.value.filename) == ("Permission denied", str(path))
    (top / "link").symlink_to(roots)
    with pytest.raises(PermissionError):
        read(top / "link", 10, ADA)
    with pytest.raises(FileNotFoundError):
        read(top / "none", 10, ADA)
    assert os.geteuid() == 0


@pytest.mark.parametrize("who", [None, ADA])
def test_only_regular_files_of_a_size_are_read(top: Path, who: Account | None) -> None:
    """And none of the others makes anyone wait."""
    os.mkfifo(top / "fifo", 0o666)
    (top / "fifo").chmod(0o666)
    (top / "link").symlink_to("fifo")
    (top / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(top / "socket"))
        (top / "socket").chmod(0o777)
        devices = Path("/dev/zero"), Path("/dev/tty")
        others = top / "fifo", top / "socket", top / "link", top / "loop"
        words = r"not a regular file|No such device|Is a directory|Too many levels"
        for path in (*others, *devices, folder(top / "d")):
            with pytest.raises(OSError, match=words):
                read(path, 10, who)
    large = file(top / "large", mode=0o644, text="x" * 11)
    assert read(large, 11, who).data == b"x" * 11
    with pytest.raises(OSError, match="larger than 10 bytes"):
        read(large, 10, who)
    assert read(file(top / "empty", mode=0o644, text=""), 10, who).data == b""
    lines = file(top / "lines", mode=0o644, text='{"errno": 1}\n\n')
    assert read(lines, 100, who).data == b'{"errno": 1}\n\n'


def test_file_that_never_answers_is_given_up(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SECONDS", 0.2)
    monkeypatch.setattr(opening, "_DEATH", 60.0)
    monkeypatch.setattr(opening, "_read", lambda *_: time.sleep(60))
    before = children()
    with pytest.raises(OSError, match="does not answer"):
        read(file(top / "x", ADA), 10, ADA)
    assert children() == before


def test_process_that_a_file_system_holds_is_left_behind(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ignores SIGKILL once the daemon of FUSE has its request, and bwtop waited for its end."""
    is_asked, received = threading.Event(), opening._received

    def received_after_the_request(*arguments: Any) -> bytes:
        assert is_asked.wait(30)
        return received(*arguments)

    monkeypatch.setattr(opening, "_received", received_after_the_request)
    monkeypatch.setattr(opening, "SECONDS", 0.2)
    output, stdout = os.pipe()
    with dead_folder(folder(top / "dead"), is_asked) as inside:
        with redirected(1, stdout):
            os.close(stdout)
            with pytest.raises(OSError, match="does not answer"):
                inside(lambda: read(top / "dead/x", 10, ADA))
        assert inside(children)
        assert select.select([output], [], [], 30)[0], "no one else waits for it either"
    os.close(output)


def test_file_that_is_standard_input_is_read(top: Path) -> None:
    with file(top / "x", mode=0o644).open() as opened, redirected(0, opened.fileno()):
        assert read(Path("/dev/stdin"), 10, ADA).data == b"text"


def test_user_that_cannot_be_become_reads_nothing(top: Path) -> None:
    with pytest.raises(OSError, match="cannot be read as uid"):
        read(file(top / "x"), 10, ROOT)


def test_path_is_resolved_as_the_user(top: Path) -> None:
    closed = folder(top / "closed", mode=0o700)
    (closed / "link").symlink_to("/etc")
    assert resolved(closed / "link" / "x", None) == Path("/etc/x")
    assert resolved(closed / "link" / "x", ADA) == closed / "link" / "x", "she cannot see the link"
    (top / "link").symlink_to("nothing/there")
    assert resolved(top / "link", ADA) == top / "nothing" / "there"


@pytest.mark.parametrize(
    ("uid", "mode", "words"),
    [
        (0, 0o644, ""),
        (ADA.uid, 0o600, ""),
        (BOB.uid, 0o600, "belongs to uid 4321"),
        (ADA.uid, 0o660, "run: chmod go-w"),
        (0, 0o602, "run: chmod go-w"),
    ],
)
def test_root_believes_what_only_trusted_users_can_write(uid: int, mode: int, words: str) -> None:
    content = Content(b"", 0o100000 | mode, uid)
    if words:
        with pytest.raises(PermissionError, match=words):
            check_writers(Path("/x"), content, [ADA.uid])
    else:
        check_writers(Path("/x"), content, [ADA.uid])


# The history.


@pytest.fixture(name="system")
def _system(monkeypatch: pytest.MonkeyPatch, top: Path) -> Path:
    path = top / "var" / "history.db"
    monkeypatch.setattr(location, "SYSTEM", path)
    return path


def test_history_is_opened_with_the_users_rights(top: Path, system: Path) -> None:
    folder(top / "home", ADA)
    (top / "home" / "x.db").symlink_to("/etc/sudoers.d/x")
    named = location.place(top / "home" / "x.db", BEHIND)
    assert named == location.Place(Path("/etc/sudoers.d/x"), ADA)
    assert location.place(None, {**BEHIND, "BWTOP_DB": str(top / "r.db")}).account == ADA


def test_services_history_is_opened_with_the_services_rights(top: Path, system: Path) -> None:
    folder(system.parent, BOB)
    file(system, BOB)
    assert location.place(None, BEHIND) == location.Place(system, BOB)
    assert location.place(system, BEHIND) == location.Place(system, ADA), "she named it"
    assert location.place(None, {**BEHIND, "BWTOP_DB": str(system)}).account == ADA
    assert location.place(None, {}) == location.Place(system, BOB)
    os.chown(system.parent, 0, 0)
    assert location.place(None, BEHIND) == location.Place(system, None), "root's alone"


def test_file_id_is_the_same_by_every_path_and_descriptor(tmp_path: Path) -> None:
    first, other, link = tmp_path / "first", tmp_path / "other", tmp_path / "link"
    first.touch()
    other.touch()
    link.symlink_to(first)
    with first.open() as file:
        assert file_id(first) == file_id(link) == file_id(file.fileno())
    assert file_id(first) != file_id(other)
    with pytest.raises(FileNotFoundError):
        file_id(tmp_path / "none")
