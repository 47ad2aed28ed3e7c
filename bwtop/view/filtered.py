"""The timeline of what a filter passes: live views keep flows for as long as the longest average."""

from typing import Final

from bwtop.model.filter import Filter
from bwtop.model.ledger import Category, Frame
from bwtop.model.live import GRAPH_SECONDS, LiveModel
from bwtop.model.series import Timeline
from bwtop.view.tree import Tree

MOST: Final = 50_000
"""Flows of past intervals that a new filter is applied to; older intervals are left out."""


class FilteredTimeline:
    """The timeline of the flows that a filter passes, interval by interval."""

    def __init__(self) -> None:
        self.timeline = Timeline(GRAPH_SECONDS)
        self._of: tuple[LiveModel, Filter] | None = None
        self._number = 0
        """Intervals of the model that are in it, or left out."""
        self._time = 0.0
        """Seconds that the model had measured by then."""

    def update(self, tree: Tree) -> Timeline:
        """Add the intervals since the last call; with a tree of another model or filter, begin anew.

        Those that the model has no longer, as after a long pause, leave a gap.

        """
        model = tree.model
        if self._of != (model, tree.filter):
            self._of, self._number, self._time = (model, tree.filter), 0, 0.0
            self.timeline = Timeline(model.timeline.seconds)
        frames = _latest(model.frames_since(self._number))
        if model.number - self._number > len(frames):
            known = sum(frame.elapsed for frame in frames)
            self.timeline.skip(model.time - self._time - known)
        for frame in frames:
            self.timeline.add(_passing(frame, tree))
        self._number, self._time = model.number, model.time
        return self.timeline


def _latest(frames: list[Frame]) -> list[Frame]:
    """Return the last frames, at least one, that together have at most MOST flows."""
    room, first = MOST, len(frames)
    while first and (first == len(frames) or room > len(frames[first - 1].flows)):
        first -= 1
        room -= len(frames[first].flows)
    return frames[first:]


def _passing(frame: Frame, tree: Tree) -> Frame:
    """Return the sums of a frame's flows that are in a tree."""
    sums: dict[Category, tuple[int, int]] = {}
    for flow, rx, tx in frame.entries():
        if tree.passes(flow):
            before = sums.get(flow.category, (0, 0))
            sums[flow.category] = (before[0] + rx, before[1] + tx)
    return Frame(frame.time, frame.elapsed, _sums=sums)
