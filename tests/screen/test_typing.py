"""A line being typed: the keys of readline(3), its history, and the completion of filters."""

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.filter_fields import FIELDS
from bwtop.model.flows import Host, Identity, Traffic
from bwtop.model.named import NameSource
from bwtop.tui import completion
from bwtop.tui.entry import KEPT, MOST
from bwtop.tui.keymap import TYPING, Context
from bwtop.tui.keys import KEYS
from bwtop.view.grouping import Grouping
from tests.build import key, remote, sample
from tests.history.named import SITE, learned
from tests.screen.harness import Harness


def busy(columns: int = 120) -> Harness:
    harness = Harness(columns)
    harness.feed(
        {
            key(11): {remote("192.0.2.7", 443): Traffic(9, 9)},
            key(12): {remote("192.0.2.9", 8443): Traffic(5, 5)},
            key(13): {remote("2001:db8::1", 22): Traffic(5, 5)},
        },
        {
            key(11): Identity("curl", 1, user="ada", unit="curl.service"),
            key(12): Identity("curly", 1, user="ada", container="docker:0123456789ab"),
            key(13): Identity("my prog", 2, user="bob", exe='/opt/"x"'),
        },
    )
    return harness


def typed(harness: Harness) -> str:
    """Return the typed line with its cursor."""
    entry = harness.state.entry
    return f"{entry.text[: entry.place]}_{entry.text[entry.place :]}"


EDITS: Final = {
    "ctrl a": "_curl my-prog:x",
    "home": "_curl my-prog:x",
    "ctrl a ctrl e": "curl my-prog:x_",
    "ctrl b left": "curl my-prog_:x",
    "ctrl b ctrl b ctrl f": "curl my-prog:_x",
    "meta b": "curl my-prog:_x",
    "meta b meta b meta b": "curl _my-prog:x",
    "home meta f meta f": "curl my_-prog:x",
    "home meta f meta f meta f meta f meta f": "curl my-prog:x_",
    "backspace backspace": "curl my-prog_",
    "home delete ctrl d backspace": "_rl my-prog:x",
    "ctrl w": "curl _",
    "ctrl w ctrl w ctrl w": "_",
    "left ctrl u": "_x",
    "home right ctrl k": "c_",
    "ctrl w home ctrl y": "my-prog:x_curl ",
    "ctrl k ctrl u ctrl y ctrl y": "curl my-prog:xcurl my-prog:x_",
    "end right delete": "curl my-prog:x_",
}


@pytest.mark.parametrize("opening", ["/", "@"])
@pytest.mark.parametrize("pressed", EDITS)
def test_keys_of_readline_edit_what_is_typed(opening: str, pressed: str) -> None:
    harness = busy()
    harness.press(opening)
    harness.type("curl my-prog:x")
    words = pressed.replace("ctrl ", "ctrl-").replace("meta ", "meta-").split()
    harness.press(*(word.replace("-", " ", 1) for word in words))
    assert typed(harness) == EDITS[pressed]
    assert harness.state.context in TYPING
    if opening == "/":
        assert harness.state.settings.filter == harness.state.entry.text.rstrip()


EDITING: Final = sorted({n for k in KEYS if k.context is Context.LINE for n in k.keys} | {"tab"})


@given(st.lists(st.sampled_from([*EDITING, *"a :,|\"'-", "é", "\u0301", "漢"]), max_size=40))
def test_any_keys_leave_a_line_with_its_cursor_within(pressed: list[str]) -> None:
    harness = busy(80)
    harness.press("/", *pressed)
    entry = harness.state.entry
    assert 0 <= entry.place <= len(entry.text) <= MOST
    assert harness.state.context is Context.FILTER
    harness.check()


def test_a_mark_goes_with_its_character() -> None:
    harness = busy()
    harness.press("/", *"ae\u0301b", "left", "left")
    assert typed(harness) == "a_e\u0301b"
    harness.press("delete")
    assert typed(harness) == "a_b"


