"""The effective configuration: --print-config."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.history.tiers import TIERS, parse_retention, spell_retention
from bwtop.model.live import AVERAGES
from bwtop.options import command, config, printed, values
from bwtop.options.config import Config
from bwtop.options.flag import Mode
from bwtop.options.flags import SETTINGS
from bwtop.tui import keys
from bwtop.tui.keymap import Context
from bwtop.tui.layout import FIELDS
from bwtop.view.grouping import Grouping
from bwtop.view.order import Order, parse_order
from tests.options.examples import FILE, Write, load


def text_of(arguments: list[str], files: Config) -> str:
    return "\n".join(printed.lines(command.parse(arguments), files)) + "\n"


def test_example_has_every_setting() -> None:
    names = {*SETTINGS, *(setting.name for setting in config.SETTINGS), "keys", "networks"}
    assert names ^ set(tomllib.loads(FILE)) == set(), "FILE in tests/options/examples.py"


@pytest.mark.parametrize("text", ["", FILE, "other = true", 'bind = "127.0.0.1:1"'])
def test_printed_configuration_has_the_same_effect(write: Write, text: str) -> None:
    first = load(write(text))
    again = load(write(text_of([], first), "again.toml"))
    typed = command.parse([])
    for mode in (Mode.SCREEN, Mode.BATCH, Mode.RECORD, Mode.HISTORY, Mode.SERVE):
        assert typed.options(mode, again.flags) == typed.options(mode, first.flags)
    defaults = {
        "fields": FIELDS,
        "average": AVERAGES[0],
        "mouse": True,
        "fold_exited": True,
        "join_loopback": False,
        "graphs": True,
        "grouping": Grouping.PROCESS,
    }
    assert again.settings() == defaults | first.settings()
    assert again.networks == first.networks
    before, after = (one.keymap or keys.DEFAULT for one in (first, again))
    for context in Context:
        assert after.all_of(context) == before.all_of(context)


@given(st.dictionaries(st.sampled_from([t.name for t in TIERS]), st.integers(1, 10**6)))
def test_retention_survives_printing(asked: dict[str, int]) -> None:
    try:
        kept = parse_retention(",".join(f"{n}={h}h" for n, h in asked.items()) or "days=forever")
    except ValueError:  # finer tiers are kept for longer than coarser ones
        return
    assert parse_retention(spell_retention(kept)) == kept


@given(st.integers(1, 999_999), st.sampled_from("KMGT"))
def test_size_survives_printing(number: int, unit: str) -> None:
    try:
        size = values.size(f"{number}{unit}")
    except ValueError:  # too small or too large
        return
    assert values.size(values.spell_size(size)) == size


def test_printed_configuration_contains_flags() -> None:
    found = tomllib.loads(text_of(["-d", "3", "--udp", "-s", "-pid", "--bits"], Config()))
    assert (found["interval"], found["udp"], found["tcp"]) == (3, True, False)
    assert (parse_order(found["sort"]), found["bits"]) == (Order("pid", reverse=True), True)


def test_printed_configuration_explains_each_setting() -> None:
    lines = text_of([], Config()).splitlines()
    for name in {*SETTINGS, *(setting.name for setting in config.SETTINGS)}:
        places = [at for at, line in enumerate(lines) if line.lstrip("#").startswith(f"{name} =")]
        assert len(places) == 1, name
        assert lines[places[0] - 1].startswith("# ")


def test_hostile_file_name_stays_in_its_comment() -> None:
    text = text_of([], Config(read=[Path("/x\nbits = true\x1b[2J")]))
    assert "\x1b" not in text
    assert tomllib.loads(text)["bits"] is False
