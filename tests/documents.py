"""What the tables of the documents name."""

import re
from pathlib import Path
from typing import Final

from man.__main__ import ROOT

SCRIPTS: Final = ROOT / "man" / "guide" / "scripts.md"


def first_cells(document: Path, before: str) -> list[str]:
    """Return what the first cells of the first table after a text name as code."""
    text = document.read_text()
    table = re.search(r"(?:^\|.*\n)+", text[text.index(before) :], re.MULTILINE)
    assert table
    cells = re.findall(r"^\| (.*?) \|", table[0], re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
