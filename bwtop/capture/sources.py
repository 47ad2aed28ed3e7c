"""The C code of the programs, a file of bpf/ for each backend, with its includes in their places."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final


def _folder() -> Path:
    """Return bpf/: inside the package in a wheel; beside it in a checkout and after `make install`."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "bpf"
    return inside if inside.is_dir() else package.parent / "bpf"


BPF_SOURCES: Final = _folder()
"""The folder of the C code."""

_INCLUDE: Final = re.compile(r'#include "(.+)"')


def text(name: str, folder: Path = BPF_SOURCES) -> str:
    """Return a file's text with every `#include "…"` replaced by that file, because BCC wants maps in the main file.

    name and included names are relative to folder.  A file is included once, where it is first named, so no include may
    stand under a condition.  #line keeps the names and lines that compilers tell.  Raises OSError for a missing file.
    """
    return "".join(_lines(name, folder, set()))


def _lines(name: str, folder: Path, seen: set[str]) -> Iterator[str]:
    seen.add(name)
    yield f'#line 1 "{name}"\n'
    for number, line in enumerate((folder / name).read_text().splitlines(), 1):
        include = _INCLUDE.fullmatch(line)
        if include and include[1] not in seen:
            yield from _lines(include[1], folder, seen)
            yield f'#line {number + 1} "{name}"\n'
        else:
            yield "\n" if include else f"{line}\n"
