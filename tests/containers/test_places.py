"""The folders where container engines keep names: by default, and as configured by root."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bwtop.containers.answers import Answers
from bwtop.containers.formats import Named
from bwtop.containers.places import EngineFolder, FolderKind, of_system
from bwtop.identity.units import ContainerKey
from tests.containers.engines import docker, opened

pytestmark = pytest.mark.kernel

DOCKER, PODMAN = "etc/docker/daemon.json", "etc/containers/storage.conf"
ID = "c" * 64


def configure(root: Path, file: str, text: str) -> Path:
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)
    return path


MOVED = [
    (DOCKER, '{"data-root": "/srv/docker", "debug": true}', "/srv/docker/containers"),
    (DOCKER, '{"data-root": "/srv//x/../docker/"}', "/srv/docker/containers"),
    (
        PODMAN,
        '[storage]\ndriver = "overlay"\ngraphroot = "/srv/podman"\n',
        "/srv/podman/overlay-containers",
    ),
]


@pytest.mark.parametrize(("file", "text", "place"), MOVED)
def test_a_moved_storage_is_looked_for_beside_the_default(
    tmp_path: Path, file: str, text: str, place: str
) -> None:
    default = {one.path for one in of_system(tmp_path)}
    configure(tmp_path, file, text)
    found = [*of_system(tmp_path)]
    kind = FolderKind.DOCKER if file == DOCKER else FolderKind.PODMAN
    assert EngineFolder(kind, place) in found
    assert default < {one.path for one in found}
    assert len(found) == len(set(found))


def test_the_name_in_a_moved_storage(tmp_path: Path) -> None:
    configure(tmp_path, DOCKER, MOVED[0][1])
    docker(tmp_path, ID, "proxy", below="srv/docker")
    with opened(tmp_path) as found:
        assert Answers(found).answer(ContainerKey(0, ID)) == Named("proxy", "nginx:1.25")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "7", '{"data-root": 7}', '{"data-root": "relative"}', "[" * 60_000),
        *('{"data-root": "/a\\u0000b"}', '{"data-root": "/' + "x" * 70_000 + '"}', "\udcff"),
        *("storage = 7", "[storage]\ngraphroot = []", "[storage]\ngraphroot = 'relative'"),
    ],
)
def test_nonsense_is_passed_over(tmp_path: Path, text: str) -> None:
    default = [*of_system(tmp_path)]
    for file in (DOCKER, PODMAN):
        configure(tmp_path, file, "").write_bytes(text.encode(errors="surrogateescape"))
    assert [*of_system(tmp_path)] == default


def of_another(file: Path) -> None:
    os.chown(file, 1234, 1234)


def writable(file: Path) -> None:
    file.chmod(0o666)


def absent(file: Path) -> None:
    file.unlink()


def fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("change", [of_another, writable, absent, fifo, folder])
def test_only_root_may_move_it(tmp_path: Path, change: Callable[[Path], None]) -> None:
    default = [*of_system(tmp_path)]
    change(configure(tmp_path, DOCKER, MOVED[0][1]))
    assert [*of_system(tmp_path)] == default
