"""The recorded past in the full screen, out of a real history, without a terminal."""

import io
import json
import time
from collections.abc import Callable
from datetime import datetime

import pytest

from bwtop.history.moments import Moment, MomentQuery, answer, unpacked
from bwtop.model.flows import Traffic
from bwtop.model.remote_names import RemoteNames
from bwtop.modes.screen import formatted
from bwtop.tui.export import Exporter
from bwtop.tui.keymap import Context
from bwtop.tui.past import Found, past_of
from bwtop.tui.styles import Style
from bwtop.view.grouping import Grouping
from bwtop.view.rows import Expansion
from bwtop.view.tree import Tree, View
from tests.build import key, remote, sample
from tests.history.keep import CURL, DAY, HOUR, NOON, Kept, policy
from tests.history.named import learned, named
from tests.history.test_moments import second
from tests.screen.harness import SIZES, Harness

NOW = int(time.time())
"""Typed times are relative to this one."""


class Archive:
    """A history that answers at once, or later when `let_go` is called."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self.asked: list[MomentQuery] = []
        self.are_gone: list[Callable[[], bool]] = []
        """For each question, a function that returns True once its answer is no longer wanted."""
        self.waits = False
        self._waiting: list[Callable[[], None]] = []
        self.changed: Callable[[], None] = lambda: None
        """Called after an answer, as the thread of the screen does."""

    def look(
        self,
        query: MomentQuery,
        show: Callable[[Found], None],
        is_gone: Callable[[], bool],
    ) -> None:
        """See past.Look."""
        self.asked.append(query)
        self.are_gone.append(is_gone)
        head, body = answer(self._kept.past(), query.text())
        self._kept.let_go()
        found = head["why"] if "why" in head else past_of(unpacked(io.BytesIO(body)))
        if self.waits:
            self._waiting.append(lambda: show(found))
        else:
            show(found)

    def let_go(self) -> None:
        """Give the answer that waits."""
        self._waiting.pop(0)()
        self.changed()


def recorded() -> Kept:
    """Record a hundred seconds two days ago, of which minutes are left, and the last hundred."""
    kept = Kept(policy(seconds=HOUR))
    for start in (NOW - 2 * DAY, NOW - 100):
        kept.append(*(second(start + number, 1000 * (1 + number)) for number in range(100)))
        kept.steps(NOW)
    return kept


@pytest.fixture(scope="module")
def archive() -> Archive:
    return Archive(recorded())


@pytest.fixture
def harness(archive: Archive) -> Harness:
    archive.asked.clear()
    archive.are_gone.clear()
    archive.waits = False
    harness = Harness(columns=120)
    harness.state.history.look = archive.look
    archive.changed = harness.screen.changed
    live(harness)
    return harness


def live(harness: Harness) -> None:
    harness.feed({key(9): {remote(): Traffic(5, 5)}}, {key(9): CURL})


def shown(harness: Harness) -> float:
    """Return the start of the moment that is shown."""
    assert harness.state.past
    return harness.state.past.moment.start


def clock(when: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(when))


def test_past_is_the_same_table(harness: Harness) -> None:
    harness.press("[")
    top = harness.lines()[0]
    assert " PAST " in top
    assert f"{clock(NOW - 1)} +1 s  by second" in top
    assert "ago" in top
    row = harness.line("nginx")
    assert "97.7 KiB" in row  # 100,000 bytes
    assert f"{key(2).pid} " in row
    harness.type("g")
    assert "/usr/sbin/nginx" in harness.text()
    harness.type("/curl\n"[:-1])
    harness.press("enter")
    assert "nginx" not in harness.text().split("\n", 6)[6]
    harness.press("esc", *"gggggg", "i")
    assert "program" in harness.text()


def test_measuring_goes_on_behind_the_past(harness: Harness) -> None:
    harness.press("[")
    before = harness.below()
    for _ in range(3):
        live(harness)
    assert harness.below() == before
    harness.press(".")
    assert harness.state.past is None
    assert "20 B" in harness.line("curl")


def test_steps_and_leaps(harness: Harness) -> None:
    harness.press("[", "[", "{")
    assert shown(harness) == NOW - 12
    harness.press("]")
    assert shown(harness) == NOW - 11
    harness.press("}")
    assert shown(harness) == NOW - 1
    harness.press("]")
    assert harness.state.past is None
    assert harness.state.message
    harness.press("]")
    assert harness.state.past is None


@pytest.mark.parametrize("late", [-0.001, 0.0, 0.001])
def test_arrows_step_from_the_moment_that_a_pause_holds(harness: Harness, late: float) -> None:
    """The clock of the wall, which readings are stored by, runs a little apart from that of intervals."""
    harness.state.measured_until = NOW - 50 + late
    harness.press(" ", "left")
    assert shown(harness) == NOW - 52
    harness.press("left", "right", "right")
    assert shown(harness) == NOW - 51
    for pressed in ("right", "]"):
        harness.press(".", pressed)
        assert shown(harness) == NOW - 50
    harness.press("}", *["]"] * 40)
    assert harness.state.past is None
    assert harness.state.paused
    assert harness.state.message == ("this is now", Style.WARNING)
    harness.press(" ", "right", "[")
    assert shown(harness) == NOW - 1


def test_gap_and_coarser_detail_are_said(harness: Harness) -> None:
    harness.press(*["{"] * 10)
    assert shown(harness) == NOW - 100
    harness.press("[")
    top = harness.lines()[0]
    assert "gap 1 d 23 h" in top
    assert "by minute" in top
    assert "- root" in harness.line("curl") or " -        curl" in harness.line("curl")


def test_steps_that_wait_are_taken_together(harness: Harness, archive: Archive) -> None:
    """A key waits for nothing, and no more than one question is under way."""
    archive.waits = True
    harness.press("[", "[", "[", "{")
    assert [query.steps for query in archive.asked] == [-1]
    assert harness.state.past is None
    archive.let_go()
    assert "looking" in harness.lines()[0]
    archive.let_go()
    assert [query.steps for query in archive.asked] == [-1, -12]
    assert shown(harness) == NOW - 13
    assert "looking" not in harness.lines()[0]


def test_steps_that_cancel_out_lead_nowhere(harness: Harness, archive: Archive) -> None:
    archive.waits = True
    harness.press("[", "]", "[", "{", "}")
    archive.let_go()
    assert shown(harness) == NOW - 1
    assert not harness.state.history.is_asked
    assert [query.steps for query in archive.asked] == [-1]


def test_a_step_forward_waits_for_the_first_step_back(harness: Harness, archive: Archive) -> None:
    archive.waits = True
    harness.press("{", "]")
    for _ in range(2):
        archive.let_go()
    assert shown(harness) == NOW - 9
    assert not harness.state.message


def test_now_is_not_left_for_an_answer_that_comes_later(harness: Harness, archive: Archive) -> None:
    archive.waits = True
    harness.press("[", "[", ".")
    assert not harness.state.history.is_asked
    harness.press("{")
    archive.let_go()
    assert harness.state.past is None
    archive.let_go()
    assert shown(harness) == NOW - 10
    assert [query.steps for query in archive.asked] == [-1, -10]


def test_a_question_that_was_left_is_no_longer_wanted(harness: Harness, archive: Archive) -> None:
    """It would keep the turn of the next ones for half a minute."""
    archive.waits = True
    harness.press("[", ".", "[")
    assert [is_gone() for is_gone in archive.are_gone] == [True, False]
    for _ in range(2):
        archive.let_go()


def test_steps_after_a_typed_time_are_taken_from_there(harness: Harness, archive: Archive) -> None:
    archive.waits = True
    harness.press("[", "[", "@", *clock(NOW - 50), "enter", "[", "[")
    for _ in range(3):
        archive.let_go()
    assert [(query.at, query.steps) for query in archive.asked] == [
        *((None, -1), (float(NOW - 50), 0), (None, -2))
    ]
    assert shown(harness) == NOW - 52
    harness.press("]", "@", *clock(NOW - 50), "enter")
    archive.asked.clear()
    archive.let_go()
    archive.let_go()
    assert shown(harness) == NOW - 50


def test_typed_time_is_shown_though_no_step_leads_further(
    harness: Harness, archive: Archive
) -> None:
    harness.press("[")
    archive.waits = True
    harness.press("]", "@", *clock(NOW - 50), "enter", "[")
    for _ in range(3):
        archive.let_go()
    assert shown(harness) == NOW - 51


@pytest.mark.parametrize("make", [lambda ago: f"{ago}s", lambda ago: clock(NOW - ago)])
def test_time_is_typed(
    harness: Harness, make: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    ago = 50
    text = make(ago)
    harness.press("@")
    assert harness.state.context == "time"
    assert "yesterday 20:00" in harness.lines()[-1]
    harness.type(text)
    assert harness.lines()[-1].startswith(f"@{text} ")
    harness.press("enter")
    assert harness.state.context == "list"
    assert shown(harness) == NOW - ago


def test_invalid_time_stays_to_be_changed(harness: Harness) -> None:
    harness.press("@", *"25:00", "enter")
    assert harness.state.context == "time"
    assert "invalid time '25:00'" in harness.lines()[-1]
    harness.press("esc")
    assert harness.state.context == "list"
    assert harness.state.past is None


def test_span_has_sums(harness: Harness) -> None:
    harness.press("[", "v", "[", "[")
    assert "+3 s" in harness.lines()[0]
    assert "span" in harness.lines()[0]
    total = sum(1000 * (1 + number) for number in (97, 98, 99))
    assert harness.state.tree.tops[0].counted.rx_total == total
    harness.press("v")
    assert shown(harness) == NOW - 3
    assert "+1 s" in harness.lines()[0]


def test_written_span_has_the_time_of_its_end(harness: Harness) -> None:
    """It had that of its oldest second, where the steps have led."""
    files: dict[str, bytes] = {}

    def write(name: str, data: bytes, _: bool) -> None:
        files[name] = data

    harness.state.exporter = Exporter(write, formatted)
    harness.press("[", "v", "[", "[", "w", *("backspace",) * 3, *"json", "enter")
    ((name, data),) = files.items()
    assert name == time.strftime("bwtop-%Y-%m-%d-%H%M%S.json", time.localtime(NOW))
    assert datetime.fromisoformat(json.loads(data)["time"]).timestamp() == NOW


def test_time_of_a_written_day_has_come(harness: Harness) -> None:
    harness.press("@", *"today", "enter")
    assert harness.state.past
    assert "so far" in harness.lines()[0]
    assert "ago" not in harness.lines()[0]
    assert NOW <= harness.state.shown_until <= time.time()


def test_peak_is_of_the_moments_in_the_graphs(harness: Harness) -> None:
    harness.size = (200, 24)
    harness.press("[", "[", "]")
    assert harness.line("nginx").count("97.7 KiB") == 3  # rate, peak and total
    found = Moment(1.0, 2.0, (1.0, 2.0), 0, 1.0)
    found.samples = [sample({key(9): {remote(): Traffic(amount)}}) for amount in (5, 70, 9)]
    (row,) = Tree(past_of(found).model, View(), Expansion(), RemoteNames()).tops
    assert (row.peak, row.counted.rx_rate) == (70.0, 9.0)


def test_span_has_an_average_and_no_peak(harness: Harness) -> None:
    harness.size = (200, 24)
    harness.press("[", "v", "[", "[")
    (row,) = [row for row in harness.state.tree.tops if row.identity.name == "nginx"]
    assert row.counted.tx_rate == pytest.approx(99_000)
    assert row.peak is None
    assert " - " in harness.line("nginx")


def test_average_of_a_range_is_over_its_recorded_time(harness: Harness) -> None:
    """Two hundred seconds of two days are recorded; the rest of them, and what has not come yet, is no gap."""
    harness.press("@", *"all", "enter")
    shown = "\n".join(harness.lines()[:6])
    assert "avg 3 min" in shown
    assert "gap" not in shown


def test_span_begins_in_the_past(harness: Harness) -> None:
    harness.press("v")
    assert harness.state.message == ("step back first, with [", Style.WARNING)


def test_selection_follows_its_process(harness: Harness) -> None:
    harness.press("[", "end")
    assert "nginx" in harness.selected()
    harness.press("r", "[", "[")
    assert "nginx" in harness.selected()


def test_no_signal_goes_to_the_past(harness: Harness) -> None:
    harness.press("[", "K")
    assert harness.state.chooser is None
    assert "press . to signal" in harness.lines()[-1]


def test_without_a_history_it_says_so() -> None:
    harness = Harness()
    harness.press("[")
    assert "nothing is recorded here" in harness.lines()[-1]


@pytest.mark.parametrize("size", SIZES)
def test_past_fits_every_size(harness: Harness, size: tuple[int, int]) -> None:
    harness.size = size
    harness.press("{", "v", "[")
    harness.check()
    harness.press("@")
    harness.type("yesterday 20:00")
    harness.check()


def test_graph_reaches_back(harness: Harness) -> None:
    """At the moment's end the graph has what was recorded before, in the order of time."""
    harness.press("[")
    assert harness.state.past
    graph = harness.state.past.model.timeline.columns(120, range(6))
    values = [rates and rates[1] for rates in graph]
    assert values == [None] * 20 + [1000 * (1 + number) + 1 for number in range(100)]


