"""The table of flags, row by row."""

from collections.abc import Iterable
from itertools import combinations

import pytest

from bwtop.options import command, rules
from bwtop.options.flag import EXCLUSIVE, Complete, Flag, Mode
from bwtop.options.flags import FLAGS, ROWS, SETTINGS, Options
from tests.options.examples import parse, refusal, typed, value

VALUED = [flag for flag in ROWS if flag.parse]
STRICT = [
    flag
    for flag in VALUED
    if flag.name not in ("process", "host") and flag.complete is not Complete.FILE
]
"""Flags whose value is not just any text, as patterns and paths are."""
CONTRADICTIONS = [(flag, FLAGS[name]) for flag in FLAGS.values() for name in flag.against]
NEEDY = [flag for flag in FLAGS.values() if flag.needs]
ALTERNATIVES = [
    (flag, other)
    for flag, other in combinations(FLAGS.values(), 2)
    if flag.group is other.group and flag.group in EXCLUSIVE and not (flag.exits or other.exits)
]


def long_name(flag: Flag | tuple[Flag, ...]) -> str:
    return flag.long if isinstance(flag, Flag) else " ".join(one.long for one in flag)


def each(rows: Iterable[Flag]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("flag", rows, ids=long_name)


def pairs(rows: Iterable[tuple[Flag, Flag]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("pair", rows, ids=long_name)


@each(ROWS)
def test_row_is_complete(flag: Flag) -> None:
    assert flag.long.startswith("--")
    assert flag.help
    assert not flag.help.endswith(".")
    assert bool(flag.parse) == bool(flag.metavar or flag.choices)
    assert {*flag.needs, *flag.against, *flag.overrides} <= FLAGS.keys()


def test_names_are_unique() -> None:
    names = [name for flag in ROWS for name in flag.names]
    assert len(set(names)) == len(names)


@each(ROWS)
def test_help_names_the_flag(flag: Flag) -> None:
    text = " ".join(command.parser().format_help().split())
    assert all(name in text for name in flag.names)
    assert " ".join(flag.help.split()) in text


@each([flag for flag in FLAGS.values() if not flag.exits])
def test_typed_flag_has_its_value(flag: Flag) -> None:
    found = command.parser().parse_args([typed(flag)])
    made = getattr(found, flag.name)
    assert (tuple(made) if flag.repeats else made) == value(flag) != flag.default


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        *((flag, "") for flag in VALUED),
        *((flag, text) for flag in STRICT for text in ("\x1b[2J\n", ",", "'" * 5000, "/" * 5000)),
    ],
    ids=lambda each: each.long if isinstance(each, Flag) else repr(each[:4]),
)
def test_value_out_of_its_domain_is_one_short_line(
    flag: Flag, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, parse, f"{flag.long}={text}")
    assert line.startswith(f"bwtop: {flag.long}: invalid ")
    assert "; expected " in line
    assert len(line) < 500


@each([flag for flag in ROWS if not flag.parse and not flag.exits])
def test_switch_takes_no_value(flag: Flag, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("yes", "a " * 5000):
        line = refusal(capsys, parse, f"{flag.long}={text}")
        assert line.startswith(f"bwtop: {flag.long}: ")
        assert len(line) < 600


@each([flag for flag in VALUED if flag.bare is None])
def test_value_is_required(flag: Flag, capsys: pytest.CaptureFixture[str]) -> None:
    assert flag.long in refusal(capsys, parse, flag.long)


@pairs(CONTRADICTIONS)
def test_contradiction_is_refused_and_names_both_flags(
    pair: tuple[Flag, Flag], capsys: pytest.CaptureFixture[str]
) -> None:
    flag, other = pair
    refusal(capsys, parse, typed(flag), typed(other))
    options = Options(**{flag.name: value(flag), other.name: value(other)})
    words = rules.fault(flag, options)
    assert words
    assert words.startswith(f"{flag.long} cannot be used with {other.long}")


@pairs(ALTERNATIVES)
def test_alternatives_are_refused_and_both_named(
    pair: tuple[Flag, Flag], capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, parse, *map(typed, pair))
    assert all(flag.long in line for flag in pair)


@each(NEEDY)
def test_flag_without_one_that_it_needs_is_refused(
    flag: Flag, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, parse, typed(flag))
    assert all(name in line for name in (flag.long, *(FLAGS[need].long for need in flag.needs)))
    for need in flag.needs:
        options = Options(**{flag.name: value(flag), need: value(FLAGS[need])})
        assert rules.fault(flag, options) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--demo", "--loopback=hide"], "--loopback hide cannot be used with --demo"),
        (["--from=clickhouse://h/d", "-d0.5"], "--interval must be 1 or more with --from"),
        (["--serve", "--open", "--bind=192.0.2.7"], "not on 192.0.2.7; leave out --open"),
        (["--record", "--metrics=[::]:1", "--open"], "not on ::; leave out --open"),
    ],
    ids=str,
)
def test_value_that_contradicts_another_flag_is_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refusal(capsys, parse, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--record", "--remote=10.0.0.0/8"], "--remote is not used by --record"),
        (["--record", "--sort=pid"], "--sort is not used by --record"),
        (["--record", "-d2"], "--interval is not used by --record"),
        (["--record", "--format=json"], "--format is not used by --record"),
        (["--check", "--max-flows=1000"], "--max-flows is not used by --check"),
        (["--history", "-d2"], "--interval is not used by --history"),
        (["--history", "--max-size=2M"], "--max-size is not used by --history"),
        (["--demo", "--db=/x"], "--db is not used by --demo"),
        (["--print-schema", "--bits"], "--bits is not used by --print-schema"),
        (["--salvage=/x", "--db=/y", "--no-resolve"], "--no-resolve is not used by --salvage"),
        (["--serve", "--remote=::1"], "--remote cannot be used with --serve; use the filter of"),
    ],
    ids=str,
)
def test_flag_that_the_mode_does_not_use_is_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refusal(capsys, parse, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--history", "--sort=tx"],
        ["--history", "--from=clickhouse://h/d", "--host=web1", "--password-file=/x"],
        *([mode, "--from=clickhouse://h/d", "--host=web1"] for mode in ("--batch", "--bits")),
        ["--check", "--backend=kprobe", "--no-cache"],
        ["--init", "--ship=clickhouse://h/d", "--retention=seconds=2h", "--cluster=c"],
        ["--print-schema", "--ship=clickhouse://h/d", "--retention=seconds=2h", "--no-config"],
        ["--record", "--ship=clickhouse://h/d", "--metrics=127.0.0.1", "--backend=kprobe"],
        ["--salvage=/x", "--db=/y", "--config=/z"],
        ["--demo", "--loopback=only", "--no-record"],
        ["--record", "--no-bits", "--resolve"],
        *([mode, "--theme=light"] for mode in ("--batch", "--limit=5", "--history", "--record")),
    ],
    ids=str,
)
def test_flag_that_the_mode_uses_is_taken(arguments: list[str]) -> None:
    parse(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--serve", "--sort=rate", "--loopback=show", "--no-bits"],
        ["--from=clickhouse://h/d", "-d1", "--max-flows=65536"],
        ["--demo", "--loopback=only"],
        ["--serve", "--open", "--bind=[::1]"],
    ],
    ids=str,
)
def test_default_contradicts_nothing(arguments: list[str]) -> None:
    parse(*arguments)


@each(ROWS)
def test_no_flag_contradicts_a_mode_that_uses_it(flag: Flag) -> None:
    used = flag.modes | flag.modes_if_typed
    assert not used & {Mode(name) for name in flag.against if name in set(Mode)}


def test_every_mode_but_the_full_screen_has_a_flag() -> None:
    assert {mode for mode in Mode if mode not in FLAGS} == {Mode.SCREEN}


def test_every_flag_but_modes_is_a_setting() -> None:
    others = {flag.name for flag in ROWS} - {flag.name for flag in SETTINGS.values()}
    others -= {mode.value for mode in Mode}
    assert others == {"help", "version", "config", "no_config", "cluster"}


@each(VALUED)
def test_completion_has_words_or_a_kind_but_not_both(flag: Flag) -> None:
    assert sum(map(bool, (flag.choices, flag.words, flag.complete))) <= 1
    assert flag.words or not flag.is_list
