"""Tokens: read from a file, or generated."""

import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bwtop.rights import opening
from bwtop.text.stderr import say

MOST: Final = 4096
"""Maximum bytes of a token file."""

SHORTEST: Final = 16
"""Minimum characters of a token."""


class TokenError(ValueError):
    """An invalid token; the text says why."""


def read_token(path: Path, environment: Mapping[str, str]) -> str:
    """Return the token in a file, read with the rights of the user behind sudo.  Raises TokenError and OSError."""
    content = opening.read(path, MOST, opening.rights(path, environment))
    if (
        content.mode & stat.S_IROTH
    ):  # a group may be meant to read it, or be the mask of an access list
        say(f"{path} is readable by other users; run: chmod 600 {path}")
    token = content.data.strip()
    if not token.isascii() or not token.decode().isprintable() or b" " in token:
        raise TokenError(f"invalid token in {path}; expected one word of printable ASCII")
    if len(token) < SHORTEST:
        raise TokenError(f"invalid token in {path}; expected {SHORTEST} characters or more")
    return token.decode()


def make_token() -> str:
    """Return a new random token."""
    return secrets.token_urlsafe(32)
