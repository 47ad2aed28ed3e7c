"""Tokens: out of a file, or new ones."""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from bwtop.messages import say

SHORTEST: Final = 16
"""Characters of a token."""


class TokenError(ValueError):
    """A token that will not do; the text says why."""


def read_token(path: Path) -> str:
    """The token in a file; raises TokenError and OSError."""
    with path.open("rb") as file:
        token = file.read(4096).strip()
        if os.fstat(file.fileno()).st_mode & (stat.S_IRGRP | stat.S_IROTH):
            say(f"others can read the token in {path}; chmod 600 keeps it from them")
    if not token.isascii() or not token.decode().isprintable() or b" " in token:
        raise TokenError(f"the token in {path} is to be one word of printable ASCII")
    if len(token) < SHORTEST:
        raise TokenError(f"the token in {path} is to have {SHORTEST} characters or more")
    return token.decode()


def make_token() -> str:
    """A new one."""
    return secrets.token_urlsafe(32)
