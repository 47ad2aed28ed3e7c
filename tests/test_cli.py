"""Command-line flags and their errors.  No test here measures."""

import argparse
import ipaddress
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bwtop import __version__, cli
from bwtop.history.dimensions import DIMENSIONS
from bwtop.history.dimensions import parse as dimension
from bwtop.history.tiers import TIERS, default_retention
from bwtop.measure.sources import NEEDS_ROOT
from bwtop.model import query
from bwtop.model.filter import Filter, Loopback
from bwtop.modes import common
from bwtop.modes import history as modes_history
from bwtop.modes import screen as screen_mode
from bwtop.options import flags
from bwtop.options.config import Config
from bwtop.options.flags import Mode
from bwtop.output import report
from bwtop.output.request import SORTS
from bwtop.rights import privileges
from bwtop.sqlite.rollup import Policy
from bwtop.sqlite.writer import RecordingOptions
from bwtop.text import stderr
from bwtop.tui.settings import Settings
from bwtop.view.columns import ALL_COLUMNS, Order
from tests.build import stable_id
from tests.history.keep import CURL, NGINX, Kept, delta

ROOT = Path(__file__).parents[1]


def parse(*arguments: str) -> argparse.Namespace:
    return flags.parser().parse_args(flags.join_sort(arguments))


def actions() -> list[argparse.Action]:
    return list(flags.parser()._actions)


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ([], "interval", 1.0),
        (["-d", "2.5"], "interval", 2.5),
        (["-d0.1"], "interval", 0.1),
        (["--interval", "3600"], "interval", 3600.0),
        (["--interval=0.5"], "interval", 0.5),
        ([], "iterations", None),
        (["-n", "5"], "iterations", 5),
        (["--iterations", "1"], "iterations", 1),
        ([], "sort", "rate"),
        (["-s", "pid"], "sort", "pid"),
        (["-s", "-pid"], "sort", "-pid"),
        (["-s-pid"], "sort", "-pid"),
        (["--sort", "-tx_total"], "sort", "-tx_total"),
        (["--sort=-tx_total"], "sort", "-tx_total"),
        (["--sort", "name"], "sort", "name"),
        ([], "limit", None),
        (["--limit", "3"], "limit", 3),
        ([], "classes", None),
        (["--tcp"], "classes", ["tcp"]),
        (["--udp", "--other"], "classes", ["udp", "other"]),
        ([], "pid", None),
        (["--pid", "7"], "pid", [7]),
        (["--pid", "7,8", "--pid", "0"], "pid", [7, 8, 0]),
        (["--user", "root"], "user", [0]),
        (["--user", "root,1000", "--user", "4294967294"], "user", [0, 1000, 4294967294]),
        (["--process", "curl"], "process", ["curl"]),
        (
            ["--process", "nginx*,curl", "--process", "my app"],
            "process",
            ["nginx*", "curl", "my app"],
        ),
        (["--remote", "192.0.2.1"], "remote", [ipaddress.ip_network("192.0.2.1/32")]),
        (["--remote", "192.0.2.7/24"], "remote", [ipaddress.ip_network("192.0.2.0/24")]),
        (
            ["--remote", "2001:db8::1,::1/64", "--remote", "10.0.0.0/8"],
            "remote",
            [ipaddress.ip_network(n) for n in ("2001:db8::1/128", "::/64", "10.0.0.0/8")],
        ),
        ([], "loopback", "show"),
        (["--loopback", "hide"], "loopback", "hide"),
        (["--loopback", "only"], "loopback", "only"),
        ([], "bits", False),
        (["--bits"], "bits", True),
        ([], "no_resolve", False),
        (["--no-resolve"], "no_resolve", True),
        ([], "backend", None),
        (["--backend", "tracepoint"], "backend", "tracepoint"),
        ([], "format", None),
        (["--format", "json"], "format", "json"),
        (["--format", "csv"], "format", "csv"),
        (["--max-flows", "1000"], "max_flows", 1000),
        (["--batch"], "batch", True),
        (["--check"], "check", True),
        ([], "metrics", None),
        (["--metrics", "localhost"], "metrics", ("127.0.0.1", 8063)),
        (["--metrics", "[::]:9000"], "metrics", ("::", 9000)),
        ([], "demo", False),
        (["--demo"], "demo", True),
    ],
    ids=repr,
)
def test_flag_has_its_value(arguments: list[str], name: str, value: Any) -> None:
    assert getattr(parse(*arguments), name) == value