def test_graph_of_a_filter_has_the_moments_of_the_graph_without_one(harness: Harness) -> None:
    """A minute is a cell of it, too, and not half of it."""
    harness.press(*["{"] * 10, "[")
    assert "by minute" in harness.lines()[0]
    assert harness.state.past
    plain = harness.state.past.model.timeline.columns(120, range(6))
    harness.press("/", *"curl | nginx", "enter")
    filtered = harness.state.filtered.timeline.columns(120, range(6))
    assert 0 < len(list(filter(None, filtered))) <= len(list(filter(None, plain)))


def test_peak_of_the_graph_is_the_moment_of_its_spike(harness: Harness, archive: Archive) -> None:
    harness.press("{", "p")
    assert shown(harness) == NOW - 10  # the highest so far
    harness.press(".", "p")
    assert archive.asked[-1].at == harness.state.measured_until - 0.5


# Names of remotes.


@pytest.fixture(scope="module")
def of_names() -> Archive:
    return Archive(named(Kept()))


@pytest.fixture
def named_harness(of_names: Archive) -> Harness:
    """Return a screen, 140 columns wide, that shows the first minute of a history with names."""
    harness = Harness(columns=140)
    harness.state.history.look = of_names.look
    far = remote("192.0.2.1", 443)
    live = sample({key(1): {far: Traffic(5, 5)}}, identities={key(1): CURL})
    live.learned = [learned("now.example.com")]
    harness.state.advance(live)
    harness.state.history.ask(MomentQuery(span=(NOON, NOON + 60)))
    assert harness.state.past
    return harness


