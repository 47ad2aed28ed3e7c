"""Keys, their spelling, and the keymap of each context: the defaults or the configured bindings."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from bwtop.text.invalid import invalid

if TYPE_CHECKING:
    from bwtop.tui.state import Effect, ScreenState


class Context(StrEnum):
    """The place where a key applies."""

    LIST = "list"
    FILTER = "filter"
    TIME = "time"
    SEARCH = "search"
    FILE = "file"
    LINE = "line"
    """Whatever is typed: what a context of typing has no key for."""
    GRAPH = "graph"
    DETAILS = "details"
    SETUP = "setup"
    CHOOSER = "chooser"
    CONFIRM = "question"
    HELP = "help"


TYPING: Final = (Context.FILTER, Context.TIME, Context.SEARCH, Context.FILE, Context.LINE)
"""Contexts in which text is typed."""


@dataclass(frozen=True)
class Key:
    """A command and its keys."""

    keys: tuple[str, ...]
    """Names as in urwid; the first one is shown."""
    command: "Callable[[ScreenState], Effect]"
    hint: str
    """Text for the footer; empty: not shown there."""
    help: str
    context: Context = Context.LIST
    fleet_help: str | None = None
    """Help for the rows of several hosts; empty: the key is useless there and not shown."""

    @property
    def name(self) -> str:
        """The name of the command in a configuration file; it never changes once released."""
        return self.command.__name__.replace("_", "-")


_NAMES: Final = {
    " ": "Space",
    "enter": "Enter",
    "esc": "Esc",
    "tab": "Tab",
    "shift tab": "Shift-Tab",
    "backspace": "Backspace",
    "insert": "Insert",
    "delete": "Delete",
    "up": "Up",
    "down": "Down",
    "left": "Left",
    "right": "Right",
    "page up": "PgUp",
    "page down": "PgDn",
    "home": "Home",
    "end": "End",
    **{f"f{number}": f"F{number}" for number in range(1, 13)},
}
_BY_NAME: Final = {name.casefold(): key for key, name in _NAMES.items()}

_TAKEN: Final = {
    **dict.fromkeys("cz\\", "the terminal turns it into a signal"),
    **dict.fromkeys("sq", "the terminal stops or restarts its output with it"),
    **dict.fromkeys("him[j", "terminals send the same code for Backspace, Tab, Enter or Esc"),
}
"""Letters that cannot be combined with Ctrl."""


def spelled(key: str) -> str:
    """Return the usual spelling of a key, from its urwid name."""
    if key in _NAMES:
        return _NAMES[key]
    modifier, _, rest = key.partition(" ")
    if modifier == "ctrl" and rest:
        return f"Ctrl-{rest.upper()}"
    return f"Alt-{spelled(rest)}" if modifier == "meta" and rest else key


def parse_key(text: str) -> str:
    """Return the urwid name of a key, from its usual spelling; raise ValueError."""
    if len(text) == 1 and text.isprintable():
        return text
    if text.casefold() in _BY_NAME:
        return _BY_NAME[text.casefold()]
    if found := re.fullmatch(r"(?i)ctrl-([a-z\\\[])", text):
        letter = found[1].lower()
        if letter in _TAKEN:
            raise invalid("key", text, f"another key: {_TAKEN[letter]}")
        return f"ctrl {letter}"
    if found := re.fullmatch(r"(?i)alt-(\S+)", text):
        return f"meta {parse_key(found[1])}"
    names = ", ".join(_NAMES.values())
    raise invalid("key", text, f"a character, Ctrl-A, Alt-A, or one of {names}")


class BindingError(ValueError):
    """An invalid binding; the text gives the reason and the valid values."""


class Keymap:
    """The keys of each context."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)
        self._by_key = {(key.context, name): key for key in keys for name in key.keys}

    def find(self, context: Context, name: str) -> Key | None:
        """Return the key with this urwid name in a context, or None."""
        found = self._by_key.get((context, name))
        if found is None and context in TYPING:
            return self._by_key.get((Context.LINE, name))
        return found

    def of(self, context: Context) -> list[Key]:
        """Return the commands of a context that have keys, the most important first."""
        return [key for key in self.all_of(context) if key.keys]

    def all_of(self, context: Context) -> list[Key]:
        """Return all commands of a context, including those without keys."""
        return [key for key in self._keys if key.context is context]

    def of_fleet(self) -> Self:
        """Return the keymap for rows of several hosts; a useless key gives the reason when pressed."""
        return type(self)([_of_fleet(key) for key in self._keys])

    def bound(self, context: Context, bindings: Mapping[str, Sequence[str]]) -> Self:
        """Return a keymap with other keys (urwid names) for some commands; a bound key is taken from its old command.

        Raise BindingError.

        """
        names = [key.name for key in self.all_of(context)]
        owners: dict[str, str] = {}
        for command, keys in bindings.items():
            if command not in names:
                raise BindingError(str(invalid("command", command, ", ".join(names))))
            for key in keys:
                if owners.setdefault(key, command) != command:
                    raise BindingError(
                        f"key {spelled(key)} is bound twice: {owners[key]}, {command}"
                    )
                if context in TYPING and len(key) == 1:
                    raise BindingError(
                        f"invalid key {spelled(key)}; expected one that types no text"
                    )
        return type(self)(
            [
                replace(key, keys=_keys(key, bindings, owners)) if key.context is context else key
                for key in self._keys
            ]
        )


def _of_fleet(key: Key) -> Key:
    if key.fleet_help is None:
        return key
    return replace(key, help=key.fleet_help, hint=key.hint if key.fleet_help else "")


def _keys(
    key: Key, bindings: Mapping[str, Sequence[str]], owners: Mapping[str, str]
) -> tuple[str, ...]:
    if key.name in bindings:
        return tuple(dict.fromkeys(bindings[key.name]))
    return tuple(name for name in key.keys if name not in owners)