def test_flags_combine() -> None:
    options = parse("--batch", "-d", "2", "-s", "-rx", "-n", "3", "--udp", "--bits")
    assert (options.interval, options.sort, options.iterations) == (2.0, "-rx", 3)
    assert (options.batch, options.classes, options.bits) == (True, ["udp"], True)


@pytest.mark.parametrize("column", [column.id for column in ALL_COLUMNS])
def test_every_column_sorts_both_ways(column: str) -> None:
    assert parse("-s", column).sort == column
    assert parse("-s", f"-{column}").sort == f"-{column}"


@pytest.mark.parametrize(
    "arguments",
    [
        *(["-d", text] for text in ("0", "0.05", "3600.5", "-1", "nan", "inf", "1s", "")),
        *(["-n", text] for text in ("0", "-1", "1.5", "x", "", "9" * 5000)),
        *(["--limit", text] for text in ("0", "-3", "all")),
        *(["--max-flows", text] for text in ("0", "4194305", "many")),
        *(["--pid", text] for text in ("x", "-1", "1,,2", "1,", "", "1 2")),
        *(["--user", text] for text in ("no-such-user-here", "", "root,", "-5", "²")),
        *(
            ["--remote", text]
            for text in ("300.1.2.3", "192.0.2.0/33", "example.org", "", "1.2.3.4,")
        ),
        *(["--loopback", text] for text in ("maybe", "")),
        *(["--format", text] for text in ("xml", "JSON")),
        *(["--backend", text] for text in ("libpcap", "")),
        *(["-s", text] for text in ("nope", "-nope", "", "-", "--batch", "addr")),
        ["--sort=nope"],
        ["-s"],
        ["--sort"],
        ["-d"],
        ["--pid"],
        ["--no-such-flag"],
        ["--iter", "3"],  # abbreviations would change their meaning with every flag to come
        ["--bits=yes"],
        ["eth0"],
        ["--batch", "--check"],
        ["--format", "two\nlines"],
        ["--two\nlines"],
        ["--user", "two\nlines"],
    ],
    ids=repr,
)
def test_wrong_flags_end_in_one_line_and_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        parse(*arguments)
    captured = capsys.readouterr()
    assert raised.value.code == 2
    assert captured.out == ""
    assert re.fullmatch(r"bwtop: \S.*\n", captured.err), captured.err
    assert "lambda" not in captured.err, "the error shows a name from the source"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-d", "0"], ["--interval", "'0'", "0.1", "3600"]),
        (["-n", "x"], ["--iterations", "'x'", "whole number"]),
        (["--pid", "1,x"], ["--pid", "'x'"]),
        (["--user", "no-such-user-here"], ["--user", "no-such-user-here"]),
        (["--remote", "example.org"], ["--remote", "example.org", "network"]),
        (["--sort", "nope"], ["--sort", "nope", "tx_total"]),
        (["--backend", "libpcap"], ["--backend", "libpcap", "tracepoint"]),
        (["--format", "xml"], ["--format", "xml", "json"]),
    ],
    ids=repr,
)
def test_error_names_flag_and_valid_values(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(*arguments)
    error = capsys.readouterr().err
    assert [word for word in words if word not in error] == [], error


@pytest.mark.parametrize("action", actions(), ids=lambda action: action.dest)
def test_every_flag_has_help(action: argparse.Action) -> None:
    assert action.help
    assert action.help is not argparse.SUPPRESS


def test_help_names_every_flag_and_every_column() -> None:
    text = flags.parser().format_help()
    names = [name for action in actions() for name in action.option_strings]
    assert [name for name in names if name not in text] == []
    assert [c.id for c in ALL_COLUMNS if f"  {c.id} " not in text or c.help not in text] == []


def test_help_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        flags.parse(["--help"])
    assert raised.value.code == 0
    assert capsys.readouterr().out == flags.parser().format_help()


def test_version_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parse("--version")
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"bwtop {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *(
            (["--serve", *filters], "filter flags cannot be used with --serve")
            for filters in (["--tcp"], ["--pid", "1"], ["--user", "0"], ["--process", "a"])
        ),
        (["--serve", "--remote", "::1"], "filter flags cannot be used with --serve"),
        (["--serve", "--loopback", "hide"], "filter flags cannot be used with --serve"),
        (["--serve", "--sort", "name"], "cannot be used with --serve"),
        (["--serve", "--bits"], "cannot be used with --serve"),
        (["--serve", "--theme", "light"], "cannot be used with --serve"),
        (["--serve", "--limit", "1"], "--serve, which prints no intervals"),
        (["--serve", "-n", "1"], "--serve, which prints no intervals"),
        (["--serve", "--batch"], "not allowed with argument"),
        (["--bind", "[::1]"], "require --serve"),
        (["--batch", "--token-file", "x"], "require --serve"),
        (["--history", "--allow-host", "x"], "require --serve"),
        (["--batch", "--trust-user", "0"], "require --serve or --record --metrics"),
        (["--history", "--open"], "require --serve or --record --metrics"),
        (["--serve", "--trust-user", "no-such-user-here"], "invalid user 'no-such-user-here'"),
        (["--serve", "--open", "--token-file", "x"], "leave out one of them"),
        (["--serve", "--open", "--bind", "192.0.2.7"], "leave out --open"),
        (["--record", "--metrics", "[::]:1", "--open"], "leave out --open"),
        (["--record", "--chart-js", "x"], "require --serve"),
        (["--serve", "--metrics", "[::1]"], "--metrics requires --record"),
        (["--metrics", "127.0.0.1:1"], "--metrics requires --record"),
        (["--history", "--by", "day,day"], "invalid groups 'day,day'; expected day only once"),
        *(
            (["--demo", *mode], "not allowed with argument")
            for mode in (["--batch"], ["--record"], ["--history"], ["--serve"], ["--check"])
        ),
        (["--demo", "-n", "1"], "--demo, which prints no intervals"),
        (["--demo", "--limit", "1"], "--demo, which prints no intervals"),
        (["--demo", "--format", "table"], "--demo, which prints no intervals"),
        (["--demo", "--db", "x"], "--demo, which records nothing"),
        (["--demo", "--retention", "hours=1y"], "--demo, which records nothing"),
        (["--demo", "--max-size", "1M"], "--demo, which records nothing"),
        (["--demo", "--store-cmdlines"], "--demo, which records nothing"),
        (["--demo", "--loopback", "hide"], "would hide all demo traffic"),
        (["--demo", "--by", "day"], "--by requires --history"),
        (["--demo", "--bind", "[::1]"], "require --serve"),
    ],
    ids=repr,
)
def test_invalid_combination_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        flags.parse(arguments)
    assert raised.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Filter()),
        (["--tcp", "--tcp", "--udp"], Filter(classes=frozenset({"tcp", "udp"}))),
        (["--pid", "1,2"], Filter(pids=frozenset({1, 2}))),
        (["--user", "0"], Filter(uids=frozenset({0}))),
        (["--process", "a,b*"], Filter(names=("a", "b*"))),
        (["--remote", "::1"], Filter(networks=(ipaddress.ip_network("::1/128"),))),
        (["--loopback", "only"], Filter(loopback=Loopback.ONLY)),
    ],
    ids=stable_id,
)
def test_filter_is_made_from_its_flags(arguments: list[str], expected: Filter) -> None:
    assert common.filter_of(parse(*arguments)) == expected