def test_past_has_the_names_of_then(named_harness: Harness) -> None:
    harness = named_harness
    harness.press("e")
    assert "www.example.co.uk:443" in harness.text()
    assert "two.example.org:8443" in harness.text()
    assert "now.example.com" not in harness.text()
    harness.press(".")
    assert "now.example.com" in harness.text()
    assert "www.example.co.uk" not in harness.text()


def test_details_of_the_past_say_where_names_are_from(named_harness: Harness) -> None:
    harness = named_harness
    harness.type("/process:curl user:0 port:443")
    harness.press("enter", "e", "down", "i")
    assert "www.example.co.uk (TLS), cdn.example.net (DNS)" in harness.text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("name:*.example.co.uk", {"curl"}),
        ("name:other.example.org", {"nginx"}),
        ("name:now.example.com", set()),
    ],
)
def test_past_is_filtered_by_the_names_of_then(
    named_harness: Harness, words: str, expected: set[str]
) -> None:
    named_harness.type(f"/{words}")
    named_harness.press("enter")
    assert {row.identity.name for row in named_harness.state.tree.tops} == expected


def test_remotes_of_the_past_are_groups_by_name(named_harness: Harness) -> None:
    harness = named_harness
    while harness.state.tree.grouping is not Grouping.REMOTE:
        harness.press("g")
    assert "two.example.org" in harness.text()
    harness.press("n")
    assert "two.example.org" not in harness.text()
    assert "2001:db8::2" in harness.text()