def test_older_lines_are_recalled() -> None:
    harness = busy()
    for text in ("curl", "ssh", "curl", ""):
        harness.press("/", "ctrl u", *text, "enter")
    harness.press("@", "up")
    assert typed(harness) == "_", "times have a history of their own"
    harness.press("esc", "/", *"now")
    for pressed, expected in (
        ("up", "curl_"),
        ("ctrl p", "ssh_"),
        ("up", "ssh_"),
        ("down", "curl_"),
        ("ctrl n", "now_"),
        ("down", "now_"),
    ):
        harness.press(pressed)
        assert typed(harness) == expected
        assert harness.state.settings.filter == expected[:-1]
    for number in range(KEPT + 9):
        harness.press("enter", "/", "ctrl u", *str(number))
    harness.press(*["up"] * 2 * KEPT)
    assert typed(harness) == "8_"


COMPLETED: Final = {
    ("us",): "user:_",
    ("-us",): "-user:_",
    ("curl | us",): "curl | user:_",
    ("US",): "user:_",
    ("r",): "remote:_",
    ("r", "tab"): "role:_",
    ("user:",): "user:ada_",
    ("user:", "tab"): "user:bob_",
    ("user:", "tab", "tab"): "user:ada_",
    ("user:b",): "user:bob_",
    ("user:ada,b",): "user:ada,bob_",
    ("user:x",): "user:x_",
    ("cu",): "curl_",
    ("cur", "tab"): "curl_",
    ("process:curl", "tab"): "process:curly_",
    ("process:m",): 'process:"my prog"_',
    ('process:"my',): 'process:"my prog"_',
    ('process:"my prog" us',): 'process:"my prog" user:_',
    ("process:'my prog' -us",): "process:'my prog' -user:_",
    ('"my prog"|us',): '"my prog"|user:_',
    ("remote:192",): "remote:192.0.2._",
    ("remote:2",): "remote:2001:db8::1_",
    ("port:4",): "port:443_",
    ("pid:1",): "pid:11_",
    ("proto:ud",): "proto:udp_",
    ("state:e",): "state:exited_",
    ("loopback:h",): "loopback:hide_",
    ("unit:d",): "unit:docker:0123456789ab_",
    ("exe:/",): "exe:/_",
    ("foo:b",): "foo:b_",
}
"""Keys before and after Tab, and the line then."""


@pytest.mark.parametrize("before", COMPLETED)
def test_tab_completes_fields_and_values(before: tuple[str, ...]) -> None:
    harness = busy()
    harness.press("/", *before[0], "tab", *before[1:])
    assert typed(harness) == COMPLETED[before]


def test_every_completion_is_a_valid_filter_that_finds_its_process() -> None:
    harness = busy()
    for field in FIELDS:
        harness.press("/", "ctrl u", *f"{field.name}:")
        _, found = completion.choices(harness.state)
        assert found or not (field.words or field.seen) or field.name in ("exe", "container")
        for value in found:
            harness.state.filter(f"{field.name}:{value}")
            harness.state.build()
            assert not harness.state.filter_error
            assert harness.state.tree.tops or value in field.words, (field.name, value)


HINTS: Final = {
    "": "pid: user: process:",
    "us": "user: user name, with * as wildcard, or uid",
    "r": "remote: role: rate:",
    "user:": "user name, with * as wildcard, or uid; ada bob",
    "zz": "",
}


@pytest.mark.parametrize("text", HINTS)
def test_hints_name_fields_and_values(text: str) -> None:
    harness = busy(200)
    harness.press("/", *text)
    last = harness.lines()[-1].rstrip()
    assert last.startswith(f"/{text}  {HINTS[text]}".rstrip())
    assert HINTS[text] or last == f"/{text}"


