"""A folder of bwtop's own: what another user could have changed on the way to it, or in it, is not believed."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bwtop.rights import private

OTHER = 65534
MOST = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the path of a private folder with a file in it."""
    path = tmp_path / "above" / "own"
    path.parent.mkdir(mode=0o755)
    with private.opened(path, create=True) as descriptor:
        private.replace(descriptor, "it", b"content")
    return path


def content(folder: Path) -> bytes:
    with private.opened(folder) as descriptor:
        return private.read(descriptor, "it", MOST)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_this_user_has_access_to_it(folder: Path) -> None:
    assert content(folder) == b"content"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "it").stat().st_mode & 0o777 == 0o600


def test_only_the_last_folder_of_a_path_is_created(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError),
        private.opened(tmp_path / "missing" / "own", create=True),
    ):
        pass
    assert names(tmp_path) == []
    with pytest.raises(FileNotFoundError), private.opened(tmp_path / "own"):
        pass
    assert names(tmp_path) == []


def linked(path: Path) -> None:
    there = path.with_name("there")
    path.rename(there)
    path.symlink_to(there)


def as_file(path: Path) -> None:
    path.rename(path.with_name("there"))
    path.touch()


def linked_within(path: Path) -> None:
    (path / "it").rename(path / "there")
    (path / "it").symlink_to("there")


def as_fifo(path: Path) -> None:
    (path / "it").unlink()
    os.mkfifo(path / "it", 0o600)


def as_folder(path: Path) -> None:
    (path / "it").unlink()
    (path / "it").mkdir(mode=0o700)


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "folder is a link": (linked, "not a directory, or a link"),
    "folder above is a link": (lambda path: linked(path.parent), "not a directory, or a link"),
    "folder is a file": (as_file, "not a directory"),
    "folder of another": (lambda path: os.chown(path, OTHER, 0), "belongs to uid 65534"),
    "folder above of another": (
        lambda path: os.chown(path.parent, OTHER, 0),
        "belongs to uid 65534",
    ),
    "folder that its group can write": (lambda path: path.chmod(0o720), "other users have access"),
    "folder that others can read": (lambda path: path.chmod(0o704), "other users have access"),
    "folder above that all can write": (
        lambda path: path.parent.chmod(0o777),
        "other users have access",
    ),
    "file is a link": (linked_within, "symbolic link"),
    "file of another": (lambda path: os.chown(path / "it", OTHER, 0), "belongs to uid 65534"),
    "file that its group can write": (
        lambda path: (path / "it").chmod(0o620),
        "other users have access",
    ),
    "file that others can read": (
        lambda path: (path / "it").chmod(0o604),
        "other users have access",
    ),
    "FIFO": (as_fifo, "not a regular file"),
    "folder in place of the file": (as_folder, "not a regular file"),
    "too large": (lambda path: (path / "it").write_bytes(bytes(MOST + 1)), "larger than 100 bytes"),
}
"""Attacks on the folder, and the reasons why it is not believed then."""


@pytest.mark.kernel
@pytest.mark.parametrize(("attack", "reason"), ATTACKS.values(), ids=ATTACKS)
def test_what_another_could_have_changed_is_refused(
    folder: Path, attack: Callable[[Path], object], reason: str
) -> None:
    attack(folder)
    with pytest.raises(OSError, match=re.escape(reason)):
        content(folder)


def test_sticky_folder_above_is_accepted(folder: Path) -> None:
    """As /tmp: nobody can put another folder in the place of one that is not theirs."""
    folder.parent.chmod(0o1777)
    assert content(folder) == b"content"


@pytest.fixture
def opened(folder: Path) -> Iterator[int]:
    with private.opened(folder) as descriptor:
        yield descriptor


def test_replaced_file_is_complete_or_as_before(folder: Path, opened: int) -> None:
    (folder / "it.new").write_bytes(b"unfinished, of a process that was killed")
    private.replace(opened, "it", b"other")
    assert (content(folder), names(folder)) == (b"other", ["it"])


def test_link_in_place_of_a_file_is_replaced_and_not_followed(folder: Path, opened: int) -> None:
    victim = folder.parent / "victim"
    victim.write_text("mine")
    for name in ("it", "it.new"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(victim)
    private.replace(opened, "it", b"other")
    assert (content(folder), victim.read_text()) == (b"other", "mine")


def test_failed_replacement_leaves_nothing(folder: Path, opened: int) -> None:
    as_folder(folder)
    with pytest.raises(OSError, match="directory"):
        private.replace(opened, "it", b"other")
    assert names(folder) == ["it"]
