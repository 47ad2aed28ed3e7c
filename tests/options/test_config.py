"""Configuration files: settings, precedence and mistakes."""

import functools
import os
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.clickhouse.target import Target
from bwtop.history.tiers import TIERS
from bwtop.options import command, config
from bwtop.options.config import ConfigError
from bwtop.options.flag import Mode
from bwtop.rights import opening
from bwtop.view.grouping import Grouping
from bwtop.view.order import Order
from tests.history.others import as_nobody, needs_root, public_directory
from tests.kernel.running import LAUNCHER
from tests.options.examples import Write, load
from tests.processes import ran, refused_line


def mistake(*paths: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        load(*paths)
    return str(raised.value)


# Values


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("interval = 2.5", "interval", 2.5),
        ("interval = 2", "interval", 2.0),
        ('sort = "-pid"', "sort", Order("pid", reverse=True)),
        ("bits = true", "bits", True),
        ("bits = false", "bits", False),
        ('process = ["nginx*", "curl"]', "process", ("nginx*", "curl")),
        ('process = "nginx*,curl"', "process", ("nginx*", "curl")),
        ("pid = [1, 2]", "pid", (1, 2)),
        ("pid = 7", "pid", (7,)),
        ('user = ["root", 1000]', "user", (0, 1000)),
        ('db = "/x/y.db"', "db", Path("/x/y.db")),
        ("tcp = true", "tcp", True),
        ("udp = false", "udp", False),
        (
            '[retention]\nseconds = "2h"\nminutes = "30d"',
            "retention",
            {"seconds": 7200.0, "minutes": 30 * 86400.0},
        ),
    ],
    ids=repr,
)
def test_file_sets_flag(write: Write, text: str, name: str, value: Any) -> None:
    assert load(write(text)).flags == {name: value}


def test_protocol_set_to_false_changes_nothing(write: Write) -> None:
    files = load(write("tcp = false"))
    assert command.parse([]).options(Mode.BATCH, files.flags).classes == set()


def test_file_sets_columns_average_and_group(write: Write) -> None:
    found = load(
        write('columns = ["tx_rate", "process", "pid"]\naverage = 10\ngroup = "user"')
    ).settings()
    assert [field.id for field in found["fields"]] == ["process", "pid", "tx_rate"]
    assert (found["average"], found["grouping"]) == (10.0, Grouping.USER)


def test_user_networks_are_added_to_the_administrators(write: Write) -> None:
    system = write('[networks]\noffice = "10.8.0.0/16"\nlab = "10.9.0.0/16"', "system")
    user = write('[networks]\nlab = ["10.7.0.0/16"]', "user")
    assert load(system, user).networks == {"office": ["10.8.0.0/16"], "lab": ["10.7.0.0/16"]}
    twice = write('[networks]\nmine = ["10.8.0.0/16"]', "twice")
    assert "mine: 10.8.0.0/16 already is office; leave out one" in mistake(system, twice)


# Precedence


def test_user_file_overrides_system_file(write: Write) -> None:
    system = write('interval = 5\nbits = true\ntcp = true\nprocess = ["a"]', "system")
    user = write('interval = 2\nudp = true\ntcp = false\nprocess = ["b"]', "user")
    found = load(system, user)
    assert found.flags == {
        "interval": 2.0,
        "bits": True,
        "udp": True,
        "tcp": False,
        "process": ("b",),
    }
    assert found.read == [system, user]


def test_flags_override_files(write: Write) -> None:
    files = load(
        write('interval = 5\nbits = true\nprocess = ["a"]\nno-resolve = true\nsort = "pid"')
    )
    typed = command.parse(["--batch", "-d", "1", "--process", "b", "--no-bits", "--resolve"])
    options = typed.options(Mode.BATCH, files.flags)
    assert (options.interval, options.bits, options.no_resolve) == (1.0, False, False)
    assert (options.process, options.sort, options.limit) == (("b",), Order("pid"), None)


@pytest.mark.parametrize("mode", [mode for mode in Mode if mode is not Mode.PRINT_CONFIG])
def test_setting_applies_only_in_modes_that_use_it(mode: Mode, write: Write) -> None:
    text = 'interval = 5\nlimit = 3\nformat = "json"\nsort = "pid"\nloopback = "hide"\nbind = "127.0.0.1:1"\nmetrics = "127.0.0.1:2"'
    files = load(write(text))
    options = command.parse([]).options(mode, files.flags)
    taken = {
        name
        for name, value in files.flags.items()
        if getattr(options, name) == value and name != "loopback"
    }
    expected = {
        Mode.SCREEN: {"interval", "sort"},
        Mode.BATCH: {"interval", "limit", "format", "sort"},
        Mode.RECORD: {"metrics"},
        Mode.HISTORY: {"limit", "format"},
        Mode.SERVE: {"interval", "bind"},
        Mode.DEMO: {"interval", "sort"},
        Mode.CHECK: set(),
        Mode.INIT: set(),
        Mode.SALVAGE: set(),
        Mode.PRINT_SCHEMA: set(),
    }
    assert taken == expected[mode]