def test_hostile_values_are_not_completed_and_hints_are_escaped() -> None:
    harness = Harness()
    harness.feed(
        {key(n): {remote(): Traffic(1)} for n in (1, 2, 3)},
        {key(1): Identity("a\x1b[2J"), key(2): Identity('b"c'), key(3): Identity("d|e'f")},
    )
    harness.press("/", *"process:", "tab")
    assert typed(harness) == 'process:"d|e\'f"_'
    harness.check()


# Search.


def test_search_moves_to_rows_and_hides_none() -> None:
    harness = busy()
    harness.press("e", "f3")
    assert harness.lines()[-1].rstrip() == "search   F3 next  Enter stay  Esc back"
    for pressed, expected in (
        ("c", " curl "),
        ("u", " curl "),
        ("f3", " curly "),
        ("ctrl g", " curl "),
        ("r", " curl "),
        ("l", " curl "),
        ("y", " curly "),
    ):
        harness.press(pressed)
        assert expected in harness.selected()
    harness.press("ctrl u", *"2001:DB8::1")
    assert "2001:db8::1" in harness.selected()
    harness.press("ctrl u", *"bob")
    assert "my prog" in harness.selected()
    harness.press("enter")
    assert "my prog" in harness.selected()
    assert harness.state.context is Context.LIST
    harness.press("home", "f3", "up")
    assert typed(harness) == "bob_"
    assert "my prog" in harness.selected()
    harness.press("ctrl u", *"zz")
    assert "no row contains it" in harness.lines()[-1]
    harness.press("esc")
    assert " curl " in harness.selected()
    assert all(name in harness.text() for name in ("curl ", "curly", "my prog"))


@pytest.mark.parametrize(
    ("before", "after", "following"),
    [((), "my prog", False), (("down",), " curly ", False), (("down", "F"), " curly ", True)],
)
def test_search_that_is_given_up_selects_the_row_from_before_wherever_it_is(
    before: Sequence[str], after: str, following: bool
) -> None:
    """Until the user selects a row, that is the first one."""
    harness = busy()
    harness.press(*before, "f3", *"curl", "f3", "f3")
    harness.feed({key(13): {remote("2001:db8::1", 22): Traffic(900)}})
    harness.pass_time()
    harness.press("esc")
    assert after in harness.selected()
    assert harness.state.listing.following == following
    assert (harness.state.listing.selected is None) == (not before)


def test_search_that_is_given_up_stays_where_the_row_from_before_is_gone() -> None:
    harness = busy()
    harness.press("down", "F", "f3", *"prog")
    harness.state.filter("process:my*")
    harness.state.build()
    harness.press("esc")
    assert "my prog" in harness.selected()
    assert not harness.state.listing.following


SHOWN: Final = {
    "www.example.com": "www.example.com",
    "cdn.example": "www.example.com",
    "web-of-ada": "curl",
    "web1": "curl",
}


@pytest.mark.parametrize("text", SHOWN)
def test_search_finds_what_rows_show(text: str) -> None:
    """Names of remotes, also as groups, of containers and of hosts."""
    harness = Harness(140, origin="clickhouse://db/bwtop")
    who = Identity(
        "curl", container="docker:1", container_name="web-of-ada", host=Host("web1", "id")
    )
    harness.feed({key(2): {remote("192.0.2.2"): Traffic(9000)}}, {key(2): Identity("wget")})
    reading = sample({key(1): {SITE: Traffic(1)}}, identities={key(1): who})
    reading.learned = [learned("cdn.example.net", NameSource.DNS), learned("www.example.com")]
    harness.state.advance(reading)
    harness.press("e", "f3", *text, "enter")
    assert SHOWN[text] in harness.selected()
    if "example" in text:
        while harness.state.settings.grouping is not Grouping.REMOTE:
            harness.press("g")
        harness.press("home", "f3", "ctrl u", *text, "enter")
        assert SHOWN[text] in harness.selected()


def test_search_in_an_empty_list_does_nothing() -> None:
    harness = Harness()
    for name in ("f3", "a", "f3", "esc", "f3", "b", "enter"):
        harness.press(name)
        harness.check()
    assert harness.state.context is Context.LIST
