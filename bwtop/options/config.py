"""Configuration files: defaults for flags, and the columns and keys of the full screen.

The format is TOML.  The user's file overrides the administrator's, setting by setting.  Flags override both.
"""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bwtop.model import networks
from bwtop.model.live import AVERAGES
from bwtop.options import flags
from bwtop.options.command import ParsedFlags
from bwtop.options.flag import Flag
from bwtop.rights import account as accounts
from bwtop.rights import opening
from bwtop.text.invalid import LONGEST, invalid
from bwtop.text.stderr import say
from bwtop.tui.keymap import Context, Keymap, parse_key
from bwtop.tui.layout import FIELDS, ListColumn, parse_fields
from bwtop.tui.settings import Settings
from bwtop.view.grouping import Grouping

SYSTEM: Final = Path("/etc/bwtop/config.toml")

LARGEST: Final = 1 << 20
"""Bytes; a larger file is rejected."""


class ConfigError(Exception):
    """A mistake in a file; the text names the file, the setting and the valid values."""


def paths(environment: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Return the paths of the files, lowest precedence first (XDG Base Directory Specification 0.8)."""
    folder = Path(environment.get("XDG_CONFIG_HOME", ""))
    if not folder.is_absolute():  # required by the specification
        folder = home / ".config"
    return SYSTEM, folder / "bwtop" / "config.toml"


def user_path(environment: Mapping[str, str]) -> Path:
    """Return the path of the user's file in its default place."""
    return paths(environment, accounts.home(environment))[-1]


@dataclass(frozen=True)
class Setting:
    """A setting without a flag, for configuration files only."""

    name: str
    parse: Callable[[Any], Any]
    """Parse the TOML value; raises ValueError, whose text lists the valid values."""
    default: Any
    """As a TOML value."""
    help: str


def _columns(value: Any) -> tuple[ListColumn, ...]:
    return parse_fields(_strings(value))


def _average(value: Any) -> float:
    if isinstance(value, bool) or value not in AVERAGES:
        raise invalid("value", value, f"one of {', '.join(f'{a:g}' for a in AVERAGES)}")
    return float(value)


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise invalid("value", value, "true or false")


def _grouping(value: Any) -> Grouping:
    try:
        return Grouping(value)
    except ValueError:
        raise invalid("value", value, f"one of {', '.join(Grouping)}") from None


SETTINGS: Final = (
    Setting(
        "columns",
        _columns,
        [one.id for one in FIELDS],
        "columns of the full screen, left to right; text columns stand left of numbers",
    ),
    Setting(
        "average",
        _average,
        int(AVERAGES[0]),
        f"seconds to average its rates over: {', '.join(f'{a:g}' for a in AVERAGES)}",
    ),
    Setting(
        "mouse",
        _switch,
        Settings.mouse,
        "take clicks in the full screen; false leaves them to the terminal, to select text",
    ),
    Setting(
        "graphs",
        _switch,
        Settings.graphs,
        "show graphs in the header and the details of the full screen",
    ),
    Setting(
        "group",
        _grouping,
        Grouping.PROCESS.value,
        f"what one row stands for: {', '.join(Grouping)}",
    ),
    Setting(
        "join-loopback",
        _switch,
        Settings.join_loopback,
        "show both ends of loopback traffic as one row",
    ),
    Setting("fold-exited", _switch, Settings.fold_exited, "show exited processes as one row"),
)

KEYS: Final = "keys"
"""The table of key bindings."""

NETWORKS: Final = "networks"
"""The table of names of networks."""


@dataclass
class Config:
    """The merged contents of the configuration files."""

    flags: dict[str, Any] = field(default_factory=dict)
    """Values of flags by their fields in Options, for ParsedFlags.options()."""
    screen: dict[str, Any] = field(default_factory=dict)
    """Parsed values of SETTINGS."""
    keymap: Keymap | None = None
    """None: the default keymap, which modes without a screen do not import."""
    networks: dict[str, list[str]] = field(default_factory=dict)
    """Checked prefixes by name."""
    read: list[Path] = field(default_factory=list)
    """The files read, lowest precedence first."""

    def settings(self) -> dict[str, Any]:
        """Return keyword arguments for bwtop.tui.settings.Settings."""
        names = {"columns": "fields", "group": "grouping"}
        return {
            names.get(name, name.replace("-", "_")): value for name, value in self.screen.items()
        }


def files(given: ParsedFlags, environment: Mapping[str, str], home: Path) -> Config:
    """Load --config, else the files in their default places, unless --no-config; raises ConfigError."""
    if given.values.get("no_config"):
        return Config()
    named = given.values.get("config")
    if named:
        return load([named], lambda path: named_table(path, environment))
    return load(paths(environment, home), lambda path: found_table(path, environment))


def load(files: Sequence[Path], read: Callable[[Path], dict[str, Any] | None]) -> Config:
    """Load and merge files; `read` returns a file's table, or None without one.  Raises ConfigError."""
    config = Config()
    for path in files:
        try:
            table = read(path)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        if table is None:
            continue
        config.read.append(path)
        for name, value in table.items():
            try:
                _apply(config, name, value)
            except ValueError as error:
                raise ConfigError(f"{path}: {name[:LONGEST]}: {error}") from None
    return config


def found_table(path: Path, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the table of a file in its default place; None if it is missing or closed to this user.

    One line says so if its folder is open: then it was meant to be read.
    """
    try:
        return named_table(path, environment)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        if error.errno != errno.EACCES:
            raise
        if os.access(path.parent, os.X_OK, effective_ids=True):
            say(f"{path} is not read: {error.strerror}")
        return None


def named_table(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the table of a file, read with the rights of the user behind sudo; raises OSError and ConfigError.

    Root accepts only files that root or that user alone can write, because they control what is recorded, and where.
    """
    account = opening.rights(path, environment, named=path != SYSTEM)
    content = opening.read(path, LARGEST, account)
    if os.geteuid() == 0:
        behind = accounts.invoker(environment)
        trusted = [behind.uid] if behind and path != SYSTEM else []
        opening.check_writers(path, content, trusted)
    return _parse(path, content.data)


def _parse(path: Path, content: bytes) -> dict[str, Any]:
    """Return the table in a file's content; raises ConfigError, which names the file."""
    import tomllib  # most users have no file

    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _apply(config: Config, name: str, value: Any) -> None:
    screen = {setting.name: setting for setting in SETTINGS}
    if name == KEYS:
        config.keymap = _bound(config.keymap, value)
    elif name == NETWORKS:
        config.networks |= _networks(value)
        networks.parse_named(config.networks)
    elif name in screen:
        config.screen[name] = screen[name].parse(value)
    elif flag := flags.SETTINGS.get(name):
        config.flags[flag.name] = _value(flag, value)
    else:
        raise ValueError(_unknown(name, [*flags.SETTINGS, *screen, KEYS, NETWORKS]))


def _bound(keymap: Keymap | None, value: Any) -> Keymap:
    """Return the keymap with the bindings of a [keys] table.

    The table holds the keys of the list; subtables hold those of other contexts.
    """
    from bwtop.tui.keys import DEFAULT

    if not isinstance(value, dict):
        raise ValueError("expected a table, [keys]")
    keymap = keymap or DEFAULT
    tables = {name: table for name, table in value.items() if isinstance(table, dict)}
    tables[Context.LIST] = {
        **{name: keys for name, keys in value.items() if name not in tables},
        **tables.get(Context.LIST, {}),
    }
    for name, table in tables.items():
        if name not in list(Context):
            raise invalid("table", f"keys.{name}", f"one of {', '.join(Context)}")
        keymap = keymap.bound(Context(name), {c: _keys(c, keys) for c, keys in table.items()})
    return keymap


def _networks(value: Any) -> dict[str, list[str]]:
    """Return the prefixes by name of a [networks] table."""
    if not isinstance(value, dict):
        raise ValueError("expected a table, [networks]")
    found = {}
    for name, prefixes in value.items():
        try:
            found[name] = _strings(prefixes)
        except ValueError as error:
            raise ValueError(f"{name[:LONGEST]}: {error}") from None
    return found


def _keys(command: str, value: Any) -> list[str]:
    try:
        return [parse_key(text) for text in _strings(value)]
    except ValueError as error:
        raise ValueError(f"{command}: {error}") from None


def _unknown(name: str, names: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, 1)
    if close:
        return f"unknown setting; did you mean {close[0]}?"
    return f"unknown setting; expected one of {', '.join(sorted(names))}"


def _value(flag: Flag, value: Any) -> Any:
    """Parse a value by the rules of its flag."""
    if flag.parse is None:
        return _switch(value)
    if flag.is_table and isinstance(value, dict):
        value = [f"{name}={typed(one)}" for name, one in value.items()]
    parsed = flag.parse(typed(value))
    return tuple(parsed) if flag.repeats else parsed


def typed(value: Any) -> str:
    """Return a value as typed on the command line: lists with commas."""
    if isinstance(value, list):
        return ",".join(typed(one) for one in value)
    if isinstance(value, bool | dict) or not isinstance(value, str | int | float):
        raise invalid("value", value, "a string, a number or a list of them")
    return str(value)


def _strings(value: Any) -> list[str]:
    """Return a list of strings from such a list or from one string."""
    values = [value] if isinstance(value, str) else value
    if isinstance(values, list) and all(isinstance(one, str) for one in values):
        return values
    raise invalid("value", value, "a list of strings")
