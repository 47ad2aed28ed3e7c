"""The usual traffic of a program, and since when it is known: the history's answer for the details of a process."""

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Final, Self

from bwtop.history import process
from bwtop.history.calendar import DAY, Unit, floor
from bwtop.history.store import HistoryStore
from bwtop.model.filter import EVERYTHING

USUAL: Final = 28
"""Days before today whose average is usual."""

_KEY: Final = "program"
"""The key of such a question."""


@dataclass(frozen=True)
class ProgramQuery:
    """A question for a program: all processes of one name and path, and of one host."""

    name: str
    exe: str | None
    host: str
    """Its id; empty: this one."""
    now: float
    """UTC seconds."""

    def text(self) -> str:
        """Return it as text."""
        return json.dumps({_KEY: asdict(self)})

    @classmethod
    def parsed(cls, text: str) -> Self | None:
        """Return the question of a text; None if that asks for something else."""
        found = json.loads(text).get(_KEY)
        return cls(**found) if found else None


@dataclass(frozen=True)
class ProgramUsage:
    """The answer, in bytes of both directions."""

    first: float | None
    """UTC seconds of the begin of the first day with the program; None: it is not in the history."""
    today: int = 0
    week: int = 0
    """Of this calendar week."""
    usual_day: float | None = None
    """The average of the recorded days in the last USUAL ones, without today; None: none is recorded."""

    @classmethod
    def unpacked(cls, body: BinaryIO) -> Self:
        """Return the usage of an answer."""
        found: dict[str, Any] = json.load(body)
        return cls(**found)


def answer(store: HistoryStore, question: ProgramQuery) -> process.Answer:
    """Answer a question."""
    return {}, json.dumps(asdict(usage(store, question))).encode()


def usage(store: HistoryStore, question: ProgramQuery) -> ProgramUsage:
    """Return what a program moved by day, from the totals of days as far as they are kept."""
    extent = store.extent()
    if extent is None:
        return ProgramUsage(None)
    bounds = (floor(Unit.DAY, extent[0]), max(question.now, extent[1]))
    found = store.select(bounds, Unit.DAY, frozenset({"name", "exe", "host"}), EVERYTHING)
    ends = found.ends(found.sums().keys())
    ours = {
        flow: flow
        for flow, (who, _) in ends.items()
        if (who.name, who.exe) == (question.name, question.exe)
        and (not question.host or (who.host is not None and who.host.id == question.host))
    }
    days: dict[int, int] = defaultdict(int)
    if ours:
        for span, _, rx, tx in found.timeline(ours):
            days[span.place(Unit.DAY)] += rx + tx
    today = floor(Unit.DAY, question.now)
    recorded = {span.place(Unit.DAY) for span, seconds, _ in found.coverage() if seconds > 0}
    usual = [day for day in recorded if today - (USUAL + 0.5) * DAY <= day < today]
    return ProgramUsage(
        min(days, default=None),
        days.get(today, 0),
        sum(moved for day, moved in days.items() if day >= floor(Unit.WEEK, question.now)),
        sum(days.get(day, 0) for day in usual) / len(usual) if usual else None,
    )
