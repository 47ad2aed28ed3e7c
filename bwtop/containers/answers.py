"""The names of containers by the files of the engines, read again when they change."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from bwtop.containers import folders, formats
from bwtop.containers.folders import Folder, Stamp
from bwtop.containers.formats import Named
from bwtop.containers.places import FolderKind
from bwtop.identity.units import ContainerKey

LOOK: Final = 0.2
"""Seconds between looks at a file: a user who changes one all the time costs little."""

MOST_FILES: Final = 4096
"""Largest number of files whose names are kept."""

_Names = Mapping[str, Named]
"""Names by the id of the container, or the uid of the pod."""


class _Kept(NamedTuple):
    looked: float
    """time.monotonic()."""
    stamp: Stamp
    names: _Names


_NOTHING: Final = _Kept(float("-inf"), None, {})


_Look = Callable[[Folder, str, Stamp], tuple[Stamp, _Names] | None]
"""Reads the names in a folder unless its stamp is known; a name within it, for which the key says nothing else."""


class Answers:
    """The names of containers in some folders."""

    def __init__(self, opened: Iterable[Folder]) -> None:
        self._folders = list(opened)
        self._kept: dict[tuple[int, str], _Kept] = {}

    def answer(self, asked: ContainerKey) -> Named | None:
        """Return the name of a container, only from folders of the owner that it is asked with.

        A container of a pod has the name that the kubelet gives it, and one without a log that of its pod.
        """
        found = self._named(FolderKind.LINKS, asked.owner, asked.id) if asked.pod else None
        found = found or self._named(FolderKind.PODS, asked.owner, asked.pod)
        found = found or self._named(FolderKind.DOCKER, asked.owner, asked.id)
        return found or self._named(FolderKind.PODMAN, asked.owner, asked.id)

    def _named(self, kind: FolderKind, owner: int, key: str | None) -> Named | None:
        if key is None:
            return None
        folders = (one for one in self._folders if (one.kind, one.owner) == (kind, owner))
        return next(filter(None, (self._names(folder, key).get(key) for folder in folders)), None)

    def _names(self, folder: Folder, key: str) -> _Names:
        """Return the names in a folder; look again if the last look is LOOK seconds ago."""
        place = folder.descriptor, key if folder.kind is FolderKind.DOCKER else ""
        kept, now = self._kept.pop(place, _NOTHING), time.monotonic()
        if now - kept.looked >= LOOK:
            stamp, names = _LOOKS[folder.kind](folder, key, kept.stamp) or kept[1:]
            kept = _Kept(now, stamp, names)
        self._kept[place] = kept
        if len(self._kept) > MOST_FILES:
            del self._kept[next(iter(self._kept))]
        return kept.names


def _docker(folder: Folder, key: str, known: Stamp) -> tuple[Stamp, _Names] | None:
    found = folders.read_below(folder, key, folders.CONFIG, known)
    if found is None:
        return None
    named = formats.of_docker(found[1])
    return found[0], {key: named} if named else {}


def _podman(folder: Folder, _: str, known: Stamp) -> tuple[Stamp, _Names] | None:
    found = folders.read_all(folder, folders.STORAGE, known)
    if found is None:
        return None
    return found[0], {id_: one for file in found[1] for id_, one in formats.of_podman(file).items()}


def _links(folder: Folder, _: str, known: Stamp) -> tuple[Stamp, _Names] | None:
    found = folders.names(folder, formats.MOST, known)
    return found and (found[0], dict(filter(None, map(formats.of_link, found[1]))))


def _pods(folder: Folder, _: str, known: Stamp) -> tuple[Stamp, _Names] | None:
    found = folders.names(folder, formats.MOST, known)
    return found and (found[0], dict(filter(None, map(formats.of_pod, found[1]))))


_LOOKS: Final[Mapping[FolderKind, _Look]] = {
    FolderKind.DOCKER: _docker,
    FolderKind.PODMAN: _podman,
    FolderKind.LINKS: _links,
    FolderKind.PODS: _pods,
}
