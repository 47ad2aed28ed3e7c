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
from tests.build import HOSTILE, key, remote
from tests.examples import examples
from tests.screen.harness import FIELDS, Harness

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
@pytest.mark.parametrize(
    ("glyphs", "fleet"), [(UNICODE, False), (ASCII, True)], ids=["unicode-own", "ascii-fleet"]
)
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


@pytest.mark.parametrize("fields", [FIELDS, (layout.HOST_FIELD, *FIELDS)], ids=["own", "fleet"])
def test_columns_are_left_out_whole_and_in_a_fixed_order(
    fields: tuple[layout.ListColumn, ...],
) -> None:
    least = FIELDS[2].cell.width + layout.MARK
    before: list[layout.ListColumn] = []
    for columns in range(1, 331):
        placed = layout.place(fields, columns)
        shown = [one.field for one in placed]
        assert len(before) <= len(shown)
        before = shown
        ranks = sorted(field.cell.rank for field in shown if field is not layout.HOST_FIELD)
        assert ranks == sorted(field.cell.rank for field in FIELDS)[: len(ranks)]
        assert shown == [field for field in fields if field in shown]
        assert columns < least or placed[-1].end <= columns
        if fields is FIELDS and columns > least:
            assert all(one.width >= one.field.cell.width for one in placed)
        assert all(a.end + 1 == b.start for a, b in pairwise(placed))
        if fields is not FIELDS:
            assert layout.HOST_FIELD in shown or len(shown) <= 3


@pytest.mark.parametrize("fleet", [False, True], ids=["own", "fleet"])
@pytest.mark.parametrize(
    ("columns", "titles"),
    [
        (40, "PROCESS ↓/s▼ ↑/s▼"),
        (132, "PID USER PROCESS TOP REMOTE LAST {} ↓/s ↑/s ↓ total ↑ total SHARE▼"),
        (
            300,
            "PID USER PROCESS UNIT TOP REMOTE LAST {} NET REMOTES FLOWS ↓/s ↑/s PEAK/s ↓ total ↑ total"
            " SHARE▼",
        ),
    ],
)
def test_titles(columns: int, titles: str, *, fleet: bool) -> None:
    harness = Harness(columns, 24, origin="clickhouse://db" if fleet else "")
    host = ["HOST"] if fleet and columns > 40 else []
    graph = {132: 10, 300: 43 if host else 54}.get(columns, 0)
    titles = titles.format(graph) if graph else titles
    titles = titles.replace("LAST 10 ", "") if host else titles
    assert harness.line("PROCESS").split() == [*host, *titles.split()]


@pytest.mark.parametrize("columns", [40, 80, 132, 300])
@pytest.mark.parametrize("fleet", [False, True], ids=["own", "fleet"])
def test_no_content_moves_a_column(columns: int, *, fleet: bool) -> None:
    """One cell between two columns is blank whatever the list contains."""
    harness = hostile(columns, 60, fleet=fleet)
    fields = (layout.HOST_FIELD, *FIELDS) if fleet else FIELDS
    texts = [one.field.is_text for one in layout.place(fields, layout.inner(columns))]
    gaps = [
        one.end
        for one, is_text, following in zip(
            layout.place(fields, layout.inner(columns)), texts, [*texts[1:], False], strict=True
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
