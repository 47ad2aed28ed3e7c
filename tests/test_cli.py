"""Flags, and what becomes of wrong ones.  Nothing here measures."""

import argparse
import ipaddress
import re
from typing import Any

import pytest

from bwtop import __version__, cli
from bwtop.columns import PROCESS_COLUMNS, Order
from bwtop.model import query
from bwtop.model.filter import Filter, Loopback
from bwtop.tui.settings import Settings


def parse(*arguments: str) -> argparse.Namespace:
    return cli.parser().parse_args(cli._join_sort(arguments))


def actions() -> list[argparse.Action]:
    return list(cli.parser()._actions)


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
    ],
    ids=repr,
)
def test_flag_has_its_value(arguments: list[str], name: str, value: Any) -> None:
    assert getattr(parse(*arguments), name) == value


def test_flags_may_come_in_any_number() -> None:
    options = parse("--batch", "-d", "2", "-s", "-rx", "-n", "3", "--udp", "--bits")
    assert (options.interval, options.sort, options.iterations) == (2.0, "-rx", 3)
    assert (options.batch, options.classes, options.bits) == (True, ["udp"], True)


@pytest.mark.parametrize("column", [column.id for column in PROCESS_COLUMNS])
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
    assert "lambda" not in captured.err, "a name from the source tells nobody what was wrong"


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
def test_error_says_which_flag_and_what_would_do(
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
    text = cli.parser().format_help()
    flags = [flag for action in actions() for flag in action.option_strings]
    assert [flag for flag in flags if flag not in text] == []
    assert [c.id for c in PROCESS_COLUMNS if f"  {c.id} " not in text or c.help not in text] == []


def test_version_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parse("--version")
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"bwtop {__version__}\n"


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
    ids=repr,
)
def test_filter_is_made_from_its_flags(arguments: list[str], expected: Filter) -> None:
    assert cli._filter(parse(*arguments)) == expected


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
    assert cli._join_sort(arguments) == joined


@pytest.mark.parametrize("message", ["plain", "two\nlines", "  many   spaces\t\r\n"])
def test_message_is_one_line(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.say(message)
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
def test_what_only_batch_has_is_printed(arguments: list[str], wanted: bool) -> None:
    assert cli._wants_screen(parse(*arguments)) == wanted


def test_flags_are_what_the_keys_of_the_screen_would_set() -> None:
    settings = cli._settings(
        parse(
            *("--udp", "--other", "--loopback", "hide", "--bits", "--no-resolve"),
            *("-d", "2.5", "-s", "-pid", "--pid", "7,8", "--user", "root"),
            *("--process", "nginx*,my app", "--remote", "10.0.0.0/8,::1"),
        )
    )
    assert settings.classes == {"udp", "other"}
    assert settings.loopback is Loopback.HIDE
    assert (settings.bits, settings.names, settings.interval) == (True, False, 2.5)
    assert settings.order == Order("pid", reverse=True)
    assert settings.filter == 'pid:7,8 user:0 name:"nginx*,my app" remote:10.0.0.0/8,::1/128'
    assert len(query.parse(settings.filter).terms) == 4


def test_without_flags_the_screen_shows_everything() -> None:
    assert cli._settings(parse()) == Settings()
