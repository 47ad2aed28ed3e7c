"""The systemd unit, the container and the Kubernetes pod in a cgroup path."""

import functools
import re
from typing import Final, NamedTuple

ID_LENGTH: Final = 12
"""Digits shown of a container's id, as docker and podman do."""


class Placement(NamedTuple):
    """The unit, container and pod of a process; None if there is none."""

    unit: str | None = None
    container: str | None = None
    """"runtime:id"."""
    pod: str | None = None
    """uid."""


class ContainerKey(NamedTuple):
    """A container with a name elsewhere than in its cgroup."""

    owner: int
    """The uid of the user whose engine runs it; 0: the system's."""
    id: str
    """64 digits."""
    pod: str | None = None
    """The uid of its pod."""


_DIGITS: Final = 64
"""Digits of an id."""

_ID: Final = r"(?P<id>[0-9a-f]{64})"

_CONTAINERS: Final = (
    # Patterns of paths and their runtimes.
    (re.compile(rf"/docker[-/]{_ID}(?:\.scope)?(?:/|$)"), "docker"),
    (re.compile(rf"/libpod-(?:payload-)?{_ID}(?:\.scope)?(?:/|$)"), "podman"),
    (re.compile(rf"/cri-containerd-{_ID}\.scope(?:/|$)"), "containerd"),
    (re.compile(rf"/nerdctl-{_ID}\.scope(?:/|$)"), "containerd"),
    (re.compile(rf"/crio-{_ID}(?:\.scope)?(?:/|$)"), "cri-o"),
    (re.compile(rf"/kubepods(?:/[^/]+)*?/pod[0-9a-f-]+/{_ID}(?:/|$)"), "kubernetes"),
    (re.compile(rf"/(?:default|k8s\.io|moby)/{_ID}(?:/|$)"), "containerd"),
    (re.compile(r"/lxc\.payload\.(?P<id>[^/]+)(?:/|$)"), "lxc"),
    (re.compile(r"/lxc/(?P<id>[^/]+)(?:/|$)"), "lxc"),
    (re.compile(r"/systemd-nspawn@(?P<id>[^/]+)\.service(?:/|$)"), "nspawn"),
    (re.compile(r"/machine-(?!qemu\\x2d|lxc\\x2d)(?P<id>[^/]+)\.scope(?:/|$)"), "nspawn"),
)
"""Names given by dockerd, podman, containerd's CRI plugin, nerdctl, CRI-O, LXC and systemd-nspawn (not libvirt's), for the systemd
driver ("docker-ID.scope") and the cgroupfs driver ("docker/ID")."""

_HEX: Final = "[0-9a-f]"
_POD: Final = re.compile(
    rf"pod(?P<uid>{_HEX}{{8}}(?:[-_]{_HEX}{{4}}){{3}}[-_]{_HEX}{{12}}|{_HEX}{{32}})(?:\.slice)?(?:/|$)"
)
"""The kubelet's pod cgroup.  Its systemd driver writes the uid's dashes as underscores; a static pod's uid is a hash
without any."""


_USER: Final = re.compile(r"/user\.slice/user-(?P<uid>[0-9]{1,10})\.slice/")
"""The cgroup of a user's sessions and services, which systemd alone moves processes into."""


@functools.lru_cache(maxsize=1024)
def place(cgroup: str | None) -> Placement:
    """Return the placement in a path of the v2 hierarchy; None: the path is not known."""
    if cgroup is None:
        return Placement()
    found = _found(cgroup)
    return Placement(unit=_unit(cgroup), container=found and found.label, pod=_pod(cgroup, found))


@functools.lru_cache(maxsize=1024)
def container_key(cgroup: str) -> ContainerKey | None:
    """Return what to look the name of the container in a path up by; None: there is none, or its id is its name.

    In the cgroups of a user stand only the containers of that user, whoever a process in them is to the kernel.
    """
    found = _found(cgroup)
    if found is None or not found.has_digits:
        return None
    of_user = _USER.match(cgroup)
    return ContainerKey(int(of_user["uid"]) if of_user else 0, found.id, _pod(cgroup, found))


def _unit(cgroup: str) -> str | None:
    """Return the outermost service or scope, which the system's own systemd manages, else the innermost slice.

    systemd.unit(5): names end in their type.
    """
    names = cgroup.strip("/").split("/")
    for name in names:
        if name.endswith((".service", ".scope")):
            return name
    slices = [name for name in names if name.endswith(".slice")]
    return slices[-1] if slices else None


class _Found(NamedTuple):
    """A container in a path."""

    start: int
    """Where its id begins."""
    runtime: str
    id: str

    @property
    def has_digits(self) -> bool:
        """Return whether the id is one of 64 digits, and no name."""
        return len(self.id) == _DIGITS

    @property
    def label(self) -> str:
        return f"{self.runtime}:{self.id[:ID_LENGTH] if self.has_digits else self.id}"


def _found(cgroup: str) -> _Found | None:
    """Return the outermost container: who has root in one can make cgroups of any name in it."""
    matches = ((pattern.search(cgroup), runtime) for pattern, runtime in _CONTAINERS)
    found = [_Found(match.start("id"), runtime, match["id"]) for match, runtime in matches if match]
    return min(found, default=None)


def _pod(cgroup: str, container: _Found | None) -> str | None:
    """Return the uid of the outermost pod, which is around the container if there is one."""
    pod = _POD.search(cgroup[: container.start] if container else cgroup)
    return pod["uid"].replace("_", "-") if pod else None
