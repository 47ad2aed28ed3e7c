"""Completion of the filter being typed: its fields, and the values of what has moved bytes; hints about both."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Final, NamedTuple

from bwtop.model.filter import FilterField
from bwtop.model.ledger import Process
from bwtop.model.typed import last_term
from bwtop.tui.state import ScreenState

MOST_PROCESSES: Final = 5000
"""Processes whose values are completed."""

MOST_VALUES: Final = 20_000
"""Values looked at: a process may have 65,536 remotes."""

MOST_CHOICES: Final = 200

_PARTS: Final = re.compile(r"(?P<sign>[-!]?)(?:(?P<field>[A-Za-z]+):(?P<values>.*))?", re.DOTALL)

_PLAIN: Final = re.compile(r"""[^\s|,"']+""")
"""A value that is typed without quotes."""


class _OpenTerm(NamedTuple):
    """The part of the filter that is completed."""

    start: int
    """Its first place in the line."""
    text: str
    """As typed so far, without its opening quote."""
    field: FilterField | None
    """The field of a value; None: a field or a name."""


def choices(state: ScreenState) -> tuple[int, list[str]]:
    """Return where the term at the cursor begins, and what it can be completed to."""
    term = _term(state)
    if term.field is None:
        fields = [f"{field.name}:" for field in state.filter_fields]
        names = _values(state, _field(state, "process"))
        found = chain(_begun(fields, term.text), _begun(names, term.text) if term.text else ())
    else:
        found = chain(_begun(_values(state, term.field), term.text))
    return term.start, list(islice(dict.fromkeys(map(_spelled, found)), MOST_CHOICES))


def hint(state: ScreenState) -> str:
    """Return help for the term at the cursor: its field with some values, or the fields that it may be."""
    term = _term(state)
    if term.field:
        seen = " ".join(islice(map(_spelled, _begun(_values(state, term.field), term.text)), 8))
        return f"{term.field.help}{f'; {seen}' if seen and seen != term.text else ''}"
    begun = [field for field in state.filter_fields if field.name.startswith(term.text.lower())]
    if len(begun) == 1:
        return f"{begun[0].name}: {begun[0].help}"
    return " ".join(f"{field.name}:" for field in begun)


def _field(state: ScreenState, name: str) -> FilterField | None:
    return next((field for field in state.filter_fields if field.name == name), None)


def _term(state: ScreenState) -> _OpenTerm:
    before = state.entry.text[: state.entry.place]
    place = last_term(before)
    parts = _PARTS.match(before, place)
    assert parts
    field = _field(state, (parts["field"] or "").lower())
    if field is None:
        start = place + len(parts["sign"])
        return _OpenTerm(start, before[start:].lstrip("\"'"), None)
    values = parts["values"]
    start = len(before) - len(values.rpartition(",")[2])
    return _OpenTerm(start, before[start:].lstrip("\"'"), field)


def _values(state: ScreenState, field: FilterField | None) -> list[str]:
    """Return the values of a field in the model that is shown, sorted."""
    if field is None:
        return []
    if field.words:
        return list(field.words)
    if field.seen is None:
        return []
    processes = islice(_processes(state), MOST_PROCESSES)
    found = islice(chain.from_iterable(map(field.seen, processes)), MOST_VALUES)
    # What cannot be typed in quotes is not offered.
    return sorted({text for text in found if text.isprintable() and text and '"' not in text})


def _processes(state: ScreenState) -> Iterable[Process]:
    return list(state.model.ledger.processes.values())


def _begun(values: Iterable[str], text: str) -> Iterator[str]:
    """Yield the values that begin with a text."""
    begun = text.casefold()
    return (value for value in values if value.casefold().startswith(begun))


def _spelled(value: str) -> str:
    """Return a value as it is typed."""
    return value if _PLAIN.fullmatch(value) else f'"{value}"'
