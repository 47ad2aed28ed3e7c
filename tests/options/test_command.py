"""The command line: values, modes, --help and errors."""

import re
from pathlib import Path
from typing import Any

import pytest

from bwtop import __version__
from bwtop.history.dimensions import DIMENSIONS
from bwtop.history.dimensions import parse as dimension
from bwtop.history.tiers import FOREVER, TIERS
from bwtop.options import command
from bwtop.options.command import OF_OTHERS
from bwtop.options.flag import Mode
from bwtop.options.flags import ROWS, Options
from bwtop.view.columns import ALL_COLUMNS
from bwtop.view.order import Order
from tests.build import stable_id
from tests.options.examples import parse, refusal


def test_without_arguments_options_are_the_defaults() -> None:
    assert parse() == Options()


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["-d0.1"], "interval", 0.1),
        (["-d", "1", "-d", "2"], "interval", 2.0),
        (["-s", "-pid"], "sort", Order("pid", reverse=True)),
        (["-s-pid"], "sort", Order("pid", reverse=True)),
        (["--tcp", "--tcp"], "classes", frozenset({"tcp"})),
        (["--udp", "--other"], "classes", frozenset({"udp", "other"})),
        (["--pid", "7,8", "--pid", "0"], "pid", (7, 8, 0)),
        (["--bits", "--no-bits"], "bits", False),
        (["--no-resolve", "--resolve"], "no_resolve", False),
        (["--history", "--by", "user, remote"], "by", (dimension("user"), dimension("remote"))),
        (["--db", "/tmp/a b.db"], "db", Path("/tmp/a b.db")),
        (["--retention", "fives=1d"], "retention", {"5min": 86400.0}),
        (
            ["--retention", "seconds=2h, minutes=30d,days=forever"],
            "retention",
            {"seconds": 7200.0, "minutes": 30 * 86400.0, "days": FOREVER},
        ),
    ],
    ids=stable_id,
)
def test_flag_has_its_value(arguments: list[str], name: str, value: Any) -> None:
    assert getattr(parse(*arguments), name) == value


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--history"], "today"),
        (["--history", "7d"], "7d"),
        (["--history=last-month"], "last-month"),
        (["--history", "2026-11-01 08:00..12:00"], "2026-11-01 08:00..12:00"),
        (["--history", "--by", "day"], "today"),
    ],
    ids=repr,
)
def test_history_has_its_range(arguments: list[str], text: str) -> None:
    found = parse(*arguments).history
    assert found
    assert found.text == text


# Errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-n", "9" * 5000], f"--iterations: invalid number '{'9' * 60}…'; expected a whole number"),
        (["--format", "two\nlines"], r"--format: invalid format 'two\nlines'"),
        (["-s", "-"], "--sort: invalid column ''"),
        (["-s", "--batch"], "--sort: expected one argument"),
        (["--history", "--by", "nope"], "--by: invalid group 'nope'; expected process, exe"),
        (["--history", "--by", "day,"], "--by: invalid group ''"),
        (["--history", "--by", "day,day"], "--by: invalid groups 'day,day'; expected day only once"),
        *((["--retention", text], "--retention: invalid duration") for text in ("minutes", "hours=1", "hours=-1d", "days=5x")),
        (["--retention", "decades=1y"], "--retention: invalid level of detail 'decades'; expected seconds, minutes, hours, days, months, 5min"),
        (["--retention", "minutes=often"], "invalid duration 'often'; expected 90m"),
        (["--retention", "minutes=1m"], "minutes must be kept at least as long as the finer tier: 1h"),
        (["--history", "tomorrow"], "--history: invalid range 'tomorrow'; expected today, yesterday, week, last-week, month, last-month, 24h, 7d, 2026-11, 2026-11-01, 2026-11-01..2026-11-03, '2026-11-01 08:00..12:00', 08:00..12:00, all (see bwtop --help)"),
        (["--history", "today", "yesterday"], "unknown argument 'yesterday'"),
        (["--no-such-flag"], "unknown argument '--no-such-flag' (see bwtop --help)"),
        (["--iter", "3"], "unknown argument '--iter 3'; did you mean --iterations?"),  # abbreviations would change their meaning with every flag to come
        (["--serve", "--port", "8080"], "unknown argument '--port 8080'; did you mean --bind ADDR:PORT?"),
        (["--hsitory=today"], "unknown argument '--hsitory=today'; did you mean --history?"),
        (["--two\nlines"], r"unknown argument '--two\nlines'"),
        (["x" * 5000], f"unknown argument '{'x' * 60}…'"),
        (["--record", "--ship", "clickhouse://u:secret@h/d"], "do not put the password in the URL"),
    ],
    ids=lambda each: repr(each)[:60],
)  # fmt: skip
def test_wrong_argument_ends_in_one_line_and_status_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, parse, *arguments)
    assert words in line
    assert "secret" not in line


def test_flags_of_other_tools_are_none_of_ours() -> None:
    ours = {name for flag in ROWS for name in flag.names}
    assert not ours & OF_OTHERS.keys()
    assert {meant.split()[0] for meant in OF_OTHERS.values()} <= ours


# --help and --version


def test_help_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parse("--help")
    assert raised.value.code == 0
    assert capsys.readouterr().out == command.parser().format_help()


def test_version_is_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parse("--version")
    assert raised.value.code == 0
    assert capsys.readouterr().out == f"bwtop {__version__}\n"


def test_help_lists_columns_tiers_and_dimensions() -> None:
    text = command.parser().format_help()
    lines = [" ".join(line.split()) for line in text.split("\n")]
    assert [c.id for c in ALL_COLUMNS if f"{c.id} {c.help}" not in lines] == []
    assert [way.name for way in DIMENSIONS if f"{way.name} {way.help}" not in lines] == []
    for tier in TIERS:
        (line,) = [line for line in lines if line.startswith(f"{tier.name} ") and tier.help in line]
        assert re.fullmatch(rf"{tier.name} (forever|\d+ \w+) {re.escape(tier.help)}", line)
    kept = {"seconds": "1 hour", "minutes": "7 days", "hours": "90 days", "5min": "400 days"}
    for name, length in (kept | {"days": "forever", "months": "forever"}).items():
        assert [line for line in lines if line.startswith(f"{name} {length} ")], name


# Modes


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
        (["--salvage", "/x/damaged", "--db", "/x/new"], Mode.SALVAGE),
        (["--print-schema"], Mode.PRINT_SCHEMA),
        (["--print-config"], Mode.PRINT_CONFIG),
        ([], Mode.SCREEN),
        (["--udp", "--bits", "--no-resolve", "-d", "2", "--theme", "light"], Mode.SCREEN),
        (["-n", "5"], Mode.BATCH),
        (["--limit", "5"], Mode.BATCH),
        (["--format", "table"], Mode.BATCH),
    ],
    ids=repr,
)
def test_flags_select_the_mode(arguments: list[str], mode: Mode) -> None:
    given = command.parse(arguments)
    assert given.mode(terminal=True) is mode
    assert given.mode(terminal=False) is (Mode.BATCH if mode is Mode.SCREEN else mode)