@pytest.mark.parametrize(
    ("arguments", "joined"),
    [
        (["-s", "-pid"], ["--sort=-pid"]),
        (["--sort", "-pid", "-n", "1"], ["--sort=-pid", "-n", "1"]),
        (["-s", "pid"], ["-s", "pid"]),
        (["-n", "1", "-s"], ["-n", "1", "-s"]),
        ([], []),
    ],
    ids=repr,
)
def test_only_a_column_with_a_dash_is_joined_to_its_flag(
    arguments: list[str], joined: list[str]
) -> None:
    assert flags.join_sort(arguments) == joined


@pytest.mark.parametrize("message", ["plain", "two\nlines", "  many   spaces\t\r\n"])
def test_message_is_one_line(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    stderr.say(message)
    assert capsys.readouterr().err == f"bwtop: {' '.join(message.split())}\n"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], True),
        (["--udp", "--bits", "--no-resolve", "-d", "2", "-s", "pid", "--theme", "light"], True),
        (["--batch"], False),
        (["-n", "5"], False),
        (["--limit", "5"], False),
        (["--format", "table"], False),
    ],
    ids=repr,
)
def test_flags_of_batch_imply_batch(arguments: list[str], wanted: bool) -> None:
    given = flags.parse(arguments)
    assert given.mode(terminal=True) is (Mode.SCREEN if wanted else Mode.BATCH)
    assert given.mode(terminal=False) is Mode.BATCH


