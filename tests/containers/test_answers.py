"""Names from folders that podman made, and from hostile ones."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bwtop.containers import answers, folders, formats
from bwtop.containers.answers import Answers
from bwtop.containers.folders import MOST_BYTES
from bwtop.containers.formats import Named
from bwtop.containers.places import FolderKind
from bwtop.identity.units import ContainerKey
from tests.build import eventually
from tests.containers import engines
from tests.containers.engines import IMAGE, opened

pytestmark = pytest.mark.kernel

ID, OTHER = "a" * 64, "b" * 64
UID = "8a4c1b9e-03d2-4f5e-9a77-1c2b3d4e5f60"
ADA, BOB = 1234, 1235
STORAGE = ".local/share/containers/storage/overlay-containers"


@pytest.fixture(autouse=True)
def _always_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LOOK", 0.0)


def test_names_are_podmans_own_through_rename_removal_and_reuse(root: Path) -> None:
    podman = engines.podman(root)
    web, db = podman.create("web"), podman.create("db")
    with opened(root) as found:
        known = Answers(found)
        assert [(one.kind, one.owner) for one in found] == [(FolderKind.PODMAN, 0)]
        assert known.answer(ContainerKey(0, web)) == Named("web", f"localhost/{IMAGE}")
        assert known.answer(ContainerKey(0, db)) == Named("db", f"localhost/{IMAGE}")
        assert known.answer(ContainerKey(ADA, web)) is None, "the system's storage is not hers"
        podman.run("rename", "web", "old")
        new = podman.create("web")
        assert eventually(lambda: name(known, new) == "web")
        assert name(known, web) == "old"
        podman.run("rm", "old")
        assert eventually(lambda: name(known, web) is None)


def name(known: Answers, id_: str, owner: int = 0) -> str | None:
    found = known.answer(ContainerKey(owner, id_))
    return found and found.name


def test_file_that_does_not_change_is_read_once(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = engines.docker(root, ID, "web")
    os.utime(file, (1, 1))
    parsed: list[bytes] = []
    monkeypatch.setattr(formats, "of_docker", lambda content: parsed.append(content))
    with opened(root) as found:
        known = Answers(found)
        for _ in range(3):
            known.answer(ContainerKey(0, ID))
    assert len(parsed) == 1


def test_docker_renames_by_another_file(root: Path) -> None:
    engines.docker(root, ID, "web")
    with opened(root) as found:
        known = Answers(found)
        assert known.answer(ContainerKey(0, ID)) == Named("web", "nginx:1.25")
        engines.docker(root, ID, "old")
        assert name(known, ID) == "old"
        shutil.rmtree(root / "var/lib/docker/containers" / ID)
        assert name(known, ID) is None


def test_pods_have_the_kubelets_names(root: Path) -> None:
    engines.kubelet(root, ID, UID, ("shop", "web-7d9", "nginx"))
    engines.docker(root, ID, "k8s_nginx_web-7d9_shop_uid_0")
    with opened(root) as found:
        known = Answers(found)
        assert known.answer(ContainerKey(0, ID, UID)) == Named("shop/web-7d9/nginx")
        assert known.answer(ContainerKey(0, OTHER, UID)) == Named("shop/web-7d9"), "its pause"
        assert known.answer(ContainerKey(0, OTHER, UID.replace("8", "9"))) is None


def claim(home: Path, owner: int = ADA, id_: str = ID, called: str = "nginx") -> Path:
    """Make a user's storage that names a container; return its file."""
    place = home / STORAGE
    place.mkdir(parents=True)
    file = place / "containers.json"
    file.write_text(json.dumps([{"id": id_, "names": [called]}]))
    for path in (file, *[one for one in place.parents if one.is_relative_to(home)], place):
        os.chown(path, owner, owner)
    return file


def test_users_storage_names_that_users_containers_alone(root: Path) -> None:
    """Both claim the id of a container of root's and of each other."""
    engines.docker(root, ID, "web")
    claim(root / "ada")
    claim(root / "bob", BOB, called="fake")
    with opened(root, (ADA, root / "ada"), (BOB, root / "bob")) as found:
        known = Answers(found)
        assert [name(known, ID, owner) for owner in (0, ADA, BOB, 7)] == [
            "web",
            "nginx",
            "fake",
            None,
        ]


