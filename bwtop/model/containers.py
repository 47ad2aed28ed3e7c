"""Containers as texts: "runtime:id", and their names beside it where they are stored."""

import re
from typing import Final

_NAMELESS: Final = r"(?!lxc:|nspawn:)[a-z-]+:[0-9a-f]{12}"
"""Containers that their engines have named elsewhere than in the cgroup."""

_STORED: Final = re.compile(rf"({_NAMELESS}) (.+)", re.DOTALL)

_OWN: Final = re.compile(r"(?:lxc|nspawn):(.+)", re.DOTALL)


def own_name(container: str) -> str | None:
    """Return the name in "lxc:NAME" or "nspawn:NAME", which systemd has escaped (systemd-escape(1))."""
    found = _OWN.fullmatch(container)
    return found[1].replace("\\x2d", "-") if found else None


def storable(container: str | None, name: str | None) -> str | None:
    """Return a container as stores have it: "runtime:id NAME" once its name is known."""
    is_named = container and name and re.fullmatch(_NAMELESS, container)
    return f"{container} {name}" if is_named else container


def stored(text: str) -> tuple[str, str | None]:
    """Return the "runtime:id" and the name in what `storable` returned."""
    found = _STORED.fullmatch(text)
    return (found[1], found[2]) if found else (text, own_name(text))
