"""The registrable domain of a host name, by Debian's public suffix list (publicsuffix.org)."""

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

PUBLIC_SUFFIXES: Final = Path("/usr/share/publicsuffix/public_suffix_list.dat")
"""Of the Debian package `publicsuffix`."""

_LONGEST: Final = 8 << 20
"""Bytes of the list that are read at most."""

_ADDRESS: Final = re.compile(r"[0-9.]+|.*:.*")


@lru_cache(maxsize=65536)
def registrable(name: str, path: Path = PUBLIC_SUFFIXES) -> str:
    """Return the registered domain of a name: `example.co.uk` for `www.example.co.uk`.

    A name that has none, such as a public suffix or an address, is returned whole.  Without the list it is the last two
    labels.
    """
    parts = name.rstrip(".").lower().split(".")
    if len(parts) < 3 or _ADDRESS.fullmatch(name):
        return ".".join(parts)
    return ".".join(parts[-_suffix_labels(parts, suffixes(path)) - 1 :])


def _suffix_labels(parts: list[str], rules: frozenset[str]) -> int:
    """Return how many labels the public suffix of a name has; without a rule, one."""
    for place in range(len(parts)):  # the longest rule counts, an exception before all
        tail = ".".join(parts[place:])
        if f"!{tail}" in rules:
            return len(parts) - place - 1
        if tail in rules or ".".join(["*", *parts[place + 1 :]]) in rules:
            return len(parts) - place
    return 1


@cache
def suffixes(path: Path = PUBLIC_SUFFIXES) -> frozenset[str]:
    """Return the rules of the list, in ASCII as names are sent; empty if it is not installed."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            lines = file.read(_LONGEST).splitlines()
    except OSError:
        return frozenset()
    words = (line.split()[0] for line in lines if line.strip() and not line.startswith("//"))
    return frozenset(map(_ascii, words))


def _ascii(rule: str) -> str:
    """Return a rule in the form of internationalized names in DNS."""
    if rule.isascii():
        return rule.lower()
    try:
        return ".".join(part.encode("idna").decode() for part in rule.lower().split("."))
    except UnicodeError:
        return rule
