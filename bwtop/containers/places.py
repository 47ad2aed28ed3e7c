"""The places where container engines keep names: their own defaults, and where root's configuration has moved them."""

import json
import os
import stat
import tomllib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

_DRIVERS: Final = ("overlay", "vfs", "btrfs", "zfs")
"""Drivers of podman's storage, each with a folder of its own."""

_MOST_BYTES: Final = 1 << 16
"""Largest configuration that is read."""


class FolderKind(StrEnum):
    """The entries of a folder."""

    DOCKER = "docker"
    PODMAN = "podman"
    LINKS = "kubelet, containers"
    PODS = "kubelet, pods"


class EngineFolder(NamedTuple):
    """A folder to look for."""

    kind: FolderKind
    path: str


class _Engine(NamedTuple):
    """An engine whose storage can be moved."""

    kind: FolderKind
    storage: str
    names: tuple[str, ...]
    """Folders of its storage."""
    file: str
    """The configuration that may say another storage."""
    parse: Callable[[str], Any]
    setting: tuple[str, ...]


_ENGINES: Final = (
    _Engine(
        FolderKind.DOCKER,
        "/var/lib/docker",
        ("containers",),
        "/etc/docker/daemon.json",
        json.loads,
        ("data-root",),
    ),
    _Engine(
        FolderKind.PODMAN,
        "/var/lib/containers/storage",
        tuple(f"{name}-containers" for name in _DRIVERS),
        "/etc/containers/storage.conf",
        tomllib.loads,
        ("storage", "graphroot"),
    ),
)

OF_USERS: Final = (
    EngineFolder(FolderKind.DOCKER, ".local/share/docker/containers"),
    *(
        EngineFolder(FolderKind.PODMAN, f".local/share/containers/storage/{name}-containers")
        for name in _DRIVERS
    ),
)
"""Below the homes of users."""


def of_system(root: Path) -> Iterator[EngineFolder]:
    """Yield root's folders, as paths that begin at `root`; they need not exist."""
    for engine in _ENGINES:
        for storage in dict.fromkeys((engine.storage, *_moved(root, engine))):
            yield from (EngineFolder(engine.kind, f"{storage}/{name}") for name in engine.names)
    yield EngineFolder(FolderKind.LINKS, "/var/log/containers")
    yield EngineFolder(FolderKind.PODS, "/var/log/pods")


def _moved(root: Path, engine: _Engine) -> Iterator[str]:
    """Yield the storage that the configuration names, if it is a path."""
    try:
        found = engine.parse(_roots(root / engine.file.lstrip("/")))
    except (OSError, ValueError, RecursionError):
        return
    for name in engine.setting:
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, str) and found.startswith("/") and "\0" not in found:
        yield os.path.normpath(found)


def _roots(path: Path) -> str:
    """Return the text of a regular file that belongs to root and that only root may write; raise OSError or ValueError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid or status.st_mode & 0o022 or not stat.S_ISREG(status.st_mode):
            raise PermissionError
        return file.read(_MOST_BYTES).decode()
