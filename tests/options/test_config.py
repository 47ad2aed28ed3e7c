"""Configuration files: settings, precedence, mistakes, and --print-config."""

import functools
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.history.tiers import TIERS, default_retention, parse_retention, spell_retention
from bwtop.model.live import AVERAGES
from bwtop.options import config, flags, values
from bwtop.options.config import Config, ConfigError
from bwtop.options.flags import MODES, Mode
from bwtop.rights import opening
from bwtop.tui import keys
from bwtop.tui.keymap import Context
from bwtop.tui.layout import FIELDS
from bwtop.view.columns import Order, parse_order
from bwtop.view.tree import Grouping

LAUNCHER = Path(__file__).parents[2] / "bwtop.py"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes text to a file and returns its path."""

    def file(text: str, name: str = "config.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return file


def load(*paths: Path) -> Config:
    return config.load(paths, lambda path: config._named(path, {}))


def mistake(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        load(path)
    return str(raised.value)


# Values


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("interval = 2.5", "interval", 2.5),
        ("interval = 2", "interval", 2.0),
        ("iterations = 5", "iterations", 5),
        ('sort = "-pid"', "sort", "-pid"),
        ("bits = true", "bits", True),
        ("bits = false", "bits", False),
        ("no-resolve = true", "no_resolve", True),
        ("max-flows = 1000", "max_flows", 1000),
        ('loopback = "hide"', "loopback", "hide"),
        ('backend = "tracepoint"', "backend", "tracepoint"),
        ('format = "json"', "format", "json"),
        ('theme = "light"', "theme", "light"),
        ('process = ["nginx*", "curl"]', "process", ["nginx*", "curl"]),
        ('process = "nginx*,curl"', "process", ["nginx*", "curl"]),
        ("pid = [1, 2]", "pid", [1, 2]),
        ("pid = 7", "pid", [7]),
        ('user = ["root", 1000]', "user", [0, 1000]),
        ('allow-host = ["a.example", "b.example"]', "allow_host", ["a.example", "b.example"]),
        ('trust-user = ["root", 1000]', "trust_user", [0, 1000]),
        ("open = true", "open", True),
        ('bind = "[::1]:80"', "bind", ("::1", 80)),
        ('metrics = "127.0.0.1"', "metrics", ("127.0.0.1", 8063)),
        ('db = "/x/y.db"', "db", Path("/x/y.db")),
        ('max-size = "2M"', "max_size", 2 << 20),
        ("tcp = true", "classes", ["tcp"]),
        ("other = true\ntcp = true\nudp = false", "classes", ["other", "tcp"]),
        (
            'retention = "seconds=2h"',
            "retention",
            default_retention() | {"seconds": 7200.0},
        ),
        (
            '[retention]\nseconds = "2h"\nminutes = "30d"',
            "retention",
            default_retention() | {"seconds": 7200.0, "minutes": 30 * 86400.0},
        ),
    ],
    ids=repr,
)
def test_file_sets_flag(write: Write, text: str, name: str, value: Any) -> None:
    assert load(write(text)).flags == {name: value}


def test_protocol_set_to_false_changes_nothing(write: Write) -> None:
    assert load(write("tcp = false")).flags == {}


def test_file_can_set_every_flag_except_modes() -> None:
    told = {action.dest for action in flags.parser()._actions}
    not_settings = {mode.value for mode in Mode} | {"help", "version", "config", "no_config"}
    not_settings |= {"cluster"}  # tables are made once
    assert set(MODES) == told - not_settings


def test_file_sets_columns_average_and_group(write: Write) -> None:
    found = load(
        write('columns = ["tx_rate", "process", "pid"]\naverage = 10\ngroup = "user"')
    ).settings()
    assert [field.id for field in found["fields"]] == ["process", "pid", "tx_rate"]
    assert (found["average"], found["grouping"]) == (10.0, Grouping.USER)


# Precedence


def test_user_file_overrides_system_file(write: Write) -> None:
    system = write('interval = 5\nbits = true\ntcp = true\nprocess = ["a"]', "system")
    user = write('interval = 2\nudp = true\ntcp = false\nprocess = ["b"]', "user")
    found = load(system, user)
    assert found.flags == {"interval": 2.0, "bits": True, "classes": ["udp"], "process": ["b"]}
    assert found.read == [system, user]


def test_flags_override_files(write: Write) -> None:
    files = load(
        write('interval = 5\nbits = true\nprocess = ["a"]\nno-resolve = true\nsort = "pid"')
    )
    typed = flags.parse(["--batch", "-d", "1", "--process", "b", "--no-bits", "--resolve"])
    options = typed.options(Mode.BATCH, files.flags)
    assert (options.interval, options.bits, options.no_resolve) == (1.0, False, False)
    assert (options.process, options.sort, options.limit) == (["b"], "pid", None)


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.PRINT_CONFIG])
def test_setting_applies_only_in_modes_that_use_it(mode: Mode, write: Write) -> None:
    text = 'interval = 5\nlimit = 3\nformat = "json"\nsort = "pid"\nloopback = "hide"\nbind = "127.0.0.1:1"\nmetrics = "127.0.0.1:2"'
    files = load(write(text))
    options = flags.parse([]).options(mode, files.flags)
    taken = {
        name
        for name, value in files.flags.items()
        if getattr(options, name) == value and name != "loopback"
    }
    expected = {
        Mode.SCREEN: {"interval", "sort"},
        Mode.BATCH: {"interval", "limit", "format", "sort"},
        Mode.RECORD: {"interval", "metrics"},
        Mode.HISTORY: {"limit", "format"},
        Mode.SERVE: {"interval", "bind"},
        Mode.DEMO: {"interval", "sort"},
        Mode.CHECK: set(),
        Mode.INIT: set(),
        Mode.PRINT_SCHEMA: set(),
    }
    assert taken == expected[mode]


def test_configured_from_does_not_replace_the_local_host(write: Write) -> None:
    """Plain bwtop shows the local host."""
    files = load(write('from = "clickhouse://db/bwtop"\nhost = ["web*"]\n'))
    typed = flags.parse([])
    for mode in (Mode.SCREEN, Mode.BATCH):
        options = typed.options(mode, files.flags)
        assert (options.origin, options.host) == (None, None)
    assert typed.options(Mode.HISTORY, files.flags).origin.host == "db"
    assert typed.options(Mode.SERVE, files.flags).origin.host == "db"


@pytest.mark.parametrize(
    ("mode", "typed"),
    [
        (Mode.HISTORY, ["--history", "--db", "/x"]),
        (Mode.SERVE, ["--serve", "--ship", "clickhouse://h/d"]),
        (Mode.SERVE, ["--serve", "--no-record"]),
    ],
)
def test_flags_about_the_local_host_override_configured_from(
    mode: Mode, typed: list[str], write: Write
) -> None:
    files = load(write('from = "clickhouse://db/bwtop"\n'))
    assert flags.parse(typed).options(mode, files.flags).origin is None


def test_file_does_not_change_the_mode(write: Write) -> None:
    files = load(write('format = "json"\nlimit = 3\niterations = 1'))
    typed = flags.parse([])
    assert typed.mode(terminal=True) is Mode.SCREEN
    assert typed.options(Mode.SCREEN, files.flags).format is None


@pytest.mark.parametrize(
    ("arguments", "mode"),
    [
        (["--batch"], Mode.BATCH),
        (["--record"], Mode.RECORD),
        (["--history"], Mode.HISTORY),
        (["--history", "7d"], Mode.HISTORY),
        (["--serve"], Mode.SERVE),
        (["--check"], Mode.CHECK),
        (["--demo"], Mode.DEMO),
        (["--print-config"], Mode.PRINT_CONFIG),
        ([], Mode.SCREEN),
    ],
    ids=repr,
)
def test_flag_selects_mode(arguments: list[str], mode: Mode) -> None:
    assert flags.parse(arguments).mode(terminal=True) is mode


# Mistakes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("interval = 0", "interval: invalid number of seconds '0'; expected 0.1 to 3600"),
        ('interval = "x"', "interval: invalid number of seconds 'x'; expected 0.1 to 3600"),
        (
            "interval = true",
            "interval: invalid value True; expected a string, a number or a list of them",
        ),
        ("interval = 2026-11-26", "interval: invalid value datetime.date"),
        ("bits = 1", "bits: invalid value 1; expected true or false"),
        ('tcp = "yes"', "tcp: invalid value 'yes'; expected true or false"),
        ('loopback = "maybe"', "loopback: invalid value 'maybe'; expected one of show, hide, only"),
        ('theme = "blue"', "theme: invalid value 'blue'; expected one of dark, light"),
        ('sort = "nope"', "sort: invalid column 'nope'; expected hostname, "),
        (
            'user = "no-such-user-here"',
            "user: invalid user 'no-such-user-here'; expected the name of a user",
        ),
        (
            'retention = "weeks=1d"',
            f"retention: invalid level of detail 'weeks'; expected {TIERS[0].name}",
        ),
        ("interwal = 1", "interwal: unknown setting; did you mean interval?"),
        ("zzz = 1", "zzz: unknown setting; expected one of allow-host, average, backend"),
        ("batch = true", "batch: unknown setting"),
        ("config = 1", "config: unknown setting"),
        ('columns = ["pid"]', "columns: column 'process' is required"),
        ('columns = ["process", "nope"]', "columns: invalid column 'nope'; expected pid,"),
        (
            'columns = ["process", "process"]',
            "columns: invalid columns ['process', 'process']; expected process only once",
        ),
        ("columns = 3", "columns: invalid value 3; expected a list of strings"),
        ("average = 3", "average: invalid value 3; expected one of 1, 2, 10, 40"),
        ("average = true", "average: invalid value True; expected one of 1, 2, 10, 40"),
        ('group = "x"', "group: invalid value 'x'; expected one of process, executable"),
        ("keys = 1", "keys: expected a table, [keys]"),
        ('[keys]\nnope = "x"', "keys: invalid command 'nope'; expected show-help, leave,"),
        ('[keys]\nleave = "Hyper-X"', "keys: leave: invalid key 'Hyper-X'; expected a character,"),
        (
            '[keys]\nleave = "Ctrl-C"',
            "keys: leave: invalid key 'Ctrl-C'; expected another key: the terminal makes",
        ),
        ('[keys]\nleave = "x"\npause = "x"', "keys: key x is bound twice: leave, pause"),
        ("[keys]\nleave = 1", "keys: leave: invalid value 1; expected a list of strings"),
        (
            '[keys.nowhere]\nleave = "x"',
            "keys: unknown table [keys.nowhere]; expected one of list, filter",
        ),
        (
            '[keys.filter]\naccept-filter = "x"',
            "keys: invalid key x; expected one that types no text",
        ),
        ("interval = ", "Invalid value ("),
        ("a = 1\na = 2", "Cannot overwrite a value"),
    ],
    ids=repr,
)
def test_mistake_names_file_setting_and_valid_values(write: Write, text: str, words: str) -> None:
    path = write(text)
    said = mistake(path)
    assert said.startswith(f"{path}: {words}")
    assert "\n" not in said


def test_unreadable_file_is_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe")
    assert mistake(path).startswith(f"{path}: 'utf-8' codec")
    path.write_bytes(b"#" * (config.LARGEST + 1))
    assert mistake(path) == f"{path}: larger than 1048576 bytes"
    assert mistake(tmp_path) == f"{tmp_path}: Is a directory"
    assert mistake(tmp_path / "none") == f"{tmp_path}/none: No such file or directory"


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12) | st.integers(), max_size=3))
def test_any_table_is_accepted_or_a_mistake(table: dict[str, Any]) -> None:
    with suppress(ConfigError):
        config.load([Path("x")], lambda _: table)


# Paths


def test_user_file_follows_xdg(tmp_path: Path) -> None:
    system, user = config.paths({}, tmp_path)
    assert (str(system), user) == ("/etc/bwtop/config.toml", tmp_path / ".config/bwtop/config.toml")
    assert config.paths({"XDG_CONFIG_HOME": "/x"}, tmp_path)[1] == Path("/x/bwtop/config.toml")
    assert config.paths({"XDG_CONFIG_HOME": "x"}, tmp_path)[1] == user


def test_missing_file_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file" / "below"):
        assert config._found(path, {}) is None


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("owner", "mode", "words"),
    [
        (0, 0o644, ""),
        (1234, 0o644, ""),
        (0, 0o666, "can be written by others; run: chmod go-w"),
        (1234, 0o664, "can be written by others; run: chmod go-w"),
        (4321, 0o644, "belongs to uid 4321, so root does not read it"),
    ],
)
def test_root_rejects_file_that_another_user_can_write(
    write: Write, monkeypatch: pytest.MonkeyPatch, owner: int, mode: int, words: str
) -> None:
    path = write("bits = true")
    os.chown(path, owner, owner)
    path.chmod(mode)
    monkeypatch.setattr(opening, "rights", lambda *_, **__: None)  # pytest's folders are root's
    behind = {"SUDO_UID": "1234", "SUDO_GID": "1234"}
    for read in (config._found, config._named):
        as_root = functools.partial(read, environment=behind)
        if words:
            with pytest.raises(ConfigError, match=words):
                config.load([path], as_root)
        else:
            assert config.load([path], as_root).flags == {"bits": True}


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(LAUNCHER), *arguments],
        env=os.environ | {"XDG_CONFIG_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_program_reads_file(tmp_path: Path) -> None:
    (tmp_path / "bwtop").mkdir()
    path = tmp_path / "bwtop" / "config.toml"
    path.write_text("interval = 0")
    result = run("--history", home=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"bwtop: {path}: interval: invalid number of seconds '0'; expected 0.1 to 3600\n"
    )
    assert run("--print-config", "--no-config", home=tmp_path).returncode == 0
    path.write_text("interval = 7")
    printed = run("--print-config", home=tmp_path).stdout
    assert tomllib.loads(printed)["interval"] == 7
    assert str(path) in printed
    other = tmp_path / "other.toml"
    other.write_text("interval = 9")
    printed = run("--print-config", "--config", str(other), home=tmp_path).stdout
    assert tomllib.loads(printed)["interval"] == 9
    missing = run("--config", f"{other}x", home=tmp_path)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)


# --print-config


def printed(arguments: list[str], files: Config) -> str:
    return "\n".join(config.spelled(flags.parse(arguments), files)) + "\n"


EVERYTHING = """
interval = 2.5
iterations = 5
backend = "kprobe"
max-flows = 1000
tcp = true
udp = true
pid = [1, 2]
user = ["root"]
process = ["nginx*", 'quote " and \\ and ü']
remote = ["192.0.2.0/24", "::1"]
loopback = "only"
format = "csv"
sort = "-tx_total"
limit = 3
bits = true
theme = "light"
no-resolve = true
db = "/x/y.db"
no-record = true
by = "process,day"
retention = "seconds=2h,days=forever"
max-size = "3G"
store-cmdlines = true
bind = "[::1]:99"
metrics = "[::1]:9000"
token-file = "/x/token"
allow-host = ["a.example"]
trust-user = ["root", 1000]
open = true
chart-js = "/x/chart.js"
ship = "clickhouses://b%20c@[::1]:9000/d"
from = "clickhouse://a.example/bwtop"
password-file = "/x/password"
host = ["web*", "db1"]
columns = ["process", "rx_rate"]
average = 40
group = "unit"
[keys]
leave = ["Ctrl-X", "Q"]
pause = []
[keys.help]
close = "Alt-q"
"""


def test_example_has_every_setting() -> None:
    names = {*config._actions(), *(setting.name for setting in config.SETTINGS), "keys"}
    assert set(tomllib.loads(EVERYTHING)) | {"other"} == names


@pytest.mark.parametrize("text", ["", EVERYTHING, "other = true", 'bind = "127.0.0.1:1"'])
def test_printed_configuration_has_the_same_effect(write: Write, text: str) -> None:
    first = load(write(text))
    again = load(write(printed([], first), "again.toml"))
    typed = flags.parse([])
    for mode in (Mode.SCREEN, Mode.BATCH, Mode.RECORD, Mode.HISTORY, Mode.SERVE):
        assert typed.options(mode, again.flags) == typed.options(mode, first.flags)
    defaults = {"fields": FIELDS, "average": AVERAGES[0], "grouping": Grouping.PROCESS}
    assert again.settings() == defaults | first.settings()
    before, after = (one.keymap or keys.DEFAULT for one in (first, again))
    for context in Context:
        assert after.all_of(context) == before.all_of(context)


@given(st.dictionaries(st.sampled_from([t.name for t in TIERS]), st.integers(1, 10**6)))
def test_retention_survives_printing(asked: dict[str, int]) -> None:
    with suppress(ValueError):
        kept = parse_retention(",".join(f"{n}={h}h" for n, h in asked.items()) or "days=forever")
        assert parse_retention(spell_retention(kept)) == kept


@given(st.integers(1, 999_999), st.sampled_from("KMGT"))
def test_size_survives_printing(number: int, unit: str) -> None:
    with suppress(ValueError):
        size = values.size(f"{number}{unit}")
        assert values.size(values.spell_size(size)) == size


def test_printed_configuration_contains_flags() -> None:
    found = tomllib.loads(printed(["-d", "3", "--udp", "-s", "-pid", "--bits"], Config()))
    assert (found["interval"], found["udp"], found["tcp"]) == (3, True, False)
    assert (parse_order(found["sort"]), found["bits"]) == (Order("pid", reverse=True), True)


def test_printed_configuration_explains_each_setting() -> None:
    lines = printed([], Config()).splitlines()
    for name in {*config._actions(), *(setting.name for setting in config.SETTINGS)}:
        places = [at for at, line in enumerate(lines) if line.lstrip("#").startswith(f"{name} =")]
        assert len(places) == 1, name
        assert lines[places[0] - 1].startswith("# ")


def test_hostile_file_name_stays_in_its_comment() -> None:
    text = printed([], Config(read=[Path("/x\nbits = true\x1b[2J")]))
    assert "\x1b" not in text
    assert tomllib.loads(text)["bits"] is False