# The spikes of the graph.


def spiky(harness: Harness) -> None:
    """Let 100 seconds pass with two spikes, the later one higher, both of them sent."""
    for number in range(100):
        sent = {60: 90_000, 80: 400_000}.get(number, 1000)
        harness.feed({key(9): {remote(): Traffic(10, sent)}})


def marks(harness: Harness) -> dict[int, Style]:
    """Return the cells of marks in the graph of what was sent, counted from its right end."""
    cells, place = {}, harness.size[0]
    for style, text in reversed(harness.styles(2)):
        place -= len(text)
        if text == "▲":
            cells[harness.size[0] - 1 - place] = style
    return cells


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_spikes_are_marked_and_show_who_made_them(
    harness: Harness, archive: Archive, columns: int
) -> None:
    harness.size = (columns, 24)
    spiky(harness)
    assert set(marks(harness).values()) == {Style.SPIKE}
    assert len(marks(harness)) == 2
    if columns == 200:
        newer, older = marks(harness)
        assert older > newer
        assert "▲" not in harness.lines()[1], "nothing received in the spikes"
    harness.press("P")
    end = harness.state.measured_until
    assert harness.lines()[-1].startswith(f"spike 2 of 2  {clock(end - 19.5)}  ↓ 10 B/s  ↑ 390.6")
    assert list(marks(harness).values()) == [Style.PAUSED, Style.SPIKE]
    harness.press("right", "left", "left")
    assert harness.lines()[-1].startswith(f"spike 1 of 2  {clock(end - 39.5)}")
    harness.feed({key(9): {remote(): Traffic(10, 1000)}})
    assert list(marks(harness).values()) == [Style.SPIKE, Style.PAUSED]
    harness.press("enter")
    assert archive.asked[-1].at == harness.state.measured_until - 40.5
    assert harness.state.context is Context.LIST


def test_marks_are_of_what_the_filter_passes(harness: Harness) -> None:
    harness.press("/", *"nobody", "enter", "P")
    assert "the graph has no spike" in harness.lines()[-1]
    harness.press("esc", "esc")
    spiky(harness)
    harness.press("t", "P")
    assert "the graph has no spike" in harness.lines()[-1]
    assert harness.state.context is Context.LIST


@pytest.mark.parametrize("size", [*SIZES, (1, 1), (10, 20)])
def test_choosing_a_spike_fits_any_size(harness: Harness, size: tuple[int, int]) -> None:
    harness.size = size
    spiky(harness)
    for name in ("P", "left", "P", "P", "right", "esc"):
        harness.press(name)
        harness.check()


def test_even_traffic_has_no_marks(harness: Harness) -> None:
    for number in range(130):
        harness.feed({key(9): {remote(): Traffic(10, 1000 + number % 7)}})
    assert not marks(harness)
