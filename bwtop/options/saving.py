"""Saving settings of the full screen in the user's configuration file, which keeps all else that is written there."""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bwtop.options import flags
from bwtop.options.config import LARGEST, SETTINGS, typed
from bwtop.options.printed import toml
from bwtop.rights import opening
from bwtop.rights.writing import replace

_PRIVATE: Final = 0o600


def _parsers() -> Mapping[str, Callable[[Any], Any]]:
    """Return the settings that the screen saves, and what refuses their invalid values."""
    settings = {one.name: one.parse for one in SETTINGS}
    theme = flags.SETTINGS["theme"].parse
    assert theme
    return {
        **{name: settings[name] for name in ("columns", "mouse", "graphs")},
        "theme": lambda value: theme(typed(value)),
    }


SAVED: Final = ("theme", "mouse", "graphs", "columns")
"""The settings that are saved; no others, whoever asks."""


def save(path: Path, values: Mapping[str, Any]) -> None:
    """Set values of settings in a file, which is created if it is missing; None removes the setting.

    Raise OSError, and ValueError for what is no such setting, or a file that cannot be changed safely.
    """
    parsers = _parsers()
    for name, value in values.items():
        if name not in parsers:
            raise ValueError(f"{name!r} is not saved by the screen")
        if value is not None:
            parsers[name](value)
    target = Path(os.path.realpath(path))  # a link into a folder of dotfiles stays one
    mode = _PRIVATE
    try:
        content = opening.read(target, LARGEST, None)
        text, mode = content.data.decode(), stat.S_IMODE(content.mode)
    except FileNotFoundError:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = ""
    replace(target, changed(text, values).encode(), mode)


def changed(text: str, values: Mapping[str, Any]) -> str:
    """Return a configuration with other values of some settings; raise ValueError if it is no valid one."""
    before = tomllib.loads(text)
    lines = text.splitlines(keepends=True)
    for name, value in values.items():
        lines = _with(lines, name, value)
    found = "".join(lines)
    wanted = {**before, **{name: value for name, value in values.items() if value is not None}}
    for name in (name for name, value in values.items() if value is None):
        wanted.pop(name, None)
    if tomllib.loads(found) != wanted:
        raise ValueError("the configuration file cannot be changed safely; edit it")
    return found


def _with(lines: list[str], name: str, value: Any) -> list[str]:
    """Return lines with another value of a setting at the top level."""
    place = 0
    while place < len(lines):
        stripped = lines[place].strip()
        if stripped.startswith("["):  # the first table
            break
        end = place + 1
        if stripped and not stripped.startswith("#"):
            end = _end(lines, place)
            if name in _parsed("".join(lines[place:end])):
                new = [] if value is None else [_statement(name, value, lines[place:end])]
                return [*lines[:place], *new, *lines[end:]]
        place = end
    if value is None:
        return lines
    before = lines[:place]
    if before and not before[-1].endswith("\n"):
        before[-1] += "\n"
    return [*before, _statement(name, value, []), *lines[place:]]


def _end(lines: list[str], place: int) -> int:
    """Return the end of the statement that begins in a line; it may take several."""
    for end in range(place + 1, len(lines) + 1):
        if _parsed("".join(lines[place:end])):
            return end
    raise ValueError("the configuration file cannot be changed safely; edit it")


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _statement(name: str, value: Any, before: list[str]) -> str:
    """Return a statement with the comment that was behind the one before, or above it with those within its lines."""
    above, behind = "", ""
    if len(before) == 1:
        line = before[0].rstrip("\r\n")
        for found in re.finditer(r"\s*#", line):
            if _parsed(line[: found.start()]) == _parsed(line):
                behind = line[found.start() :]
                break
    else:  # no valid value has a # itself
        above = "".join(f"{comment}\n" for line in before for comment in re.findall("#.*", line))
    return f"{above}{name} = {toml(value)}{behind}\n"
