"""Test the broadcaster thread, and the events for a page."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bwtop.model.flows import Identity, Loss, Traffic
from bwtop.model.sample import Sample
from bwtop.web import events, params, views
from bwtop.web.broadcaster import MAX_DRAWN, Broadcaster, BroadcastState, BroadcastView
from bwtop.web.events import HEARTBEAT, RETRY, EventStream
from bwtop.web.views import Document, LiveView
from tests.build import NOW, eventually, key, remote, sample

CURL: Final = key(10)
WEB, DNS = remote(), remote("192.0.2.2", 53, 17)

SOON: Final = 20.0
"""A generous time limit in seconds."""

WAITING: Final = 0.05
"""Seconds in which submitted waits begin."""


def one(rx: int = 1, tx: int = 0, **more: Any) -> Sample:
    return sample({CURL: {WEB: Traffic(rx, tx)}}, **more)


@dataclass(frozen=True)
class Count:
    """A view that notes the intervals drawn."""

    name: str = ""
    drawn: list[int] = field(default_factory=list, compare=False)

    def draw(self, state: BroadcastState) -> bytes:
        self.drawn.append(state.number)
        totals = state.model.ledger.sums.values()
        rx, tx = sum(t.rx for t in totals), sum(t.tx for t in totals)
        return json.dumps([state.number, rx, tx, state.elapsed]).encode()


@dataclass(frozen=True)
class Blocking:
    """A view that blocks the thread until released."""

    name: str = ""
    entered: threading.Event = field(default_factory=threading.Event, compare=False)
    let: threading.Event = field(default_factory=threading.Event, compare=False)

    def draw(self, _: BroadcastState) -> bytes:
        self.entered.set()
        assert self.let.wait(SOON)
        return b"drawn"


@dataclass(frozen=True)
class Slow:
    """A view whose drawing takes longer than the interval: the next sample waits when it is drawn."""

    broadcaster: Broadcaster
    name: str = ""
    drawn: list[int] = field(default_factory=list, compare=False)

    def draw(self, state: BroadcastState) -> bytes:
        self.drawn.append(state.number)
        self.broadcaster.put(one(), "tracepoint")
        return b"%d" % state.number


@dataclass(frozen=True)
class Broken:
    """A view that raises an error."""

    def draw(self, _: BroadcastState) -> bytes:
        raise RuntimeError("nothing\nworks")


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as made:
        yield made


def seen(broadcaster: Broadcaster, view: Any = None, after: int = 0, seconds: float = SOON) -> Any:
    drawn = broadcaster.wait(view or Count(), after, seconds)
    return drawn and json.loads(drawn.body)


# Intervals.


def test_before_the_first_interval_wait_returns_none(broadcaster: Broadcaster) -> None:
    view = Count()
    assert broadcaster.wait(view, 0, 0.05) is None
    assert broadcaster.wait(Document(LiveView()), 0, 0) is None
    assert view.drawn == []


def test_the_last_interval_is_there_at_once(broadcaster: Broadcaster) -> None:
    broadcaster.put(one(5, 3), "tracepoint")
    assert seen(broadcaster) == [1, 5, 3, 1.0]
    broadcaster.put(one(2, 0, elapsed=0.5), "tracepoint")
    assert seen(broadcaster, after=1) == [2, 7, 3, 0.5]
    assert seen(broadcaster) == [2, 7, 3, 0.5]


def test_samples_before_the_start_are_kept() -> None:
    broadcaster = Broadcaster(None)
    broadcaster.put(one(1), "tracepoint")
    broadcaster.put(one(2), "tracepoint")
    broadcaster.start()
    assert seen(broadcaster) == [1, 3, 0, 2.0]
    broadcaster.close()


def test_intervals_during_a_busy_thread_are_merged(
    broadcaster: Broadcaster, pool: ThreadPoolExecutor
) -> None:
    blocking = Blocking()
    broadcaster.put(one(1), "tracepoint")
    held = pool.submit(broadcaster.wait, blocking, 0, SOON)
    assert blocking.entered.wait(SOON)
    broadcaster.put(sample({CURL: {WEB: Traffic(10, 1)}}, loss=Loss(1)), "tracepoint")
    broadcaster.put(sample({CURL: {DNS: Traffic(100, 2)}}, elapsed=0.5, loss=Loss(2)), "tracepoint")
    last = one(1000, 4, identities={CURL: Identity("curl")}, loss=Loss(4))
    last.time = NOW + timedelta(seconds=9)
    broadcaster.put(last, "tracepoint")
    assert broadcaster.wait(Count(), 1, 0.02) is None, "putting waits for nobody, and draws nothing"
    blocking.let.set()
    drawn = held.result(SOON)
    assert drawn
    assert drawn.body == b"drawn"
    found = json.loads(feed_document(broadcaster, 1))
    assert (found["interval"], found["total"]) == (2.5, {"rx": 1110, "tx": 7})
    assert found["lost"]["flows"] == 7
    assert found["time"] == "2026-11-23T08:00:10.000+00:00"
    assert [p["name"] for p in found["processes"]] == ["curl"]
    assert seen(broadcaster) == [2, 1111, 7, 2.5]


def feed_document(broadcaster: Broadcaster, after: int = 0) -> bytes:
    drawn = broadcaster.wait(Document(views.live(params.read("", params.LIVE))), after, SOON)
    assert drawn
    return drawn.body


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40)), min_size=1))
def test_no_byte_is_lost_at_any_rate(amounts: list[tuple[int, int]]) -> None:
    broadcaster = Broadcaster(None)
    broadcaster.start()
    for rx, tx in amounts:
        broadcaster.put(one(rx, tx), "tracepoint")
    expected = [sum(rx for rx, _ in amounts), sum(tx for _, tx in amounts)]
    number = 0
    while (found := seen(broadcaster, after=number))[1:3] != expected:
        number = found[0]
    broadcaster.close()
    assert found[0] <= len(amounts)


def test_age_is_that_of_the_last_interval() -> None:
    now = [100.0]
    broadcaster = Broadcaster(None, lambda: now[0])
    now[0] = 103.0
    assert broadcaster.age() == 3.0
    now[0] = 100.0
    broadcaster.put(one(), "tracepoint")
    now[0] = 107.5
    assert broadcaster.age() == 7.5
    broadcaster.put(one(), "tracepoint")
    assert broadcaster.age() == 0.0


def test_backend_is_that_of_the_interval(broadcaster: Broadcaster) -> None:
    broadcaster.put(one(), "tracepoint")
    assert json.loads(feed_document(broadcaster))["backend"] == "tracepoint"
    broadcaster.put(one(), "")
    assert json.loads(feed_document(broadcaster, 1))["backend"] == "history"


# Views.


def test_equal_views_are_drawn_once_an_interval(
    broadcaster: Broadcaster, pool: ThreadPoolExecutor
) -> None:
    drawn: list[int] = []
    pages = [pool.submit(seen, broadcaster, Count("same", drawn)) for _ in range(30)]
    others = [pool.submit(seen, broadcaster, Count("other")) for _ in range(3)]
    for number in (1, 2):
        broadcaster.put(one(), "tracepoint")
        assert seen(broadcaster, Count("same", drawn), number - 1)[0] == number
    assert {page.result(SOON)[0] for page in pages + others} <= {1, 2}
    assert drawn == [1, 2]


def test_views_without_waiting_pages_are_not_drawn(broadcaster: Broadcaster) -> None:
    late, left, stays = Count("late"), Count("left"), Count("stays")
    assert broadcaster.wait(late, 0, 0) is None
    broadcaster.put(one(), "tracepoint")
    for view in (left, stays):
        assert seen(broadcaster, view)[0] == 1
    broadcaster.put(one(), "tracepoint")
    assert seen(broadcaster, stays, 1)[0] == 2
    assert (late.drawn, left.drawn) == ([], [1])


def test_interval_wakes_all_waiting_pages(
    broadcaster: Broadcaster, pool: ThreadPoolExecutor
) -> None:
    """Of one view and of several."""
    broadcaster.put(one(), "tracepoint")
    assert seen(broadcaster)[0] == 1
    pages = [pool.submit(seen, broadcaster, Count(str(page % 10)), 1) for page in range(30)]
    time.sleep(WAITING)
    broadcaster.put(one(), "tracepoint")
    assert [page.result(SOON / 2)[0] for page in pages] == [2] * 30


def test_view_that_raises_does_not_end_the_thread(
    broadcaster: Broadcaster, capsys: pytest.CaptureFixture[str]
) -> None:
    broadcaster.put(one(), "tracepoint")
    drawn = broadcaster.wait(Broken(), 0, SOON)
    assert drawn
    assert drawn.body == b"{}"
    assert seen(broadcaster)[0] == 1
    broadcaster.put(one(), "tracepoint")
    assert seen(broadcaster, after=1)[0] == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "please report it" in said


def test_views_of_an_interval_are_kept_while_they_are_few(broadcaster: Broadcaster) -> None:
    """Without a recorder no interval clears them, while clients may send ever new filters."""
    broadcaster.put(one(), "tracepoint")
    few = [Count(str(number)) for number in range(MAX_DRAWN)]
    for view in [*few, *few]:
        assert seen(broadcaster, view)[0] == 1
    assert [view.drawn for view in few] == [[1]] * len(few)
    for number in range(2 * MAX_DRAWN):
        seen(broadcaster, Count(f"further {number}"))
    assert seen(broadcaster, few[0])[0] == 1
    assert few[0].drawn == [1, 1]


def test_new_interval_waits_for_no_further_view(
    broadcaster: Broadcaster, pool: ThreadPoolExecutor
) -> None:
    """Views not drawn of the old interval are drawn of the new one."""
    broadcaster.put(one(), "tracepoint")
    first, second, late = Blocking("first"), Blocking("second"), Count("late")
    waits = [pool.submit(broadcaster.wait, first, 0, SOON)]
    assert first.entered.wait(SOON)
    views: tuple[BroadcastView, ...] = (second, late)
    for view in views:
        waits.append(pool.submit(broadcaster.wait, view, 0, SOON))
        assert eventually(lambda view=view: view in vars(broadcaster)["_wanted"])  # type: ignore[misc]
    first.let.set()
    assert second.entered.wait(SOON)
    broadcaster.put(one(), "tracepoint")
    second.let.set()
    assert all(wait.result(SOON) for wait in waits)
    assert late.drawn == [2]


def test_views_are_drawn_though_intervals_come_faster_than_they_are(
    broadcaster: Broadcaster,
) -> None:
    broadcaster.put(one(), "tracepoint")
    with ThreadPoolExecutor(3) as several:
        waits = [several.submit(seen, broadcaster, Slow(broadcaster, name)) for name in "abc"]
        assert all(wait.result(SOON) for wait in waits)


# The end.


def test_view_that_takes_longer_than_the_interval_is_delivered(broadcaster: Broadcaster) -> None:
    broadcaster.put(one(), "tracepoint")
    slow = Slow(broadcaster)
    for _ in range(20):
        last = slow.drawn[-1] if slow.drawn else 0
        drawn = broadcaster.wait(slow, last, SOON)
        assert drawn
        assert drawn.body == b"%d" % drawn.number
    assert len(slow.drawn) == 20, "the first drawing is delivered each time"


def test_nothing_is_drawn_for_pages_that_have_left(
    broadcaster: Broadcaster, pool: ThreadPoolExecutor
) -> None:
    blocking, left = Blocking(), Count("left")
    held = pool.submit(broadcaster.wait, blocking, 0, SOON)
    assert eventually(lambda: blocking in vars(broadcaster)["_wanted"])
    gone = pool.submit(broadcaster.wait, left, 0, 10.0)
    assert eventually(lambda: left in vars(broadcaster)["_wanted"])
    broadcaster.put(one(), "tracepoint")
    assert blocking.entered.wait(SOON)
    assert gone.result(SOON) is None
    blocking.let.set()
    assert held.result(SOON)
    assert seen(broadcaster, Count("last"))[0] == 1
    assert left.drawn == []


def test_close_wakes_all_waiting_pages(broadcaster: Broadcaster, pool: ThreadPoolExecutor) -> None:
    broadcaster.put(one(), "tracepoint")
    seen(broadcaster)
    pages = [pool.submit(broadcaster.wait, Count(str(n)), 1, SOON) for n in range(30)]
    time.sleep(WAITING)
    broadcaster.close()
    assert [page.result(SOON / 2) for page in pages] == [None] * 30
    assert broadcaster.is_closed
    assert broadcaster.wait(Count(), 0, SOON) is None


def test_the_thread_ends_with_it() -> None:
    before = {*threading.enumerate()}
    broadcaster = Broadcaster(None)
    broadcaster.start()
    (thread,) = {*threading.enumerate()} - before
    broadcaster.close()
    assert eventually(lambda: not thread.is_alive())
    broadcaster.put(one(), "tracepoint")  # no error after close


# Events.

STATUS: Final = {"state": "measuring", "warning": ""}
ASIDE: Final = (b":", b"event: age\n")
"""How a comment begins, and the age of the first interval."""


class Page:
    """The open stream of a page."""

    def __init__(self, broadcaster: Broadcaster, *, past: bool = False, text: str = "") -> None:
        self.status: dict[str, Any] = dict(STATUS)
        view = views.live(params.read(text, params.LIVE))
        self._parts = iter(
            EventStream(broadcaster, lambda: dict(self.status), view, lambda: None, past=past)
        )

    def part(self) -> bytes:
        found = next(self._parts)
        assert found.endswith(b"\n\n")
        assert found.count(b"\n\n") == 1
        return found

    def event(self) -> tuple[str, Any, int | None]:
        """Return (name, data, id) of the next event that is no age."""
        part = next(part for part in iter(self.part, b"") if not part.startswith(ASIDE))
        fields = dict(line.split(": ", 1) for line in part.decode().splitlines() if line)
        number = int(fields["id"]) if "id" in fields else None
        assert fields.keys() <= {"event", "data", "id"}
        return fields["event"], json.loads(fields["data"]), number

    def begin(self) -> None:
        assert self.part() == f"retry: {RETRY}\n\n".encode()


def test_page_gets_the_status_and_then_interval_after_interval(broadcaster: Broadcaster) -> None:
    page = Page(broadcaster)
    broadcaster.put(one(5), "tracepoint")
    page.begin()
    assert page.event() == ("status", STATUS, None)
    name, data, number = page.event()
    assert (name, number) == ("interval", 1)
    assert data == json.loads(feed_document(broadcaster))
    broadcaster.put(one(7), "tracepoint")
    name, data, number = page.event()
    assert (name, data["total"]["rx"], number) == ("interval", 7, 2)


def test_first_interval_comes_with_its_age(
    broadcaster: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be hours old; those after it are new."""
    monkeypatch.setattr(broadcaster, "age", lambda: 7200.04)
    broadcaster.put(one(5), "tracepoint")
    page = Page(broadcaster)
    page.begin()
    assert page.part().startswith(b"event: status\n")
    assert page.part() == b"event: age\ndata: 7200.0\n\n"
    assert page.part().startswith(b"id: 1\nevent: interval\n")
    broadcaster.put(one(7), "tracepoint")
    assert page.part().startswith(b"id: 2\nevent: interval\n")


