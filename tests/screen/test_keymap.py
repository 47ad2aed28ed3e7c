"""The spelling of keys, and configured bindings."""

from typing import Final

import pytest

from bwtop.tui.keymap import BindingError, Context, parse_key, spelled
from bwtop.tui.keys import DEFAULT, KEYS
from bwtop.tui.layout import parse_fields
from bwtop.tui.settings import Settings
from tests.screen.harness import Harness, Left

USUAL = [name for key in KEYS for name in key.keys]
SPELLED = dict(
    [
        *(("q", "q"), ("Q", "Q"), ("ü", "ü"), ("space", " "), ("PGUP", "page up"), ("F12", "f12")),
        *(("ctrl-x", "ctrl x"), ("Ctrl-X", "ctrl x"), ("Alt-x", "meta x"), ("Alt-X", "meta X")),
        *(("Alt-Enter", "meta enter"), ("Tab", "tab"), (" ", " ")),
        *((spelled(name), name) for name in USUAL),
    ]
)


@pytest.mark.parametrize("text", SPELLED)
def test_key(text: str) -> None:
    assert parse_key(text) == SPELLED[text]
    assert parse_key(spelled(SPELLED[text])) == SPELLED[text]


@pytest.mark.parametrize(
    "text",
    ["", "xx", "F13", "F0", "Ctrl-", "Ctrl-é", "Ctrl-C", "Ctrl-M", "Alt-", "\n", "\x1b", "Shift-X"],
)
def test_invalid_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid key"):
        parse_key(text)


def test_bound_key_is_taken_from_its_old_command() -> None:
    keymap = DEFAULT.bound(Context.LIST, {"pause": ["q", "f10", "x"], "toggle-tcp": []})
    found = keymap.find(Context.LIST, "q")
    assert found
    assert found.name == "pause"
    assert keymap.find(Context.LIST, " ") is None, "its old key is its no more"
    assert keymap.find(Context.LIST, "t") is None
    assert "leave" not in [key.name for key in keymap.of(Context.LIST)]
    assert keymap.find(Context.HELP, "q") is DEFAULT.find(Context.HELP, "q")
    again = keymap.bound(Context.LIST, {"leave": ["q"]})
    assert [key.keys for key in again.of(Context.LIST) if key.name == "pause"] == [("f10", "x")]


FUNCTION_KEYS: Final = {
    "f1": "show-help",
    "f2": "show-setup",
    "f3": "find",
    "f4": "edit-filter",
    "f5": "expand-all",
    "f6": "choose-order",
    "f9": "choose-signal",
    "f10": "leave",
}
"""As in htop; F7 and F8 change there what does not exist here."""


@pytest.mark.parametrize("name", FUNCTION_KEYS)
def test_function_keys_are_those_of_htop(name: str) -> None:
    found = DEFAULT.find(Context.LIST, name)
    assert found
    assert found.name == FUNCTION_KEYS[name]
    assert found.keys[0] != name or name == "f3", "the footer shows the letter"


def test_a_key_bound_twice_is_refused() -> None:
    with pytest.raises(BindingError, match="Ctrl-X is bound twice: leave, pause"):
        DEFAULT.bound(Context.LIST, {"leave": ["ctrl x"], "pause": ["ctrl x"]})


def test_the_screen_takes_bound_keys() -> None:
    keymap = DEFAULT.bound(Context.LIST, {"leave": ["ctrl x"], "toggle-bits": ["B"]})
    harness = Harness(160, 24, keymap=keymap)
    harness.feed()
    harness.press("B")
    assert harness.state.settings.bits
    harness.press("b", "q")
    assert harness.state.settings.bits
    assert "Ctrl-X quit" in harness.text()
    assert "B bits" in harness.text()
    harness.press("h")
    assert "Ctrl-X" in harness.text()
    harness.press("esc")
    with pytest.raises(Left):
        harness.press("ctrl x")


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("names", ["process", "share tx_total unit process user", "graph process"])
def test_configured_columns_are_shown(columns: int, names: str) -> None:
    fields = parse_fields(names.split())
    harness = Harness(columns, 24, Settings(fields=fields))
    harness.feed()
    harness.press("g", "g", "g", "g", "g", "e", "<", ">", "h", "esc")
    harness.check()
    shown = [placed.field for placed in harness.state.settings.placed(columns)]
    assert shown == [field for field in fields if field in shown]
    if columns == 200:
        assert shown == list(fields)