@pytest.mark.parametrize(
    ("setting", "typed"), [("ship", ["--record"]), ("ship", []), ("from", ["--history"])]
)
def test_typed_password_file_is_of_a_configured_server(
    setting: str, typed: list[str], write: Write
) -> None:
    files = load(write(f'{setting} = "clickhouse://db/bwtop"\n'))
    given = command.parse([*typed, "--password-file", "/x"])
    options = given.options(given.mode(terminal=True), files.flags)
    assert options.password_file == Path("/x")
    assert options.ship or options.origin


def test_configured_from_does_not_replace_the_local_host(write: Write) -> None:
    """Plain bwtop shows the local host."""
    files = load(write('from = "clickhouse://db/bwtop"\nhost = ["web*"]\n'))
    typed = command.parse([])
    for mode in (Mode.SCREEN, Mode.BATCH):
        options = typed.options(mode, files.flags)
        assert (options.origin, options.host) == (None, ())
    for mode in (Mode.HISTORY, Mode.SERVE):
        assert typed.options(mode, files.flags).origin == Target("db", 9000)


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
    assert command.parse(typed).options(mode, files.flags).origin is None


@pytest.mark.parametrize(
    "typed",
    [
        ["--ship", "clickhouse://h/d"],
        ["--retention", "seconds=1h"],
        ["--max-size", "1G"],
        ["--keep-remotes", "5"],
        ["--store-cmdlines"],
    ],
    ids=lambda typed: typed[0],
)
def test_flags_about_recording_override_configured_no_record(
    typed: list[str], write: Write
) -> None:
    """Nothing was recorded or sent, without a word."""
    files = load(write("no-record = true"))
    assert not command.parse(typed).options(Mode.SCREEN, files.flags).no_record
    assert command.parse([]).options(Mode.SCREEN, files.flags).no_record


def test_typed_protocols_replace_configured_ones(write: Write) -> None:
    files = load(write("tcp = true\nother = true"))
    assert command.parse([]).over(files.flags).classes == {"tcp", "other"}
    assert command.parse(["--udp"]).over(files.flags).classes == {"udp"}


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
        ("zzz = 1", "zzz: unknown setting; expected one of allow-host, asn-db, average"),
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
            "keys: leave: invalid key 'Ctrl-C'; expected another key: the terminal turns",
        ),
        ('[keys]\nleave = "x"\npause = "x"', "keys: key x is bound twice: leave, pause"),
        ("[keys]\nleave = 1", "keys: leave: invalid value 1; expected a list of strings"),
        (
            '[keys.nowhere]\nleave = "x"',
            "keys: invalid table 'keys.nowhere'; expected one of list, filter",
        ),
        (
            '[keys.filter]\naccept-filter = "x"',
            "keys: invalid key x; expected one that types no text",
        ),
        ("networks = 1", "networks: expected a table, [networks]"),
        (
            '[networks]\noffice = ["10.8.0.0/33"]',
            "networks: office: invalid network '10.8.0.0/33'; expected one such as 10.8.0.0/16",
        ),
        (
            "[networks]\noffice = 10",
            "networks: office: invalid value 10; expected a list of strings",
        ),
        ('[networks]\nlan = "10.0.0.0/8"', "networks: the name lan is reserved; choose another"),
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
        assert config.found_table(path, {}) is None


@needs_root
@pytest.mark.parametrize(("mode", "is_said"), [(0o755, True), (0o700, False)])
def test_unreadable_file_in_an_open_folder_is_said(
    capfd: pytest.CaptureFixture[str], mode: int, is_said: bool
) -> None:
    """The service went on with what such a file forbids, and its log had no word of it."""
    with public_directory() as place:
        path = place / "config.toml"
        path.write_text("no-names = true")
        path.chmod(0o600)
        place.chmod(mode)
        as_nobody(lambda: config.found_table(path, {}), None)
    said = f"bwtop: {path} is not read: Permission denied\n"
    assert capfd.readouterr().err == (said if is_said else "")


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("owner", "mode", "words"),
    [
        (1234, 0o644, ""),
        (1234, 0o664, "can be written by others; run: chmod go-w"),
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
    for read in (config.found_table, config.named_table):
        as_root = functools.partial(read, environment=behind)
        if words:
            with pytest.raises(ConfigError, match=words):
                config.load([path], as_root)
        else:
            assert config.load([path], as_root).flags == {"bits": True}


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    bwtop = [sys.executable, str(LAUNCHER), *arguments]
    return ran(bwtop, env=os.environ | {"XDG_CONFIG_HOME": str(home)})


def test_program_reads_file(tmp_path: Path) -> None:
    (tmp_path / "bwtop").mkdir()
    path = tmp_path / "bwtop" / "config.toml"
    path.write_text("interval = 0")
    assert refused_line(run("--history", home=tmp_path)) == (
        f"{path}: interval: invalid number of seconds '0'; expected 0.1 to 3600"
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
    assert f"{other}x" in refused_line(run("--config", f"{other}x", home=tmp_path))
