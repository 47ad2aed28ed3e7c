"""Under any events and keys nothing raises, nothing jumps, and every number equals the moved bytes."""

import re
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bwtop.model.flows import OTHER, UDP, UNATTRIBUTED, Identity, Loss, ProcessKey, Role, Traffic
from bwtop.model.sample import FlowTraffic
from bwtop.tui import dialogs, state
from bwtop.tui.glyphs import ASCII, UNICODE
from bwtop.tui.keymap import Context
from bwtop.tui.keys import KEYS
from bwtop.tui.state import CALM
from bwtop.tui.styles import Style
from bwtop.view.columns import PROCESS_COLUMNS
from bwtop.view.grouping import Grouping
from bwtop.view.rows import FIRST, RowId
from bwtop.view.tree import Tree
from tests.build import HOSTILE, key, remote
from tests.examples import examples
from tests.screen.harness import Harness, Left

PID: Final = 1 << 23
"""Beyond the kernel's largest pid, so that no signal can ever arrive."""

PROCESSES: Final = (
    *(ProcessKey(start, PID + n) for n in range(4) for start in (10**9, 2 * 10**9)),
    UNATTRIBUTED,
)
REMOTES: Final = (
    remote(),
    remote("192.0.2.2", 53, UDP),
    remote("2001:db8::1", 22, role=Role.SERVER),
    remote("127.0.0.1", 8080),
    remote("*", 0, OTHER),
)
NAMES: Final = ("curl", "sshd", "named", *HOSTILE)

amounts: Final = st.sampled_from([0, 1, 7, 1023, 10**6, 10**12])
traffics: Final = st.dictionaries(
    st.sampled_from(PROCESSES),
    st.dictionaries(
        st.sampled_from(REMOTES), st.builds(Traffic, amounts, amounts), min_size=1, max_size=3
    ),
    max_size=6,
)
names: Final = st.sampled_from(NAMES)
identities: Final = st.builds(
    Identity,
    names,
    st.sampled_from([None, 0, 1000]),
    user=st.none() | names,
    unit=st.none() | names,
    exe=st.none() | names,
    kernel=st.booleans(),
)
sizes: Final = st.tuples(st.integers(1, 140), st.integers(1, 50)) | st.sampled_from(
    [(1, 1), (40, 10), (80, 24), (132, 43), (300, 100)]
)
key_names: Final = st.sampled_from(
    sorted({name for one in KEYS for name in one.keys} | set("xc*:.5") | {"backspace", "f12"})
)


def listed(tree: Tree) -> dict[RowId, int]:
    """Return all listed rows and their places."""
    return {row.id: place for place, (_, row) in enumerate(tree.walk(FIRST))}


