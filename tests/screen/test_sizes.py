"""Every size, every context, both sets of symbols, hostile names: the drawing has exactly the size of the terminal."""

from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bwtop.model.flows import OTHER, UDP, Host, Identity, Loss, Role, Traffic
from bwtop.model.sample import FlowTraffic
from bwtop.text.escape import width
from bwtop.tui import layout
from bwtop.tui.glyphs import ASCII, UNICODE, Glyphs
from bwtop.tui.layout import FIELDS
from bwtop.tui.settings import Settings
from tests.build import HOSTILE, key, remote
from tests.examples import examples
from tests.screen.harness import Harness

NAMES: Final = (*HOSTILE, "❤\ufe0f#\ufe0f\u20e3⌚\ufe0e", "👍🏽👨\u200d👩🇩🇪", "e\u0301각ⓐ½…│°")
"""Also sequences that combine into one picture, and characters of terminal-dependent width."""

PID: Final = 1 << 23
"""Beyond the kernel's largest pid, so that no signal can ever arrive."""

CONTEXTS: Final[dict[str, tuple[str, ...]]] = {
    "list": (),
    "bottom": ("end",),
    "expanded": ("e", "down", "down"),
    "by user": ("g", "g", "e"),
    "by remote": ("g", "g", "g", "g", "e"),
    "by host": ("g", "g", "g", "g", "g", "e"),
    "command lines": ("c", "b", "n"),
    "paused": (" ", "t", "l"),
    "nothing": ("t", "u", "o"),
    "details": ("down", "i"),
    "details of a group": ("g", "i"),
    "sort": ("s", "end"),
    "signals": ("down", "K"),
    "question": ("down", "K", "enter"),
    "refused": ("g", "K"),
    "help": ("h",),
    "end of help": ("h", "end"),
    "filter": ("/", *"user:u"),
    "wrong filter": ("/", *"漢:x"),
    "long filter": ("/", *("漢x" * 40)),
    "kept filter": ("/", *"-日", "enter"),
}

LOSS: Final = Loss(1, 2**62, 3, 2**40, 5, 6)


def hostile(columns: int, rows: int, glyphs: Glyphs = UNICODE, *, fleet: bool = False) -> Harness:
    """Return a screen with all texts that others may choose, and many rows of everything."""
    origin = "clickhouse://db" if fleet else ""
    harness = Harness(columns, rows, glyphs=glyphs, attached=False, origin=origin)
    harness.state.host = "".join(HOSTILE[:8])
    names = {remote(f"192.0.2.{n}").address: name for n, name in enumerate(NAMES)}
    harness.state.attached("tracepoint", [f"cannot see {NAMES[5]}", "x" * 300], names)
    identities = {
        key(PID + n): Identity(
            name,
            uid=n % 3,
            cmdline=f"{name} {name}",
            exe=f"/{name}",
            user=name,
            unit=name,
            container=name if n % 4 == 0 else None,
            kernel=n % 5 == 0,
            host=Host(name, str(n)) if fleet else None,
        )
        for n, name in enumerate(NAMES)
    }
    traffic: FlowTraffic = {
        process: {
            remote(f"192.0.2.{n}", role=Role(n % 2)): Traffic(2**n, 10**n),
            remote("2001:db8:1234:5678:9abc:def0:1234:5678", 65535, UDP): Traffic(999_999, 1023),
            remote("*", 0, OTHER): Traffic(1, 0),
        }
        for n, process in enumerate(identities)
    }
    harness.feed(traffic, identities, loss=LOSS)
    harness.feed(traffic, identities, exited=list(identities)[:3])
    harness.pass_time()
    return harness


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
@pytest.mark.parametrize("fleet", [False, True], ids=["own", "fleet"])
def test_the_screen_is_exactly_as_large_as_the_terminal(
    glyphs: Glyphs, context: str, *, fleet: bool
) -> None:
    harness = hostile(80, 24, glyphs, fleet=fleet)
    harness.press(*CONTEXTS[context])
    for columns in (1, 2, 3, 9, 15, 24, 40, 80, 132, 300):
        for rows in (1, 2, 3, 4, 10, 15, 16, 24, 60):
            harness.size = (columns, rows)
            harness.check()


