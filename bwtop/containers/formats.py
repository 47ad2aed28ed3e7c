"""The files of container engines about a container: pure functions from files' contents to names.

A user can write what stands in the files of that user's storage.  A name or image that no engine would accept is no name.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

MOST: Final = 10_000
"""Largest number of containers taken from one file or folder."""

ID: Final = re.compile(r"[0-9a-f]{64}")

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,252}", re.ASCII)
"""As dockerd and podman accept it (RestrictedNameChars in moby); longer ones are not shown."""

_IMAGE: Final = re.compile(r"[\w.:/@-]{1,256}", re.ASCII)
"""[REGISTRY/]NAME[:TAG][@DIGEST]."""

_LABEL: Final = "[a-z0-9](?:[a-z0-9.-]{0,252})"
"""A name of Kubernetes (RFC 1123)."""

_LINK: Final = re.compile(
    rf"(?P<pod>{_LABEL})_(?P<namespace>{_LABEL})_(?P<container>{_LABEL})-(?P<id>[0-9a-f]{{64}})\.log"
)
"""The kubelet's link to the log of a container in /var/log/containers."""

_POD: Final = re.compile(rf"(?P<namespace>{_LABEL})_(?P<pod>{_LABEL})_(?P<uid>[0-9a-f-]{{32,36}})")
"""The kubelet's folder of the logs of a pod in /var/log/pods."""


class Named(NamedTuple):
    """The name of a container, and its image if the engine tells it."""

    name: str
    image: str | None = None


def name_of(text: object) -> str | None:
    """Return the name of a container or Kubernetes' NAMESPACE/POD/CONTAINER if it is a valid one."""
    parts = text.split("/") if isinstance(text, str) else []
    is_name = 0 < len(parts) <= 3 and all(_NAME.fullmatch(part) for part in parts)
    return text if is_name and isinstance(text, str) else None


def image_of(text: object) -> str | None:
    """Return the name of an image if it is a valid one."""
    return text if isinstance(text, str) and _IMAGE.fullmatch(text) else None


def of_docker(content: bytes) -> Named | None:
    """Return the name in a config.v2.json of dockerd."""
    found = _parsed(content)
    if not isinstance(found, dict):
        return None
    name, config = found.get("Name"), found.get("Config")
    named = name_of(name.removeprefix("/")) if isinstance(name, str) else None
    image = image_of(config.get("Image")) if isinstance(config, dict) else None
    return Named(named, image) if named else None


def of_podman(content: bytes) -> dict[str, Named]:
    """Return the names in a containers.json of podman's storage, by id."""
    found = _parsed(content)
    return dict(_of_storage(found[:MOST])) if isinstance(found, list) else {}


def _of_storage(containers: list[Any]) -> Iterator[tuple[str, Named]]:
    for one in containers:
        if not isinstance(one, dict):
            continue
        id_, names = one.get("id"), one.get("names")
        name = name_of(names[0]) if isinstance(names, list) and names else None
        if name and isinstance(id_, str) and ID.fullmatch(id_):
            metadata = one.get("metadata")
            about = _parsed(metadata) if isinstance(metadata, str) else None
            image = image_of(about.get("image-name")) if isinstance(about, dict) else None
            yield id_, Named(name, image)


def of_link(name: str) -> tuple[str, Named] | None:
    """Return the id and name of a container by the kubelet's link to its log."""
    found = _LINK.fullmatch(name)
    if not found:
        return None
    return found["id"], Named("/".join(found.group("namespace", "pod", "container")))


def of_pod(name: str) -> tuple[str, Named] | None:
    """Return the uid and name of a pod by the kubelet's folder of its logs."""
    found = _POD.fullmatch(name)
    return (found["uid"], Named("/".join(found.group("namespace", "pod")))) if found else None


def _parsed(content: bytes | str) -> object:
    """Return the value of a JSON text; None if it is none, or nested too deeply."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
