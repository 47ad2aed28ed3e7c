"""Configuration files: what flags are where nobody gives them, and how the full screen looks and listens.

The administrator's file counts first, then the user's, setting by setting; flags come before both.  The format is TOML.
"""

import argparse
import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bwtop.clickhouse.target import Target
from bwtop.history.dimensions import Dimension
from bwtop.history.tiers import spell_retention
from bwtop.model.live import AVERAGES
from bwtop.options.flags import MODES, ParsedFlags, parser
from bwtop.options.values import spell_endpoint, spell_size
from bwtop.rights import account as accounts
from bwtop.rights import opening
from bwtop.text.escape import printable
from bwtop.tui.keymap import Context, Keymap, parse_key
from bwtop.tui.keymap import spelled as key_name
from bwtop.tui.layout import FIELDS, Field, parse_fields
from bwtop.view.tree import Grouping

SYSTEM: Final = Path("/etc/bwtop/config.toml")

LARGEST: Final = 1 << 20
"""Bytes; what is larger is no such file."""


class ConfigError(Exception):
    """A file is wrong; the text names it, the setting, and what may stand there."""


def paths(environment: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Where files may be, what counts less first (XDG Base Directory Specification 0.8)."""
    folder = Path(environment.get("XDG_CONFIG_HOME", ""))
    if not folder.is_absolute():  # as the specification demands
        folder = home / ".config"
    return SYSTEM, folder / "bwtop" / "config.toml"


@dataclass(frozen=True)
class Setting:
    """Something that only a file can say: it has no flag."""

    name: str
    parse: Callable[[Any], Any]
    """From what TOML has; raises ValueError that says what there is."""
    default: Any
    """In TOML's terms."""
    help: str


def _columns(value: Any) -> tuple[Field, ...]:
    return parse_fields(_strings(value))


def _average(value: Any) -> float:
    if isinstance(value, bool) or value not in AVERAGES:
        raise ValueError(f"{value!r} is not one of {', '.join(f'{a:g}' for a in AVERAGES)}")
    return float(value)


def _grouping(value: Any) -> Grouping:
    try:
        return Grouping(value)
    except ValueError:
        raise ValueError(f"{value!r} is not one of {', '.join(Grouping)}") from None


SETTINGS: Final = (
    Setting(
        "columns",
        _columns,
        [one.id for one in FIELDS],
        "the columns of the full screen, from left to right; texts stand left of numbers",
    ),
    Setting(
        "average",
        _average,
        int(AVERAGES[0]),
        f"seconds that its rates are averaged over: {', '.join(f'{a:g}' for a in AVERAGES)}",
    ),
    Setting(
        "group",
        _grouping,
        Grouping.PROCESS.value,
        f"what its rows stand for: {', '.join(Grouping)}",
    ),
)

KEYS: Final = "keys"
"""The table of key bindings."""


@dataclass
class Config:
    """What the files say, together."""

    flags: dict[str, Any] = field(default_factory=dict)
    """Values of flags by the names that argparse has for them, as flags.ParsedFlags.options() takes them."""
    screen: dict[str, Any] = field(default_factory=dict)
    """Parsed values of SETTINGS."""
    keymap: Keymap | None = None
    """None: the default one, which a mode without a screen has no need to import."""
    read: list[Path] = field(default_factory=list)
    """The files that were there, what counts less first."""

    def settings(self) -> dict[str, Any]:
        """Those of bwtop.tui.settings.Settings."""
        names = {"columns": "fields", "group": "grouping"}
        return {names.get(name, name): value for name, value in self.screen.items()}


def files(given: ParsedFlags, environment: Mapping[str, str], home: Path) -> Config:
    """What the files say that are to be read; raises ConfigError."""
    if given.values.get("no_config"):
        return Config()
    named = given.values.get("config")
    if named:
        return load([named], lambda path: _named(path, environment))
    return load(paths(environment, home), lambda path: _found(path, environment))


def load(files: Sequence[Path], read: Callable[[Path], dict[str, Any] | None]) -> Config:
    """What the files say, each as it is `read`; raises ConfigError."""
    config = Config()
    switched: dict[str, bool] = {}
    for path in files:
        try:
            table = read(path)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        if table is None:
            continue
        config.read.append(path)
        actions = _actions()
        for name, value in table.items():
            try:
                _take(config, switched, actions, name, value)
            except (ValueError, argparse.ArgumentTypeError) as error:
                raise ConfigError(f"{path}: {name}: {error}") from None
    on = [name for name, is_on in switched.items() if is_on]
    if on:
        config.flags["classes"] = on
    return config


def _found(path: Path, environment: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the table of a file in its usual place; None where there is none, or in a folder closed to this user."""
    try:
        return _named(path, environment)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        if error.errno == errno.EACCES:
            return None
        raise


def _named(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the table of a file, read with the rights of the user behind sudo; raises OSError and ConfigError.

    Root believes only files that root or that user alone can write: they say what is recorded, and where.
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
    import tomllib  # most have no file to read

    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from None


def _actions() -> dict[str, argparse.Action]:
    """Flags that a file may say, by their long names without the dashes."""
    found: dict[str, argparse.Action] = {}
    for action in parser()._actions:
        is_the_opposite = isinstance(action, argparse._StoreFalseAction)
        if action.dest in MODES and not is_the_opposite:
            found[action.option_strings[-1].lstrip("-")] = action
    return found


def _take(
    config: Config,
    switched: dict[str, bool],
    actions: Mapping[str, argparse.Action],
    name: str,
    value: Any,
) -> None:
    settings = {setting.name: setting for setting in SETTINGS}
    if name == KEYS:
        config.keymap = _bound(config.keymap, value)
    elif name in settings:
        config.screen[name] = settings[name].parse(value)
    elif name not in actions:
        raise ValueError(_unknown(name, [*actions, *settings, KEYS]))
    elif isinstance(actions[name], argparse._AppendConstAction):
        switched[name] = _switch(value)
    else:
        config.flags[actions[name].dest] = _value(actions[name], value)


def _bound(keymap: Keymap | None, value: Any) -> Keymap:
    """With the bindings of a table [keys]; those of other contexts than the list are in tables in it."""
    from bwtop.tui.keys import DEFAULT

    if not isinstance(value, dict):
        raise ValueError("this is a table: [keys]")
    keymap = keymap or DEFAULT
    tables = {name: table for name, table in value.items() if isinstance(table, dict)}
    tables[Context.LIST] = {
        **{name: keys for name, keys in value.items() if name not in tables},
        **tables.get(Context.LIST, {}),
    }
    for name, table in tables.items():
        if name not in list(Context):
            raise ValueError(f"there is no [keys.{name}]; there are {', '.join(Context)}")
        keymap = keymap.bound(Context(name), {c: _keys(c, keys) for c, keys in table.items()})
    return keymap


def _keys(command: str, value: Any) -> list[str]:
    try:
        return [parse_key(text) for text in _strings(value)]
    except ValueError as error:
        raise ValueError(f"{command}: {error}") from None


def _unknown(name: str, names: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, 1)
    if close:
        return f"there is no such setting; did you mean {close[0]}?"
    return f"there is no such setting; there are {', '.join(sorted(names))}"


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{value!r} is neither true nor false")


def _value(action: argparse.Action, value: Any) -> Any:
    """A flag's value, by the flag's own rules."""
    if isinstance(action, argparse._StoreTrueAction):
        return _switch(value)
    if action.dest == "retention" and isinstance(value, dict):
        value = ",".join(f"{name}={length}" for name, length in value.items())
    if isinstance(action, argparse._AppendAction) and not isinstance(
        action, argparse._ExtendAction
    ):
        return [_parsed(action, text) for text in _strings(value)]
    return _parsed(action, _text(value))


def _parsed(action: argparse.Action, text: str) -> Any:
    if action.choices is not None and text not in action.choices:
        raise ValueError(f"{text!r} is not one of {', '.join(action.choices)}")
    return action.type(text) if callable(action.type) else text


def _text(value: Any) -> str:
    """As it would be typed: lists with commas."""
    if isinstance(value, list):
        return ",".join(_text(one) for one in value)
    if isinstance(value, bool | dict) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is neither a text, a number, nor a list of such")
    return str(value)


def _strings(value: Any) -> list[str]:
    """A list of texts, or one text."""
    values = [value] if isinstance(value, str) else value
    if isinstance(values, list) and all(isinstance(one, str) for one in values):
        return values
    raise ValueError(f"{value!r} is not a list of texts")


# The same, written.


def spelled(given: ParsedFlags, config: Config) -> Iterator[str]:
    """What all of it comes to, as the lines of a file; what is left out is open, and stands there as a comment."""
    where = ", ".join(map(str, config.read)) or "none"
    yield f"# What bwtop's configuration comes to.  Files that were read: {_comment(where)}"
    yield "# Copy what you want to change to ~/.config/bwtop/config.toml or /etc/bwtop/config.toml."
    values = {**given.defaults, **config.flags, **given.values}
    for name, action in _actions().items():
        yield ""
        yield f"# {_comment(_help(action))}"
        value = _spelled_value(action, values[action.dest])
        yield f"{name} = {value}" if value else f"#{name} ="
    for setting in SETTINGS:
        yield ""
        yield f"# {_comment(setting.help)}"
        found = config.screen.get(setting.name)
        yield f"{setting.name} = {_toml(setting.default if found is None else _plain(found))}"
    yield from _spelled_keys(config)


def _help(action: argparse.Action) -> str:
    choices = f": {', '.join(action.choices)}" if action.choices else ""
    return f"{action.help}{choices}".replace("%%", "%")


def _spelled_value(action: argparse.Action, value: Any) -> str:
    """In TOML; empty if nothing is said."""
    if isinstance(action, argparse._AppendConstAction):
        return _toml(action.const in (value or ()))
    return "" if value is None else _toml(_SPELLED.get(action.dest, _plain)(value))


_SPELLED: Final[dict[str, Callable[[Any], Any]]] = {
    "retention": spell_retention,
    "max_size": spell_size,
    "bind": spell_endpoint,
    "ship": Target.url,
    "origin": Target.url,
    "metrics": spell_endpoint,
}
"""How values are written that are kept in another form."""


def _plain(value: Any) -> Any:
    """What TOML has for it."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Field | Dimension):
        return value.id if isinstance(value, Field) else value.name
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, bool | int | float) else str(value)


def _toml(value: Any) -> str:
    """Texts, numbers, true and false, and lists of such; JSON writes them alike but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    return printable(text)


def _spelled_keys(config: Config) -> Iterator[str]:
    from bwtop.tui.keys import DEFAULT

    keymap = config.keymap or DEFAULT
    for context in Context:
        yield ""
        yield f"[keys{'' if context is Context.LIST else f'.{context}'}]"
        for key in keymap.all_of(context):
            names = [key_name(name) for name in key.keys]
            yield f"{key.name} = {_toml(names)}  # {key.help}"