@pytest.mark.parametrize(("text", "rate"), [("", 5.0), ("proto=udp", 0.0)])
def test_past_comes_first_where_it_is_wanted(
    broadcaster: Broadcaster, text: str, rate: float
) -> None:
    """It is that of the same view."""
    broadcaster.put(one(5), "tracepoint")
    assert seen(broadcaster)[0] == 1
    page = Page(broadcaster, past=True, text=text)
    page.begin()
    name, data, _ = page.event()
    assert name == "past"
    assert [point["rx_rate"] for point in data["points"]] == [rate]
    assert page.event()[0] == "status"
    assert page.event()[0] == "interval"


def test_past_that_is_drawn_slowly_comes(
    broadcaster: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer than one would wait for a first interval."""
    draw = views.ChartView.draw

    def slowly(view: views.ChartView, state: BroadcastState) -> bytes:
        time.sleep(0.7)
        return draw(view, state)

    monkeypatch.setattr(events, "PATIENCE", SOON)
    monkeypatch.setattr(views.ChartView, "draw", slowly)
    broadcaster.put(one(), "tracepoint")
    assert seen(broadcaster)
    page = Page(broadcaster, past=True)
    page.begin()
    assert page.event()[0] == "past"


def test_status_comes_again_only_when_it_has_changed(broadcaster: Broadcaster) -> None:
    page = Page(broadcaster)
    page.begin()
    assert page.event() == ("status", STATUS, None)
    for number in (1, 2):
        broadcaster.put(one(), "tracepoint")
        assert page.event()[2] == number
    page.status["warning"] = "the disk is full"
    assert page.event() == ("status", {**STATUS, "warning": "the disk is full"}, None)
    broadcaster.put(one(), "tracepoint")
    assert page.event()[2] == 3


def test_heartbeat_is_sent_without_news(
    broadcaster: Broadcaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert HEARTBEAT < 30, "less than proxies and our own server's SEND_SECONDS wait"
    monkeypatch.setattr(events, "HEARTBEAT", 0.02)
    page = Page(broadcaster)
    page.begin()
    assert page.event()[0] == "status"
    for _ in range(3):
        assert page.part() == b": still here\n\n", "a comment, which no page acts upon"
    page.status["state"] = "waiting"
    assert page.event()[1]["state"] == "waiting", "nobody need measure for that"
    broadcaster.put(one(), "tracepoint")
    beats = itertools.dropwhile(lambda part: part.startswith(ASIDE), iter(page.part, b""))
    assert next(beats).startswith(b"id: 1\nevent: interval\n")


def test_slow_page_only_misses_intervals(broadcaster: Broadcaster) -> None:
    page = Page(broadcaster)
    page.begin()
    page.event()
    for number in range(1, 6):
        broadcaster.put(one(number), "tracepoint")
        assert seen(broadcaster, after=number - 1)[0] == number
    name, data, of = page.event()
    assert (name, of) == ("interval", 5)
    assert data["total"]["rx"] == 5
    assert data["processes"][0]["rx_total"] == 15


def test_hostile_names_stay_within_their_event(broadcaster: Broadcaster) -> None:
    name = "x\n\nevent: status\ndata: {}\r\n\r\u2028\x85\x1b[2J</script>"
    broadcaster.put(one(identities={CURL: Identity(name, cmdline=name)}), "tracepoint")
    assert seen(broadcaster)[0] == 1
    page = Page(broadcaster, past=True)
    page.begin()
    for kind in ("past", "status", "interval"):
        found, data, _ = page.event()
        assert found == kind
        if kind != "status":
            assert data["processes"][0]["name"] == name
