"""Tokens: out of a file, or new ones."""

import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bwtop.rights import opening
from bwtop.text.stderr import say

MOST: Final = 4096
"""Bytes of a file with a token."""

SHORTEST: Final = 16
"""Characters of a token."""


class TokenError(ValueError):
    """A token that will not do; the text says why."""


def read_token(path: Path, environment: Mapping[str, str]) -> str:
    """Return the token in a file, read with the rights of the user behind sudo; raises TokenError and OSError."""
    content = opening.read(path, MOST, opening.rights(path, environment))
    if content.mode & (stat.S_IRGRP | stat.S_IROTH):
        say(f"{path} is readable by other users; run: chmod 600 {path}")
    token = content.data.strip()
    if not token.isascii() or not token.decode().isprintable() or b" " in token:
        raise TokenError(f"invalid token in {path}; expected one word of printable ASCII")
    if len(token) < SHORTEST:
        raise TokenError(f"invalid token in {path}; expected {SHORTEST} characters or more")
    return token.decode()


def make_token() -> str:
    """A new one."""
    return secrets.token_urlsafe(32)
