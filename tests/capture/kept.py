"""The files of a cache, as an attacker or an accident leaves them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bwtop.capture import cache
from bwtop.capture.loader import Limits

FEW = Limits(flows=1024, processes=1024)


def file(folder: Path) -> Path:
    """Return the only file in a folder."""
    (path,) = folder.iterdir()
    return path


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what a file says, with the checksum that belongs to that."""
    path = file(folder)
    content = json.loads(path.read_bytes().partition(b"\n")[2])
    change(content)
    path.write_bytes(cache._text(content))
