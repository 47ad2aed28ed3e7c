"""One row of the table of flags, and the functions that write it as a field of a dataclass."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Required, TypedDict, TypeVar, Unpack, overload

from bwtop.options import values

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

ROW: Final = "flag"
"""Key of a row in the metadata of its field."""


class Mode(StrEnum):
    """A mode, by the name of its flag.  The full screen has no flag."""

    SCREEN = "screen"
    BATCH = "batch"
    RECORD = "record"
    HISTORY = "history"
    SERVE = "serve"
    CHECK = "check"
    DEMO = "demo"
    INIT = "init"
    SALVAGE = "salvage"
    PRINT_SCHEMA = "print_schema"
    PRINT_CONFIG = "print_config"


class Group(StrEnum):
    """A group of flags in --help and the manual, by its title."""

    OPTIONS = "options"
    MODES = "modes"
    MEASURING = "measuring"
    FILTERS = "filters"
    DISPLAY = "display"
    HISTORY = "history"
    HOSTS = "many hosts"
    SERVING = "browser view and metrics"
    CONFIGURATION = "configuration"


EXCLUSIVE: Final = (Group.MODES, Group.CONFIGURATION)
"""Groups of which only one flag can be given."""


class Complete(StrEnum):
    """Values that shells complete, besides the words of a flag itself."""

    FILE = "file"
    USER = "user"
    PROCESS = "process"


class Row(TypedDict, total=False):
    """Properties that any row may have; see Flag for the meanings."""

    group: Required[Group]
    help: Required[str]
    modes: frozenset[Mode]
    modes_if_typed: frozenset[Mode]
    is_setting: bool
    is_table: bool
    needs: Mapping[str, str]
    against: Mapping[str, str]
    overrides: frozenset[str]
    check: Callable[[Any], str | None]
    metavar: str
    bare: str
    words: Sequence[str]
    is_list: bool
    complete: Complete
    spell: Callable[[Any], Any]
    opposite: str
    opposite_help: str
    exits: str


@dataclass(frozen=True)
class Flag:
    """One flag.  Other flags are named by their fields in Options, modes by the fields of their flags."""

    names: tuple[str, ...]
    """With dashes, the long name last."""
    group: Group
    help: str
    name: str = ""
    """Its field in Options."""
    default: Any = None

    parse: Callable[[str], Any] | None = None
    """Parse a value; raises ValueError with one line.  None: a switch, which takes no value."""
    metavar: str = ""
    """Name of the value."""
    choices: tuple[str, ...] = ()
    """All valid values, if they are a fixed set of words."""
    repeats: bool = False
    """Values are comma-separated, and add up if the flag is repeated."""
    bare: str | None = None
    """The value of the flag without one; None: the value is required."""
    turns: bool = True
    """The value of a switch."""
    opposite: str = ""
    """Name of the flag that turns a switch off."""
    opposite_help: str = ""
    exits: str = ""
    """The action of argparse that prints something and exits: "help" or "version"."""

    modes: frozenset[Mode] = frozenset()
    """Modes that use it.  Others refuse the flag and ignore the setting: `limit` in a file must not make `bwtop --record` fail."""
    modes_if_typed: frozenset[Mode] = frozenset()
    """Modes that use the flag, and ignore the setting: `sort = "pid"` in a file must not make `bwtop --history` fail."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Flags of which it needs one, with what to add to their names in the message."""
    against: Mapping[str, str] = field(default_factory=dict)
    """Flags that it cannot be used with, with what to add to their names in the message.

    Modes that do not use it need no row, unless there is something to add.
    """
    check: Callable[[Any], str | None] | None = None
    """Return a message if its value contradicts other options, else None."""
    overrides: frozenset[str] = frozenset()
    """Settings that do not count once the flag is typed."""

    is_setting: bool = True
    """A configuration file may set it, if any mode uses it."""
    is_table: bool = False
    """A configuration file may have its value, NAME=VALUE,..., as a table."""
    spell: Callable[[Any], Any] | None = None
    """Turn the value back into what a configuration file has; None: it is text, a number or a list of them."""

    words: Sequence[str] = ()
    """Words that shells complete as its value, if it has no `choices`."""
    is_list: bool = False
    """The value is a comma-separated list of `words`."""
    complete: Complete | None = None

    @property
    def long(self) -> str:
        """The long name, with its dashes."""
        return self.names[-1]

    @property
    def setting(self) -> str:
        """Its name in a configuration file; empty if a file may not set it."""
        return self.long.lstrip("-") if self.modes and self.is_setting and self.turns else ""


def switch(*names: str, **row: Unpack[Row]) -> bool:
    """Return the field of a flag without a value."""
    return _field(Flag(names, **row), default=False)


@overload
def value(*names: str, parse: Callable[[str], T], default: T, **row: Unpack[Row]) -> T: ...


@overload
def value(*names: str, parse: Callable[[str], T], **row: Unpack[Row]) -> T | None: ...


def value(
    *names: str, parse: Callable[[str], T], default: T | None = None, **row: Unpack[Row]
) -> T | None:
    """Return the field of a flag with a value; the last one counts if it is repeated."""
    return _field(Flag(names, parse=parse, **row), default=default)


def several(*names: str, parse: Callable[[str], T], **row: Unpack[Row]) -> tuple[T, ...]:
    """Return the field of a flag with comma-separated values, which add up if it is repeated."""
    parts = values.listed(parse)
    return _field(Flag(names, parse=parts, repeats=True, **row), default=())


@overload
def choice(
    *names: str, what: str, among: Sequence[Word], default: Word, **row: Unpack[Row]
) -> Word: ...


@overload
def choice(*names: str, what: str, among: Sequence[Word], **row: Unpack[Row]) -> Word | None: ...


def choice(
    *names: str,
    what: str,
    among: Sequence[Word],
    default: Word | None = None,
    **row: Unpack[Row],
) -> Word | None:
    """Return the field of a flag whose value is one of the words `among`."""
    parse, words = values.one_of(what, among), tuple(map(str, among))
    return _field(Flag(names, parse=parse, choices=words, **row), default=default)


def _field(flag: Flag, *, default: T) -> T:
    made: T = field(default=default, metadata={ROW: flag})
    return made