class Anything(RuleBasedStateMachine):
    """A user, a network and a terminal with arbitrary behaviour."""

    @initialize(size=sizes, ascii_only=st.booleans())
    def begin(self, size: tuple[int, int], ascii_only: bool) -> None:
        self.harness = Harness(*size, glyphs=ASCII if ascii_only else UNICODE)

    @rule(pressed=st.lists(key_names, min_size=1, max_size=6), pause=st.sampled_from([0.1, 0.5, 2]))
    def press(self, pressed: list[str], pause: float) -> None:
        for name in pressed:
            self.harness.now += pause - 0.5
            try:
                self.harness.press(name)
            except Left:
                assert name in ("q", "f10")
                assert self.harness.state.context is Context.LIST

    @rule(
        traffic=traffics,
        known=st.dictionaries(st.sampled_from(PROCESSES), identities),
        elapsed=st.sampled_from([0.0, 0.1, 1.0, 30.0]),
        loss=st.sampled_from([Loss(), Loss(1, 2, 3, 4, 5, 6)]),
    )
    def feed(
        self,
        traffic: FlowTraffic,
        known: dict[ProcessKey, Identity],
        elapsed: float,
        loss: Loss,
    ) -> None:
        """Feed an interval; check that a selection stays on its row while that row is listed."""
        at, before = self.harness.state, listed(self.harness.state.tree)
        selected = at.listing.selected
        self.harness.feed(traffic, known, elapsed=elapsed, loss=loss)
        after = listed(at.tree)
        if selected in before and selected in after:
            row = at.listing.row(at.tree)
            assert row
            assert row.id == selected

    @rule(gone=st.sets(st.sampled_from(PROCESSES[:-1]), max_size=3))
    def exit(self, gone: set[ProcessKey]) -> None:
        self.harness.feed(exited=gone)

    @rule(size=sizes)
    def resize(self, size: tuple[int, int]) -> None:
        self.harness.size = size

    @rule(
        column=st.integers(0, 140),
        row=st.integers(0, 50),
        button=st.sampled_from([1, 1, 1, 2, 3, 4, 5]),
        traffic=st.none() | traffics,
    )
    def click(self, column: int, row: int, button: int, traffic: FlowTraffic | None) -> None:
        """Click, possibly after an event that is not drawn yet."""
        if traffic is not None:
            self.harness.feed(traffic)
        try:
            self.harness.click(column, row, button)
        except Left:
            assert row == self.harness.size[1] - 1

    @rule(seconds=st.sampled_from([0.1, CALM, 10.0]))
    def wait(self, seconds: float) -> None:
        self.harness.pass_time(seconds)

    @invariant()
    def the_screen_is_whole(self) -> None:
        self.harness.check()

    @invariant()
    def one_row_is_selected(self) -> None:
        at = self.harness.state
        marked = self.harness.styled(Style.SELECTED)
        if at.chooser is None and at.context is not Context.SETUP:
            assert len(marked) <= 1
        if at.context is Context.LIST and not at.details and self.harness.size[1] >= 24:
            assert len(marked) == bool(at.tree.tops)

    @invariant()
    def rows_are_what_is_known(self) -> None:
        """Check that rows are unique, that none is empty, and that groups add up."""
        tree = self.harness.state.tree
        ids = [row.id for _, row in tree.walk(FIRST)]
        assert len(ids) == len(set(ids))
        for top in tree.tops:
            assert any(
                (top.counted.rx_total, top.counted.tx_total, top.counted.rx, top.counted.tx)
            )  # z leaves the rates
            if top.process is None and not top.joined:
                children = tree.children(top)
                assert sum(child.counted.rx_total for child in children) == top.counted.rx_total
                assert sum(child.counted.tx_rate for child in children) == pytest.approx(
                    top.counted.tx_rate
                )

    @precondition(lambda self: self.harness.state.settings.grouping is Grouping.PROCESS)
    @rule()
    def calm_is_sorted(self) -> None:
        """Check that without keys rows are in the requested order, exited ones after the others."""
        at = self.harness.state
        self.harness.pass_time(CALM + 0.1)
        if at.paused:
            return
        (column,) = [c for c in PROCESS_COLUMNS if c.id == at.settings.order.column]
        living = [row for row in at.tree.tops if not row.exited]
        assert at.tree.tops[: len(living)] == living
        values = [column.get(row) for row in living]
        known = [
            value.casefold() if isinstance(value, str) else value
            for value in values
            if value is not None
        ]
        assert known == sorted(known, reverse=at.settings.order.descending)


Anything.TestCase.settings = settings(max_examples=examples(40), stateful_step_count=20)


@pytest.fixture(autouse=True)
def _no_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogs, "send", lambda *_: None)


TestAnything = Anything.TestCase


# Calm.

A, B, C = (key(PID + n) for n in range(3))


def three(columns: int = 80) -> Harness:
    """Return a screen in which A moves the most, then B, then C."""
    harness = Harness(columns, 24)
    busiest(harness, A, B, C)
    return harness


