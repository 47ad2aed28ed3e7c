"""The process that writes files: a real one, which has become another user."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bwtop.rights import writing
from bwtop.rights.account import Account
from bwtop.rights.privileges import described
from bwtop.rights.writing import WritingProcess, write_here
from tests.rights.test_landlock import refused
from tests.rights.test_opening import dead_folder

pytestmark = pytest.mark.kernel

ADA = Account(31234, 31235)
HOSTILE = (
    "../x.csv",
    "/tmp/x.csv",
    ".x.csv",
    "x",
    "x.csv/",
    ".bashrc",
    "x\x1b.csv",
    "x.toml",
    ".csv",
)


@pytest.fixture
def place(top: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory of the user's, and return it; beside it is one that Landlock closes."""
    for folder in (top, top / "here", top / "beside"):
        folder.mkdir(exist_ok=True)
        os.chown(folder, *ADA)
    monkeypatch.chdir(top / "here")
    return top / "here"


@pytest.fixture
def start(place: Path) -> Iterator[Callable[..., WritingProcess]]:
    running = []

    def begin(**actions: writing.Action) -> WritingProcess:
        running.append(WritingProcess(ADA, {"write": write_here, **actions}, lambda: [place]))
        return running[-1]

    yield begin
    for process in running:
        process.close()


def test_files_belong_to_the_user_and_only_to_them(
    place: Path, start: Callable[..., WritingProcess]
) -> None:
    process = start()
    process.ask("write", {"name": "a.csv"}, b"x" * 5_000_000)
    status = (place / "a.csv").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (*ADA, 0o600)
    assert status.st_size == 5_000_000
    for name in HOSTILE:
        with pytest.raises(ValueError, match="expected a name"):
            process.ask("write", {"name": name})
    assert [path.name for path in place.iterdir()] == ["a.csv"]


def test_a_file_is_overwritten_only_when_asked_for_and_links_never(
    place: Path, start: Callable[..., WritingProcess]
) -> None:
    process = start()
    process.ask("write", {"name": "a.json"}, b"old")
    (place.parent / "secret").write_text("secret")
    (place / "link.txt").symlink_to("../secret")
    (place / "folder.csv").mkdir()
    for name in ("a.json", "link.txt", "folder.csv"):
        with pytest.raises(FileExistsError):
            process.ask("write", {"name": name}, b"new")
    assert (place / "a.json").read_text() == "old"
    process.ask("write", {"name": "a.json", "replace": True}, b"new")
    process.ask("write", {"name": "b.json", "replace": True}, b"gone meanwhile")
    assert (place / "a.json").read_text() == "new"
    for name in ("link.txt", "folder.csv"):
        with pytest.raises(OSError, match="not a regular file"):
            process.ask("write", {"name": name, "replace": True}, b"new")
    assert (place.parent / "secret").read_text() == "secret"


def test_errors_are_those_of_the_user(place: Path, start: Callable[..., WritingProcess]) -> None:
    process = start()
    os.chown(place, 0, 0)
    with pytest.raises(PermissionError):
        process.ask("write", {"name": "a.csv"})
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(OSError, match="has ended; restart bwtop"):
        process.ask("write", {"name": "a.csv"})


def test_the_process_has_no_other_rights(place: Path, start: Callable[..., WritingProcess]) -> None:
    def look(_: object, __: bytes) -> None:
        found = {
            "described": described(),
            "beside": refused(lambda: Path("../beside/x.csv").write_text("x")),
            "secret": refused(lambda: Path("/etc/shadow").read_text()),
            "root": refused(lambda: os.setuid(0)),
        }
        write_here({"name": "found.json"}, json.dumps(found).encode())

    start(look=look).ask("look", {})
    found = json.loads((place / "found.json").read_text())
    assert found.pop("described") == (
        f"uid {ADA.uid}, capabilities: none, bounding set: empty, no_new_privs: yes"
    )
    assert found == {"beside": True, "secret": True, "root": True}


def test_a_file_system_that_does_not_answer_is_given_up(
    start: Callable[..., WritingProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "SECONDS", 0.2)
    process = start(hang=lambda *_: signal.pause())
    with pytest.raises(TimeoutError):
        process.ask("hang", {})


def test_end_does_not_wait_for_a_file_system(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ignores SIGKILL there, and the full screen could not be left."""
    monkeypatch.setattr(writing, "SECONDS", 0.2)
    is_asked = threading.Event()

    def write_and_end() -> None:
        process = WritingProcess(ADA, {"write": lambda *_: (place / "x.csv").stat()})
        with pytest.raises(TimeoutError):
            process.ask("write", {})
        assert is_asked.wait(30)
        process.close()

    with dead_folder(place, is_asked) as inside:
        inside(write_and_end)
