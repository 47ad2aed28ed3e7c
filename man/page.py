"""bwtop.1: what is written by hand, with the tables put in.  The language is mdoc(7)."""

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bwtop.capture.backends import BACKENDS
from bwtop.history import ranges
from bwtop.history.dimensions import DIMENSIONS
from bwtop.history.tiers import TIERS, in_words
from bwtop.metrics.table import METRICS
from bwtop.model.filter_fields import FIELDS as FILTER_FIELDS
from bwtop.options.config import SETTINGS
from bwtop.options.flag import Flag, Group
from bwtop.options.flags import ROWS
from bwtop.tui.keymap import Context, Key, spelled
from bwtop.tui.keys import DEFAULT
from bwtop.tui.layout import FIELDS
from bwtop.tui.panels import MOUSE, SECTIONS
from bwtop.view.column import Column
from bwtop.view.columns import ALL_COLUMNS, REMOTE_COLUMNS

TEMPLATE: Final = Path(__file__).with_name("bwtop.1.in")

Lines = Iterator[str]


def text(words: str) -> str:
    """Plain text as a line of mdoc: nothing in it is a macro or an escape."""
    words = words.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{words}" if words.startswith((".", "'")) else words


def argument(words: str) -> str:
    """Text as one argument of a macro, where punctuation is punctuation no more."""
    words = words.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    if words in ("(", "["):
        return f'"\\&{words}"'
    return f'"{words}\\&"' if words[-1:] in set(".,:;?!)|]") else f'"{words}"'


def table(rows: Sequence[tuple[str, str]], macro: str = "Li", width: str = "") -> Lines:
    """Names and what they mean."""
    width = width or max((name for name, _ in rows), key=len)
    yield f".Bl -tag -width {argument(width)} -compact"
    for name, meaning in rows:
        yield f".It {macro} {argument(name)}"
        yield text(meaning)
    yield ".El"


def _flags() -> Lines:
    titles = {group: group.capitalize() for group in Group if group is not Group.OPTIONS}
    for group, title in (titles | {Group.OPTIONS: "Other"}).items():
        yield f".Ss {text(title)}"
        yield ".Bl -tag -width Ds"
        for flag in ROWS:
            if flag.group is group:
                yield f".It {_heading(flag)}"
                yield text(_sentence(flag.help.replace(" (see below)", "")))
        yield ".El"


def _heading(flag: Flag) -> str:
    names = " , ".join(f"Fl {name[1:]}" for name in flag.names)
    if flag.parse is None:
        return names
    words = " | ".join(flag.choices)
    value = f"Cm {words}" if words else f"Ar {argument(flag.metavar)}"
    return f"{names} {value}" if flag.bare is None else f"{names} Oo {value} Oc"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "."


def _keys() -> Lines:
    for context, title in SECTIONS:
        yield f".Ss \\&{text(title)}"
        yield from table(
            [(_names(key), _bound(key)) for key in DEFAULT.of(context)], width="PgUp Ctrl-B"
        )
    yield ".Ss Mouse"
    yield from table(list(MOUSE))


def _names(key: Key) -> str:
    return " ".join(spelled(name) for name in key.keys)


def _bound(key: Key) -> str:
    """With the name that a configuration file has for it."""
    return f"{key.help} ({key.name})"


def _fields() -> Lines:
    rows = [(f.cell.title.format(down="RX", up="TX"), f"{f.help} ({f.id})") for f in FIELDS]
    yield from table(rows)


def _columns(columns: Sequence[Column[object]], *, exported: bool) -> Lines:
    yield from table([(c.id, c.help) for c in columns if c.exported or not exported])


def _backends() -> Lines:
    yield from table([(backend.name, f"Needs {backend.needs}.") for backend in BACKENDS])


TABLES: Final[dict[str, Callable[[], Lines]]] = {
    "flags": _flags,
    "keys": _keys,
    "screen columns": _fields,
    "sort columns": lambda: _columns(ALL_COLUMNS, exported=False),  # type: ignore[arg-type]
    "remote columns": lambda: _columns(REMOTE_COLUMNS, exported=True),  # type: ignore[arg-type]
    "filter": lambda: table([(f"{field.name}:", field.help) for field in FILTER_FIELDS]),
    "dimensions": lambda: table([(one.name, one.help) for one in DIMENSIONS]),
    "tiers": lambda: table([(t.name, f"{t.help}: {in_words(t.seconds)}") for t in TIERS]),
    "ranges": lambda: iter([text(ranges.HELP + ".")]),
    "settings": lambda: table([(setting.name, setting.help) for setting in SETTINGS]),
    "contexts": lambda: table([(context, title.lower()) for context, title in SECTIONS]),
    "backends": _backends,
    "metrics": lambda: table([(one.name, _sentence(one.help)) for one in METRICS], width="Ds"),
}
"""What stands in the page in the place of a line `@NAME@`."""


def wrapped(line: str) -> list[str]:
    """Text in lines of 78 characters; macros take all of theirs."""
    if line.startswith((".", "'")):
        return [line]
    broken = textwrap.wrap(line, 78, break_on_hyphens=False, break_long_words=False)
    return [f"\\&{part}" if part.startswith((".", "'")) else part for part in broken]


def page() -> str:
    """Return the manual."""
    lines: list[str] = []
    for line in TEMPLATE.read_text().splitlines():
        found = re.fullmatch(r"@([a-z ]+)@", line)
        for made in TABLES[found[1]]() if found else [line]:
            lines += wrapped(made)
    return "\n".join(lines) + "\n"


assert {context for context, _ in SECTIONS} == set(Context)