def busiest(harness: Harness, *order: ProcessKey) -> None:
    """Add an interval in which the processes move bytes in this order."""
    known = {A: Identity("aa", 1), B: Identity("bb", 2), C: Identity("cc", 3)}
    traffic: FlowTraffic = {
        process: {remote(): Traffic(1000 - 100 * place)} for place, process in enumerate(order)
    }
    harness.feed(traffic, known)


def order(harness: Harness) -> str:
    """Return the listed names, from the top."""
    return " ".join(n for line in harness.lines() for n in ("aa", "bb", "cc") if f" {n} " in line)


def test_rows_keep_their_places_within_a_second_of_a_key() -> None:
    harness = three()
    harness.press("down")
    busiest(harness, C, A, B)  # a second passes
    assert order(harness) == "cc aa bb"
    harness.press("down")
    harness.now -= 0.9
    busiest(harness, B, C, A)
    assert order(harness) == "cc aa bb"
    assert "900 B" in harness.line("cc")
    harness.pass_time()
    assert order(harness) == "bb cc aa"


@pytest.mark.parametrize(
    "action",
    [
        lambda harness: harness.press("f12"),
        lambda harness: harness.press("enter"),
        lambda harness: harness.click(20, 8),
        lambda harness: harness.click(20, 8, 5),
        lambda harness: harness.press("h", "esc"),
    ],
)
def test_any_key_or_click_keeps_rows_in_their_places(action: Callable[[Harness], None]) -> None:
    harness = three()
    action(harness)
    harness.state.expansion.set_all(expanded=False)
    harness.now -= 0.9
    busiest(harness, C, B, A)
    assert order(harness) == "aa bb cc"
    assert harness.state.seconds_to_calm() == pytest.approx(0.9)


def test_wheel_scrolls_the_list_while_a_line_is_typed() -> None:
    harness = three()
    harness.press("@", "1", "m", "enter", "@", "2")
    harness.click(20, 8, 5)
    assert " cc " in harness.selected()
    harness.click(20, 8, 4)
    assert " aa " in harness.selected()
    assert harness.state.entry.text == "2", "no line typed before"


def test_a_new_process_comes_last_while_rows_keep_their_places() -> None:
    harness = Harness()
    busiest(harness, B, C)
    harness.press("down")
    harness.now -= 1
    busiest(harness, A, B, C)
    assert order(harness) == "bb cc aa"
    harness.now -= 1
    busiest(harness, A, C, B)
    assert order(harness) == "bb cc aa"


def test_remotes_keep_their_places_too() -> None:
    harness = three()
    flows = {remote(f"192.0.2.{n}"): Traffic(100 * n) for n in (1, 2, 3)}
    harness.feed({A: flows})
    harness.press("home", "enter")
    before = [line.split()[1] for line in harness.lines() if " to 192" in line]
    harness.now -= 0.9
    harness.feed({A: {remote("192.0.2.1"): Traffic(10**6)}})
    assert [line.split()[1] for line in harness.lines() if " to 192" in line] == before
    harness.pass_time()
    assert harness.lines()[harness.row_of(" aa ") + 1].split()[1] == "192.0.2.1:443"


def test_pause_stops_sorting() -> None:
    harness = three()
    harness.press("down")
    harness.now -= 0.9
    busiest(harness, C, B, A)
    harness.press(" ")
    harness.pass_time(10)
    assert order(harness) == "aa bb cc"
    assert harness.state.seconds_to_calm() is None
    harness.press(" ")
    assert order(harness) == "cc bb aa"


def test_the_selection_follows_its_process() -> None:
    """The first row stays selected until the user moves, and after Home."""
    harness = three()
    busiest(harness, C, B, A)
    harness.pass_time()
    assert " cc " in harness.selected()
    harness.press("down")
    assert " bb " in harness.selected()
    for wanted in ((B, A, C), (A, C, B), (C, A), (C, A, B)):
        busiest(harness, *wanted)
        assert " bb " in harness.selected()
    for pressed in (("r",), ("/", "b", "enter", "esc")):
        harness.press(*pressed)
        assert " bb " in harness.selected()
    harness.press("home", "r")
    harness.pass_time()
    busiest(harness, A, B, C)
    assert " aa " in harness.selected()