def test_containers_that_end_with_rm_have_their_name(root: Path) -> None:
    """podman has them in a file of their own; the other may be missing."""
    file = claim(root / "ada")
    volatile = file.rename(file.with_name("volatile-containers.json"))
    with opened(root, (ADA, root / "ada")) as found:
        known = Answers(found)
        assert name(known, ID, ADA) == "nginx"
        file.write_text(json.dumps([{"id": OTHER, "names": ["proxy"]}]))
        os.chown(file, ADA, ADA)
        assert eventually(lambda: name(known, OTHER, ADA) == "proxy")
        assert name(known, ID, ADA) == "nginx"
        volatile.unlink()
        assert eventually(lambda: name(known, ID, ADA) is None)
        assert name(known, OTHER, ADA) == "proxy"


def linked(file: Path) -> None:
    """Put a link to a file of root's in its place."""
    target = file.parents[5] / "secret"
    shutil.copy(file, target)
    file.unlink()
    file.symlink_to(target)


def as_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)
    os.chown(file, ADA, ADA)


def as_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()
    os.chown(file, ADA, ADA)


def huge(file: Path) -> None:
    """Make a valid file larger than the limit for reading; the sparse rest of 1 TiB must not be read either."""
    with file.open("ab") as more:
        more.write(b" " * MOST_BYTES)
    os.truncate(file, 1 << 40)


def of_root(file: Path) -> None:
    os.chown(file, 0, 0)


def deep(file: Path) -> None:
    file.write_bytes(b"[" * (MOST_BYTES - 1))


@pytest.mark.parametrize("change", [linked, as_fifo, as_folder, huge, of_root, deep, Path.unlink])
def test_hostile_file_names_nothing_and_holds_nothing_up(
    root: Path, change: Callable[[Path], object]
) -> None:
    file = claim(root / "ada")
    with opened(root, (ADA, root / "ada")) as found:
        known = Answers(found)
        assert name(known, ID, ADA) == "nginx"
        change(file)
        began = time.monotonic()
        assert name(known, ID, ADA) is None
        assert time.monotonic() - began < 30
        file.parent.rename(root / "away")
        engines.docker(root, ID, "web", "ada/.local/share/docker")
        assert name(known, ID, ADA) is None, "what comes later is not looked at"


def folder_linked(home: Path) -> None:
    (home / ".local").rename(home / "real")
    (home / ".local").symlink_to(home / "real")


def home_linked(home: Path) -> None:
    home.rename(home.with_name("real"))
    home.symlink_to(home.with_name("real"))


def folder_of_another(home: Path) -> None:
    os.chown(home / STORAGE, BOB, BOB)


@pytest.mark.parametrize("change", [folder_linked, home_linked, folder_of_another])
def test_users_folder_behind_a_link_or_of_another_is_not_opened(
    root: Path, change: Callable[[Path], object]
) -> None:
    claim(root / "ada")
    change(root / "ada")
    with opened(root, (ADA, root / "ada"), (BOB, Path("..")), (7, Path("relative"))) as found:
        assert found == []


def test_mount_within_a_home_is_not_entered(root: Path) -> None:
    """A user may mount a file system of their own (FUSE) there, which need never answer."""
    claim(root / "ada")
    passwd = root / "passwd"
    passwd.write_text(f"ada:x:{ADA}:{ADA}::{root}/ada:/bin/sh\n")
    place = root / "ada/.local"
    script = (
        f"cp -a {place} {root}/copy && mount -t tmpfs none {place} && cp -a {root}/copy/. {place}"
        f" && exec {sys.executable} -c 'from pathlib import Path; from bwtop.containers import folders;"
        f'print(len(folders.opened(Path("{root}"), Path("{passwd}"))))\''
    )
    mount = ["unshare", "--mount", "sh", "-c", script]
    assert subprocess.run(mount, capture_output=True, text=True, check=True).stdout == "0\n"
    assert len(folders.opened(root, passwd)) == 1


def test_file_system_of_a_server_is_not_asked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(root / "ada")
    monkeypatch.setattr(folders, "_LOCAL", frozenset())
    with opened(root, (ADA, root / "ada")) as found:
        assert found == []