def test_flags_set_the_settings_of_the_screen() -> None:
    settings = screen_mode.settings_of(
        parse(
            *("--udp", "--other", "--loopback", "hide", "--bits", "--no-resolve"),
            *("-d", "2.5", "-s", "-pid", "--pid", "7,8", "--user", "root"),
            *("--process", "nginx*,my app", "--remote", "10.0.0.0/8,::1"),
        ),
        Config(),
    )
    assert settings.classes == {"udp", "other"}
    assert settings.loopback is Loopback.HIDE
    assert (settings.bits, settings.names, settings.interval) == (True, False, 2.5)
    assert settings.order == Order("pid", reverse=True)
    assert settings.filter == 'pid:7,8 user:0 name:"nginx*,my app" remote:10.0.0.0/8,::1/128'
    assert len(query.parse(settings.filter).terms) == 4


def test_without_flags_the_screen_shows_everything() -> None:
    assert screen_mode.settings_of(parse(), Config()) == Settings()


# History


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a path without a history; measuring or changing the user fails."""

    def never(*_: object, **__: object) -> Any:
        pytest.fail("the command must neither measure nor change its user")

    for name in ("load", "start_measuring"):
        monkeypatch.setattr(common, name, never)
    for module in (common, modes_history):
        monkeypatch.setattr(module, "confine", lambda *_: None)  # other tests need this process
    monkeypatch.setenv("BWTOP_DB", str(tmp_path / "none.db"))
    return tmp_path / "none.db"


@pytest.fixture
def history(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a history of the last minute with two programs."""
    start = time.time() - 30
    kept = Kept(path=nowhere)
    kept.append(delta(start, 100, 5000, who=CURL, pid=1), delta(start, 3000, 10, who=NGINX, pid=2))
    kept.connection.close()
    return nowhere


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the line of a failing command."""
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)
    captured = capsys.readouterr()
    assert raised.value.code == 2
    assert captured.out == ""
    assert re.fullmatch(r"bwtop: \S.*\n", captured.err), captured.err
    return captured.err


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    cli.main(arguments)
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        ([], "history", None),
        (["--history"], "history", "today"),
        (["--history", "7d"], "history", "7d"),
        (["--history=last-month"], "history", "last-month"),
        (["--history", "2026-11-01 08:00..12:00"], "history", "2026-11-01 08:00..12:00"),
        (["--history", "--by", "day"], "history", "today"),
        ([], "by", None),
        (["--by", "day"], "by", [dimension("day")]),
        (["--by", "user,remote"], "by", [dimension("user"), dimension("remote")]),
        ([], "db", None),
        (["--db", "/tmp/a b.db"], "db", Path("/tmp/a b.db")),
        ([], "record", False),
        (["--record"], "record", True),
        ([], "no_record", False),
        (["--no-record"], "no_record", True),
        ([], "retention", None),
        (["--retention", "hours=1y"], "retention", default_retention() | {"hours": 365 * 86400.0}),
        (
            ["--retention", "seconds=2h, minutes=30d,days=forever"],
            "retention",
            default_retention() | {"seconds": 7200.0, "minutes": 30 * 86400.0},
        ),
        ([], "max_size", None),
        (["--max-size", "1M"], "max_size", 1 << 20),
        (["--max-size", "1024k"], "max_size", 1 << 20),
        (["--max-size", "200M"], "max_size", 200 << 20),
        (["--max-size", "2GiB"], "max_size", 2 << 30),
        (["--max-size", "3gb"], "max_size", 3 << 30),
        (["--max-size", "1T"], "max_size", 1 << 40),
        ([], "store_cmdlines", False),
        (["--store-cmdlines"], "store_cmdlines", True),
    ],
    ids=stable_id,
)
def test_history_flag_has_its_value(arguments: list[str], name: str, value: Any) -> None:
    assert getattr(parse(*arguments), name) == value


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        *((["--by", text], ["--by"]) for text in ("", "day,", ",day", "day user", "Day", "pid")),
        (["--by", "nope"], ["--by", "'nope'", "process", "remote", "month"]),
        (["--by"], ["--by"]),
        (["--db"], ["--db"]),
        *(
            (["--retention", text], ["--retention"])
            for text in ("", "minutes", "minutes=", "hours=1", "hours=-1d", "days=5x", "=1d")
        ),
        (["--retention", "decades=1y"], ["'decades'", "seconds", "months", "5min"]),
        (["--retention", "minutes=often"], ["'often'", "90m", "forever"]),
        (["--retention", "minutes=1m"], ["minutes", "finer"]),
        (["--retention", "minutes=30d,hours=7d"], ["hours", "finer"]),
        *(
            (["--max-size", text], ["--max-size", "200M"])
            for text in ("", "200", "M", "0x1M", "1.5G", "5P", "1 G", "9999999G", "²M")
        ),
        (["--max-size", "1023K"], ["--max-size", "1M or more"]),
        (["--max-size", "0G"], ["--max-size", "1M or more"]),
        (["--store-cmdlines=yes"], ["--store-cmdlines"]),
        (["--record=now"], ["--record"]),
        (["--batch", "--record"], ["--batch", "--record"]),
        (["--batch", "--history"], ["--batch", "--history"]),
        (["--record", "--history"], ["--record", "--history"]),
        (["--check", "--history", "today"], ["--check", "--history"]),
        (["--history", "today", "yesterday"], ["yesterday"]),
    ],
    ids=repr,
)
def test_wrong_history_flag_names_valid_values(
    arguments: list[str], words: list[str], nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = failing(capsys, *arguments)
    assert [word for word in words if word not in error] == [], error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "day"], ["--by", "--history"]),
        (["--by", "day", "--batch"], ["--by", "--history"]),
        (["--by", "day", "--record"], ["--by", "--history"]),
        (["--no-record", "--record"], ["--no-record", "--record"]),
        (["--no-record", "--history"], ["--no-record"]),
    ],
    ids=repr,
)
def test_contradicting_flags_are_named(
    arguments: list[str], words: list[str], nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = failing(capsys, *arguments)
    assert [word for word in words if word not in error] == [], error


@pytest.mark.parametrize(
    "text", ["nope", "", "2026-13", "2026-02-30", "0d", "2026-11-02..2026-11-01", "\x1b[2J"]
)
def test_wrong_range_is_one_line(
    text: str, history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(capsys, "--history", text)


def test_wrong_range_lists_valid_ranges(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = failing(capsys, "--history", "tomorrow")
    assert [word for word in ("'tomorrow'", "last-week", "7d", "all") if word not in error] == []


@pytest.mark.parametrize(
    ("flags", "order"),
    [
        ([], ["curl", "nginx"]),
        *(
            (["-s", sort], ["curl", "nginx"])
            for sort in ("rate", "total", "tx", "tx_rate", "tx_total")
        ),
        *((["-s", sort], ["nginx", "curl"]) for sort in ("rx", "rx_rate", "rx_total")),
        *((["-s", sort], ["nginx", "curl"]) for sort in ("-rate", "-total", "-tx", "-tx_total")),
        *((["--sort", sort], ["curl", "nginx"]) for sort in ("-rx", "-rx_rate", "-rx_total")),
    ],
    ids=repr,
)
def test_history_sorts(
    flags: list[str], order: list[str], history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(printed(capsys, "--history", "1h", "--format", "json", *flags))
    assert [row["name"] for row in found["rows"]] == order


@pytest.mark.parametrize(
    "column", [c.id for c in ALL_COLUMNS if not re.match(r"(rx|tx|rate|total)", c.id)]
)
def test_history_rejects_other_sort_columns(
    column: str, history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for sort in (column, f"-{column}"):
        error = failing(capsys, "--history", "--sort", sort)
        assert error == f"bwtop: invalid --sort '{sort}' for --history; expected total, rx or tx\n"


def test_all_byte_columns_sort_the_history() -> None:
    numbers = {c.id for c in ALL_COLUMNS if re.match(r"(rx|tx|rate|total)", c.id)}
    assert set(modes_history.SORTS) == numbers
    assert set(modes_history.SORTS.values()) == set(SORTS)


def test_history_takes_the_flags(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "--history", "1h", "--format", "json", "--by", "user,proto"))
    assert found["by"] == ["user", "proto"]
    written = printed(capsys, "--history", "1h", "--format", "csv", "--process", "curl")
    assert written == "name,exe,uid,kernel,user,rx,tx\ncurl,/usr/bin/curl,0,0,root,100,5000\n"
    written = printed(capsys, "--history", "1h", "--format", "csv", "--pid", "2", "--by", "exe")
    assert written == "exe,rx,tx\n/usr/sbin/nginx,3000,10\n"
    found = json.loads(printed(capsys, "--history", "1h", "--format", "json", "--limit", "1"))
    assert [row["name"] for row in found["rows"]] == ["curl"]
    written = printed(capsys, "--history", "1h", "--no-resolve", "--bits")
    assert "PROCESS" in written
    assert "bit/s" in written
    assert "no traffic matches" in printed(capsys, "--history", "1h", "--udp")


def test_no_resolve_disables_name_lookups(
    history: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[Any] = []
    monkeypatch.setattr(report, "run", lambda _, request, *__: requests.append(request))
    monkeypatch.setattr(modes_history, "Names", lambda: "names")
    for more in ([], ["--no-resolve"]):
        printed(capsys, "--history", *more)
    assert [request.names for request in requests] == ["names", None]


def test_db_selects_the_history(
    history: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BWTOP_DB", str(tmp_path / "other.db"))
    error = failing(capsys, "--history")
    assert str(tmp_path / "other.db") in error
    assert "curl" in printed(capsys, "--history", "1h", "--db", str(history), "--no-resolve")
    monkeypatch.chdir(tmp_path)
    assert "curl" in printed(capsys, "--history", "1h", "--db", history.name, "--no-resolve")


@pytest.mark.parametrize(
    "content", [b"no database at all" * 100, b"SQLite format 3\0" + bytes(500)]
)
def test_foreign_db_is_one_line(
    content: bytes, tmp_path: Path, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.db").write_bytes(content)
    assert str(tmp_path / "odd.db") in failing(
        capsys, "--history", "--db", str(tmp_path / "odd.db")
    )


def test_directory_as_db_is_one_line(
    tmp_path: Path, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert str(tmp_path) in failing(capsys, "--history", "--db", str(tmp_path))


def test_db_of_another_program_is_refused(
    tmp_path: Path, nowhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(tmp_path / "odd.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.commit()
    assert "another program's" in failing(capsys, "--history", "--db", str(tmp_path / "odd.db"))


def test_flags_set_the_recorder_options(nowhere: Path, tmp_path: Path) -> None:
    options = common.recording(parse())
    assert options == RecordingOptions(nowhere, Policy(default_retention(), None), who="bwtop")
    options = common.recording(
        parse(
            *("--record", "--db", str(tmp_path / "x.db"), "--store-cmdlines"),
            *("--max-size", "2M", "--retention", "seconds=1m"),
        )
    )
    assert options == RecordingOptions(
        tmp_path / "x.db",
        Policy(default_retention() | {"seconds": 60.0}, 2 << 20),
        cmdlines=True,
        who="bwtop --record",
    )
    assert common.recording(parse("--no-record")) is None


@pytest.mark.parametrize(
    "flags", [["--record"], ["--no-record"], ["--batch", "--no-record"], ["--check"]]
)
def test_measuring_needs_root(
    flags: list[str],
    nowhere: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(privileges, "may_load", lambda: False)
    assert failing(capsys, *flags) == f"bwtop: {NEEDS_ROOT}\n"


def test_history_needs_no_root(
    history: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(privileges, "may_load", lambda: False)
    assert "curl" in printed(capsys, "--history", "1h", "--no-resolve")


def test_missing_history_is_one_line(
    nowhere: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(privileges, "may_load", lambda: False)
    for arguments in (["--history"], ["--history", "7d", "--by", "day", "--format", "json"]):
        assert failing(capsys, *arguments) == (
            f"bwtop: nothing has been recorded yet: {nowhere} does not exist; run: sudo bwtop\n"
        )
    assert not nowhere.exists()


def test_ordinary_user_without_a_history_gets_one_line() -> None:
    """Run the real program, as user nobody if the tests run as root."""
    user: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}
    ended = subprocess.run(
        [sys.executable, "-B", str(ROOT / "bwtop.py"), "--history"],
        env={"PATH": "/usr/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        **(user if os.geteuid() == 0 else {}),
    )
    if Path("/var/lib/bwtop/history.db").exists():
        pytest.skip("this machine has a history")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(
        r"bwtop: nothing has been recorded yet: .*history\.db does not exist; .*\n", ended.stderr
    )


def test_help_lists_tiers_and_dimensions() -> None:
    text = flags.parser().format_help()
    lines = [" ".join(line.split()) for line in text.split("\n")]
    for tier in TIERS:
        (line,) = [line for line in lines if line.startswith(f"{tier.name} ") and tier.help in line]
        assert re.fullmatch(rf"{tier.name} (forever|\d+ \w+) {re.escape(tier.help)}", line)
    kept = {"seconds": "1 hour", "minutes": "7 days", "hours": "90 days", "5min": "400 days"}
    for name, length in (kept | {"days": "forever", "months": "forever"}).items():
        assert [line for line in lines if line.startswith(f"{name} {length} ")], name
    for way in DIMENSIONS:
        assert f"{way.name} {way.help}" in lines
    for word in ("today", "last-week", "2026-11-01..2026-11-03", "all", "--history", "--record"):
        assert word in text


def test_link_to_a_history_is_resolved(tmp_path: Path) -> None:
    """A lock beside the link would let two bwtops record to the same history."""
    (tmp_path / "real.db").touch()
    (tmp_path / "link.db").symlink_to("real.db")
    assert common.history(parse("--db", str(tmp_path / "link.db"))).path == tmp_path / "real.db"
    assert common.history(parse("--db", str(tmp_path / "x" / ".." / "real.db"))).path == (
        tmp_path / "real.db"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--record", "-n", "3"],
        ["--record", "--limit", "3"],
        ["--record", "--format", "json"],
        ["--record", "--no-record"],
        ["--history", "--no-record"],
        ["--history", "-n", "3"],
        ["--history", "--retention", "seconds=2h"],
        ["--no-record", "--max-size", "2M"],
        ["--by", "user"],
    ],
    ids=" ".join,
)
def test_invalid_combination_exits_with_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_failing_history_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: argparse.Namespace) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(cli, "_run", fail)
    with pytest.raises(SystemExit) as end:
        cli.main(["--batch"])
    assert end.value.code == 2
    assert capsys.readouterr().err == "bwtop: cannot read the history: disk I/O error\n"