def test_selection_moves_to_the_row_in_place_of_a_removed_one() -> None:
    """The first characters of `-bb` are no condition yet."""
    harness = three()
    harness.press("down", "/", "-")
    assert order(harness) == "aa bb cc"
    harness.press("b")
    assert " cc " in harness.selected()
    assert order(harness) == "aa cc"


def test_only_a_command_selects_a_row_again_that_was_gone() -> None:
    """A row that moves bytes again after a reset must not take the selection from the one in its place."""
    harness = three()
    busiest(harness)
    harness.press("down", "z", "y")
    assert not harness.state.tree.tops
    busiest(harness, A)
    assert " aa " in harness.selected()
    busiest(harness, A, B)
    assert " aa " in harness.selected()
    harness.press("u")
    assert " bb " in harness.selected()


def test_the_selection_follows_a_remote_and_falls_back_to_its_process() -> None:
    harness = three()
    harness.feed({B: {remote(port=53, protocol=UDP): Traffic(1)}})
    harness.press("home", "enter", "down")
    selected = harness.selected()
    busiest(harness, A, B, C)
    assert harness.selected().split()[:3] == selected.split()[:3]
    harness.press("u")
    assert " bb " in harness.selected()


# Large models, whose rows are made in the background.


class Background:
    """A background that makes rows when a test says so."""

    def __init__(self, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(state, "LARGE", 0)
        self.work: list[tuple[Callable[[], Tree], Callable[[Tree], None]]] = []
        harness.state.in_background = lambda make, show: self.work.append((make, show))
        self._changed = harness.screen.changed

    def finish(self, most: int = 10) -> None:
        for _ in range(most):
            if self.work:
                make, show = self.work.pop()
                show(make())
                self._changed()


def test_rows_are_made_in_the_background_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = three(100)
    background = Background(harness, monkeypatch)
    busiest(harness, C, B, A)
    assert "working…" in harness.text()
    assert order(harness) == "aa bb cc"
    for _ in range(3):
        busiest(harness, C, B, A)
    assert len(background.work) == 1
    background.finish()
    assert "4.7 KiB" in harness.line(" cc ")
    busiest(harness, C, B, A)
    harness.press("t")
    assert "tcp off" in harness.text()
    harness.press("r", "t", "z", "y", " ")
    background.finish()
    assert "working…" not in harness.text()
    assert not background.work
    harness.press(" ", "r")
    background.finish()
    harness.feed({A: {remote(): Traffic(77)}})
    background.finish()
    assert " 77 B " in harness.line(" aa ")


def test_graph_of_a_filter_is_of_rows_that_were_made_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = Harness(100)
    background = Background(harness, monkeypatch)
    for number in (1, 2, 3):
        background.finish()
        moved = {A: {remote(): Traffic(100 * number)}, B: {remote(): Traffic(5000)}}
        harness.feed(moved, {A: Identity("aa"), B: Identity("bb")})
    harness.press("/", "a", "enter")
    background.finish(1)
    assert "5.2 KiB/s" in harness.lines()[1], "the rows of all are still shown"
    background.finish()
    graph = harness.state.filtered.timeline.columns(120, range(6))
    assert graph[-3:] == [(100, 0), (200, 0), (300, 0)]
    assert re.search("300 B/s +total +600 B +peak +300 B/s", harness.lines()[1])


def test_click_during_a_background_build_means_the_shown_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = three(100)
    background = Background(harness, monkeypatch)
    busiest(harness, C, B, A)
    harness.click(20, harness.row_of(" bb "))
    harness.press("enter")
    background.finish()
    assert " bb " in harness.selected()
    assert "▾" in harness.selected()
