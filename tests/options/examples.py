"""A valid value of every flag, none of them its default."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from bwtop.options import command, config
from bwtop.options.config import Config
from bwtop.options.flag import Flag
from bwtop.options.flags import SETTINGS, Options

Write = Callable[..., Path]
"""Writes text to a file."""

_SWITCHES: Final = "".join(f"{name} = true\n" for name, flag in SETTINGS.items() if not flag.parse)
_CHOICES: Final = "".join(
    f'{name} = "{flag.choices[-1]}"\n' for name, flag in SETTINGS.items() if flag.choices
)

FILE: Final = f"""
{_SWITCHES}{_CHOICES}
interval = 2.5
iterations = 5
max-flows = 1000
pid = [1, 2]
user = ["root"]
process = ["nginx*", 'quote " and \\ and ü']
remote = ["192.0.2.0/24", "::1"]
net = ["internet", "office"]
sort = "-tx_total"
fold-exited = false
join-loopback = true
limit = 3
db = "/x/y.db"
by = "process,day"
retention = "seconds=2h,days=forever"
keep-remotes = 50
max-size = "3G"
bind = "[::1]:99"
metrics = "[::1]:9000"
token-file = "/x/token"
otlp = "https://[::1]:99/x"
metrics-labels = ["unit", "container"]
allow-host = ["a.example"]
trust-user = ["root", 1000]
chart-js = "/x/chart.js"
asn-db = "/x/asn.mmdb"
country-db = "/x/country.mmdb"
ship = "clickhouses://b%20c@[::1]:9000/d"
from = "clickhouse://a.example/bwtop"
password-file = "/x/password"
host = ["web*", "db1"]
columns = ["process", "rx_rate"]
average = 40
mouse = false
graphs = false
group = "unit"
[keys]
leave = ["Ctrl-X", "Q"]
pause = []
[keys.help]
close = "Alt-q"
[networks]
office = ["10.8.0.0/16", "2001:db8:8::/48"]
backup = "192.0.2.0/24"
"""
"""A configuration file with every setting: switches and choices from the table, and a value of all others."""

_VALUES: Final[dict[str, Any]] = {
    **tomllib.loads(FILE),
    "history": "2026-11",
    "salvage": "/x/damaged.db",
    "cluster": "c1",
    "config": "/x/config.toml",
}


def typed(flag: Flag) -> str:
    """Return an argument that gives a flag another value than its default."""
    name = flag.long.lstrip("-")
    return f"{flag.long}={config.typed(_VALUES[name])}" if flag.parse else flag.long


def value(flag: Flag) -> Any:
    """Return the value of that argument."""
    if flag.parse is None:
        return flag.turns
    parsed = flag.parse(typed(flag).partition("=")[2])
    return tuple(parsed) if flag.repeats else parsed


def refusal(capsys: pytest.CaptureFixture[str], run: Callable[..., object], *arguments: str) -> str:
    """Return the one line with which a function refuses arguments, with exit status 2 and no output."""
    with pytest.raises(SystemExit) as raised:
        run(*arguments)
    captured = capsys.readouterr()
    assert raised.value.code == 2
    assert captured.out == ""
    assert re.fullmatch(r"bwtop: \S.*\n", captured.err), captured.err
    return captured.err


def parse(*arguments: str) -> Options:
    """Return the options of a command line, without a configuration file."""
    given = command.parse(arguments)
    return given.options(given.mode(terminal=True), {})


def load(*paths: Path) -> Config:
    """Return the configuration in files."""
    return config.load(paths, lambda path: config.named_table(path, {}))