@settings(max_examples=examples(100))
@given(
    columns=st.integers(1, 320),
    rows=st.integers(1, 110),
    names=st.lists(st.text(max_size=30), min_size=1, max_size=3),
    context=st.sampled_from(sorted(CONTEXTS)),
    glyphs=st.sampled_from([UNICODE, ASCII]),
    fleet=st.booleans(),
)
def test_any_name_fits_any_terminal(
    columns: int, rows: int, names: list[str], context: str, glyphs: Glyphs, *, fleet: bool
) -> None:
    harness = Harness(columns, rows, glyphs=glyphs, origin=names[0] if fleet else "")
    host = Host(names[-1], names[0]) if fleet else None
    identities = {
        key(PID + n): Identity(name, 1, name, name, user=name, unit=name, host=host)
        for n, name in enumerate(names)
    }
    harness.feed({process: {remote(): Traffic(n + 1)} for n, process in enumerate(identities)})
    harness.feed({}, identities)
    harness.press(*CONTEXTS[context])
    harness.check()


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("size", [(1, 1), (10, 3), (40, 10), (80, 24), (300, 100)])
def test_screen_before_the_first_measurement(size: tuple[int, int], context: str) -> None:
    harness = Harness(*size, attached=False)
    for part in ("", "attached", "fed"):
        if part == "attached":
            harness.state.attached("fexit", [])
        if part == "fed":
            harness.feed()
        harness.press(*CONTEXTS[context], "esc", "esc")
        harness.check()


@pytest.mark.parametrize("columns", range(1, 331))
def test_host_column_is_dropped_whole(
    columns: int,
) -> None:
    fields = (layout.HOST_FIELD, *FIELDS)
    placed = layout.place(fields, columns)
    shown = [one.field for one in placed]
    assert shown == [field for field in fields if field in shown]
    assert layout.HOST_FIELD in shown or len(shown) <= 3
    assert len(shown) < 4 or shown[0] is layout.HOST_FIELD
    assert columns < FIELDS[2].cell.width + layout.MARK or placed[-1].end <= columns
    assert all(a.end + 1 == b.start for a, b in pairwise(placed))


@pytest.mark.parametrize("columns", range(1, 331))
def test_columns_are_left_out_whole_and_in_a_fixed_order(columns: int) -> None:
    placed, wider = layout.place(FIELDS, columns), layout.place(FIELDS, columns + 1)
    ranks = sorted(one.field.cell.rank for one in placed)
    assert ranks == list(range(len(ranks)))
    assert len(wider) >= len(placed)
    assert [one.field for one in placed] == [f for f in FIELDS if f.cell.rank < len(placed)]
    if columns > FIELDS[2].cell.width + layout.MARK:
        assert all(one.width >= one.field.cell.width for one in placed)
        assert placed[-1].end <= columns
    assert all(a.end + 1 == b.start for a, b in pairwise(placed))


@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        (40, "PROCESS ↓/s▼ ↑/s▼"),
        (80, "PID USER PROCESS ↓/s▼ ↑/s▼ ↓ total ↑ total"),
        (132, "PID USER PROCESS UNIT LAST 10 ↓/s ↑/s ↓ total ↑ total SHARE▼"),
        (300, "PID USER PROCESS UNIT LAST 10 ↓/s ↑/s ↓ total ↑ total SHARE▼"),
    ],
)
def test_titles(columns: int, titles: str) -> None:
    assert Harness(columns, 24).line("PROCESS").split() == titles.split()


@pytest.mark.parametrize("columns", [40, 80, 132, 300])
@pytest.mark.parametrize("fleet", [False, True], ids=["own", "fleet"])
def test_no_content_moves_a_column(columns: int, *, fleet: bool) -> None:
    """One cell between two columns is blank whatever the list contains."""
    harness = hostile(columns, 60, fleet=fleet)
    fields = (layout.HOST_FIELD, *FIELDS) if fleet else FIELDS
    texts = [one.field.is_text for one in layout.place(fields, columns)]
    gaps = [
        one.end
        for one, is_text, following in zip(
            layout.place(fields, columns), texts, [*texts[1:], False], strict=True
        )
        if not (is_text and following)
    ]
    top = harness.row_of("PROCESS")
    for line in harness.lines()[top : top + len(NAMES)]:
        for gap in gaps:
            before, cells = "", 0
            while cells < gap and len(before) < len(line):
                before += line[len(before)]
                cells = width(before)
            assert len(before) == len(line) or line[len(before) :].lstrip("\u0301")[0] == " ", line


@pytest.mark.parametrize("rows", [10, 24])
def test_the_same_numbers_stand_in_the_same_cells(rows: int) -> None:
    """Only digits change, and nothing moves."""
    harness = Harness(100, rows)
    shapes = set()
    for rx in (1, 1023, 10**5, 999_999_999, 2**40):
        harness.feed({key(PID): {remote(): Traffic(rx, rx)}}, {key(PID): Identity("curl", 0)})
        shapes.add(tuple(line.index("↑") for line in harness.lines() if "↑" in line))
    assert len(shapes) == 1


def test_settings_from_flags_are_on_the_screen_from_the_first_frame() -> None:
    settings_ = Settings(classes=frozenset({"tcp"}), filter="port:443", bits=True, average=10.0)
    harness = Harness(100, 24, settings_)
    harness.feed({key(PID): {remote(): Traffic(1000), remote(port=80): Traffic(5)}})
    for words in ("udp off", "other off", "filter port:443", "avg 10s", "8.0 kbit"):
        assert words in harness.text()
