"""The effective configuration as a configuration file: --print-config."""

import json
from collections.abc import Iterator
from typing import Any

from bwtop.options import flags
from bwtop.options.command import ParsedFlags
from bwtop.options.config import SETTINGS, Config
from bwtop.options.flag import Flag
from bwtop.text.escape import printable
from bwtop.tui.keymap import Context, spelled
from bwtop.tui.layout import ListColumn


def lines(given: ParsedFlags, config: Config) -> Iterator[str]:
    """Yield the effective configuration as lines of a file; a setting without a value is a comment."""
    where = ", ".join(map(str, config.read)) or "none"
    yield f"# Effective configuration of bwtop.  Files read: {printable(where)}"
    yield "# Copy the settings to change to ~/.config/bwtop/config.toml or /etc/bwtop/config.toml."
    options = given.over(config.flags)
    for name, flag in flags.SETTINGS.items():
        yield ""
        yield f"# {printable(_help(flag))}"
        value = getattr(options, flag.name)
        is_unset = value is None or value == ()
        yield f"#{name} =" if is_unset else f"{name} = {toml((flag.spell or _plain)(value))}"
    for setting in SETTINGS:
        yield ""
        yield f"# {printable(setting.help)}"
        found = config.screen.get(setting.name)
        yield f"{setting.name} = {toml(setting.default if found is None else _plain(found))}"
    yield from _keys(config)
    yield from _networks(config)


def _help(flag: Flag) -> str:
    return f"{flag.help}: {', '.join(flag.choices)}" if flag.choices else flag.help


def _plain(value: Any) -> Any:
    """Convert a value to a TOML type."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, ListColumn):
        return value.id
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, bool | int | float) else str(value)


def toml(value: Any) -> str:
    """Return strings, numbers, booleans and lists of them as TOML.  JSON writes them alike, except DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _networks(config: Config) -> Iterator[str]:
    yield ""
    yield "[networks]"
    if not config.networks:
        yield '#office = ["10.8.0.0/16", "2001:db8:8::/48"]  # names for --net and --by net'
    for name, prefixes in config.networks.items():
        yield f"{name} = {toml(prefixes)}"


def _keys(config: Config) -> Iterator[str]:
    from bwtop.tui.keys import DEFAULT

    keymap = config.keymap or DEFAULT
    for context in Context:
        yield ""
        yield f"[keys{'' if context is Context.LIST else f'.{context}'}]"
        for key in keymap.all_of(context):
            names = [spelled(name) for name in key.keys]
            yield f"{key.name} = {toml(names)}  # {key.help}"
