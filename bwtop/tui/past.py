"""The recorded past as a model like the live one: asked for in another process, so that nothing waits for it."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, TypeVar

from bwtop.history.moments import LATER, Moment, MomentQuery, unpacked
from bwtop.history.plan import Bounds
from bwtop.history.process import QueryError, QueryServer
from bwtop.history.programs import ProgramQuery, ProgramUsage
from bwtop.history.store import Amounts
from bwtop.model.ledger import Category
from bwtop.model.live import LiveModel
from bwtop.model.rates import rate
from bwtop.model.series import Rates, Timeline
from bwtop.rights.privileges import PrivilegeError

T = TypeVar("T")

GRAPH: Final = 120
"""Moments in the header's graph."""


@dataclass(frozen=True)
class Past:
    """A moment and the model of what moved in it."""

    moment: Moment
    model: LiveModel


Found = Past | str
"""A moment, or why there is none."""

Look = Callable[[MomentQuery, Callable[[Found], None], Callable[[], bool]], None]
"""Ask a question.

The first function gets the answer later, in the thread that asked; the second returns whether it is no longer wanted.
"""


LookAtProgram = Callable[[ProgramQuery, Callable[[ProgramUsage | str], None]], None]
"""Ask about a program, like Look; the answer is a text if the history has none."""


class ShownHistory:
    """The moment of the past that is shown, and the questions to the history."""

    def __init__(self, warn: Callable[[str], None], changed: Callable[[], None]) -> None:
        """Take what shows a warning, and what shows the moment anew."""
        self.look: Look | None = None
        """Asks for a moment; None: nothing is recorded here."""
        self.look_at_program: LookAtProgram | None = None
        """Asks about a program; None: nothing is recorded here."""
        self.shown: Past | None = None
        """The moment that is shown; None: now."""
        self.anchor: Bounds | None = None
        """The moment at the other end of the selected span."""
        self.is_asked = False
        """True until the history has answered."""
        self._warn = warn
        self._changed = changed
        self._number = 0
        """Number of the last question; answers to others are ignored."""
        self._next: list[MomentQuery] = []
        """The questions that wait for the answer: a time or range, steps, or steps from there."""

    def ask(self, query: MomentQuery) -> None:
        """Show a moment of the past once the history has answered; steps meanwhile are taken together."""
        if self.look is None:
            self._warn("nothing is recorded here to step back to")
        elif self.is_asked:
            self._ask_later(query)
        else:
            self.is_asked = True
            self._number += 1
            number = self._number

            def is_gone() -> bool:
                return number != self._number

            def show(found: Found) -> None:
                if not is_gone():
                    self._answered(found)

            self.look(replace(query, anchor=self.anchor), show, is_gone)

    def _ask_later(self, query: MomentQuery) -> None:
        waiting = self._next
        if not query.is_step:
            waiting.clear()
        elif waiting and waiting[-1].is_step:
            query = replace(query, steps=query.steps + waiting.pop().steps)
        if query.steps or not query.is_step:
            waiting.append(query)

    def _answered(self, found: Found) -> None:
        """Show the answer, and ask on from there."""
        self.is_asked = False
        waiting, self._next = self._next, []
        if isinstance(found, str):
            self._warn("this is now" if found == LATER else found)
            if found == LATER:
                self.leave()
                self._changed()
            if waiting and waiting[0].is_step:
                return
        else:
            self.shown = found
            self._changed()
        here = self.shown.moment.here if self.shown else None
        for query in waiting:
            self.ask(replace(query, base=here))

    def leave(self) -> None:
        """Return to now, which is not drawn yet; ignore the answers that are still to come."""
        self.shown = self.anchor = None
        self._next.clear()
        self._number += 1
        self.is_asked = False


class Recorded(Timeline):
    """The amounts of stored spans, as the header's graph draws them."""

    def __init__(self, amounts: Sequence[Amounts], start: float, end: float) -> None:
        super().__init__(max(end - start, 1.0))
        self._amounts = amounts
        self._end = end

    def columns(self, count: int, categories: Iterable[Category]) -> list[Rates | None]:
        """Return the highest rates in each of `count` equal time spans, the oldest first; None: not recorded."""
        wanted = frozenset(categories)
        found: list[Rates | None] = [None] * count
        width = self.seconds / count
        for span, seconds, sums in self._amounts:
            rx = sum(moved[0] for of, moved in sums.items() if of in wanted)
            tx = sum(moved[1] for of, moved in sums.items() if of in wanted)
            now = rate(rx, seconds), rate(tx, seconds)
            last = min(int((self._end - span.start - 1e-6) / width), count - 1)
            first = max(int((self._end - max(span.end, span.start) + 1e-6) / width), 0)
            for column in range(first, max(last, first) + 1):
                before = found[-1 - column] or (0.0, 0.0) if column < count else None
                if before is not None:
                    found[-1 - column] = max(before[0], now[0]), max(before[1], now[1])
        return found


def past_of(moment: Moment) -> Past:
    """Return a moment with its model: totals are those of the moment, graphs show those before, too."""
    model = LiveModel()
    model.set_average(0.0)
    for sample in moment.samples[:-1]:
        model.advance(sample)
    model.reset()
    model.advance(moment.samples[-1])
    model.has_peaks = len(moment.samples) > 1
    width = moment.here[1] - moment.here[0]
    model.timeline = Recorded(moment.amounts, moment.here[1] - GRAPH * width, moment.here[1])
    return Past(moment, model)


class Looking:
    """Questions to the history, each in a thread that waits for the answer."""

    def __init__(
        self,
        server: QueryServer,
        deliver: Callable[[Callable[[], None]], None],
        in_thread: Callable[[Callable[[], None], str], None],
    ) -> None:
        """Take the server, what runs a function in the thread that asked, and what starts a thread of a name."""
        self._server = server
        self._deliver = deliver
        self._in_thread = in_thread
        self._started: threading.Event = threading.Event()
        self._fault = ""

    def start(self) -> None:
        """Let the server drop its rights, without waiting for it."""
        self._in_thread(self._start, "bwtop-past")

    def _start(self) -> None:
        try:
            self._server.start()
        except (PrivilegeError, OSError) as error:
            self._fault = str(error)
        self._started.set()

    def look(
        self,
        question: MomentQuery,
        show: Callable[[Found], None],
        is_gone: Callable[[], bool],
    ) -> None:
        """See Look."""

        def ask() -> None:
            found = self._answered(question.text(), lambda body: past_of(unpacked(body)), is_gone)
            self._deliver(lambda: show(found))

        self._in_thread(ask, "bwtop-past")

    def look_at_program(
        self, question: ProgramQuery, show: Callable[[ProgramUsage | str], None]
    ) -> None:
        """See LookAtProgram."""

        def ask() -> None:
            found = self._answered(question.text(), ProgramUsage.unpacked)
            self._deliver(lambda: show(found))

        self._in_thread(ask, "bwtop-program")

    def _answered(
        self,
        question: str,
        unpack: Callable[[BinaryIO], T],
        is_gone: Callable[[], bool] = lambda: False,
    ) -> T | str:
        """Return the unpacked answer to a question, or why there is none."""
        self._started.wait()
        if self._fault:
            return self._fault
        try:
            head, body = self._server.ask(question, is_gone)
        except QueryError as error:
            return str(error)
        except RuntimeError as error:
            return f"the history cannot be read: {error}"
        with body:
            return str(head["why"]) if "why" in head else unpack(body)
