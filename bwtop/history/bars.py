"""The bars of an answer: the bytes of each unit of time."""

from dataclasses import dataclass

from bwtop.history.boundaries import Span
from bwtop.history.calendar import Unit, ceiling, floor, longest
from bwtop.history.dimensions import label_of
from bwtop.history.ranges import Range
from bwtop.history.store import Flow, Selection
from bwtop.model.rates import rate
from bwtop.model.series import Rates


@dataclass(slots=True)
class Bar:
    """The bytes of a minute, five minutes, an hour, day or month."""

    start: int
    """Start of the unit, in UTC seconds, or of the recording host's span that crosses it."""
    end: int
    label: str
    """Label of the unit: see dimensions.label_of()."""
    rx: int = 0
    tx: int = 0
    seconds: float = 0.0
    """Recorded time within it."""

    @property
    def rates(self) -> Rates:
        """Return the averages over the recorded time."""
        return rate(self.rx, self.seconds), rate(self.tx, self.seconds)


class Bars:
    """The bars of a range up to now; all bytes of a span are in the bar that it belongs to."""

    def __init__(self, wanted: Range, unit: Unit, now: float) -> None:
        self.left = unit
        """The unit of the longest span."""
        self.foreign: Span | None = None
        """A span that crosses the end of a unit."""
        self._wanted = wanted
        self._unit = unit
        self._bars: dict[int, Bar] = {}
        self._moved: dict[int, int] = {}
        """Ends of units within a span, and the end of the span to use in their place."""
        self._fill(floor(unit, wanted.start), min(wanted.end, max(now, wanted.start + 1)))

    def _fill(self, start: int, end: float) -> None:
        while start < end:
            start = self._at(start).end

    def _at(self, place: int) -> Bar:
        if place not in self._bars:
            end = ceiling(self._unit, place)
            self._bars[place] = Bar(place, end, label_of(self._unit, place))
        return self._bars[place]

    def add(self, selection: Selection, groups: dict[Flow, Flow] | None) -> None:
        """Add the flows of a selection that are in a group; None: all."""
        for span, _, rx, tx in selection.timeline(groups):
            self.put(span, 0.0, rx, tx)
        for span, seconds, _ in selection.coverage():
            self._note(span)
            self.put(span, seconds, 0, 0)

    def put(self, span: Span, seconds: float, rx: int, tx: int) -> None:
        """Add bytes and recorded time of a span."""
        bar = self._at(span.place(self._unit))
        bar.seconds += seconds
        bar.rx += rx
        bar.tx += tx

    def _note(self, span: Span) -> None:
        if not span.crosses(self._unit):
            return
        self.left = longest(self.left, span.shown_by(self._unit))
        self.foreign = self.foreign or span
        place = span.place(self._unit)
        end = ceiling(self._unit, place)
        if span.start < place:
            self._moved[place] = int(span.start)
        if span.end > end:
            self._moved[end] = int(span.end)

    def sums(self) -> tuple[int, int, float]:
        """Return the bytes received and sent, and the recorded seconds."""
        bars = self._bars.values()
        return sum(b.rx for b in bars), sum(b.tx for b in bars), sum(b.seconds for b in bars)

    def all(self, start: float, end: float) -> list[Bar]:
        """Return the bars, without a gap, each with the bounds of the spans in it; `start` and `end` are of all spans."""
        if self._bars:
            self._fill(min(self._bars), max(self._bars))
        found = [self._bars[place] for place in sorted(self._bars)]
        for bar in found:
            bar.start = self._moved.get(bar.start, bar.start)
            bar.end = self._moved.get(bar.end, bar.end)
        if found and start != self._wanted.start:
            found[0].start = max(found[0].start, int(start))
        if found and end != self._wanted.end:
            found[-1].end = min(found[-1].end, int(end))
        return [bar for bar in found if bar.start < bar.end or bar.seconds or bar.rx or bar.tx]
