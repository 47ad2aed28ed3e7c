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
        """Intervals of the model that are in it."""

    def update(self, tree: Tree) -> Timeline:
        """Add the intervals since the last call; with a tree of another model or filter, begin anew."""
        model = tree.model
        if self._of != (model, tree.filter):
            self._of, self._number = (model, tree.filter), 0
            self.timeline = Timeline(GRAPH_SECONDS)
        frames = model.frames_since(self._number)
        room, first = MOST, len(frames)
        while first and (first == len(frames) or room > len(frames[first - 1].flows)):
            first -= 1
            room -= len(frames[first].flows)
        for frame in frames[first:]:
            self.timeline.add(_passing(frame, tree))
        self._number = model.number
        return self.timeline


def _passing(frame: Frame, tree: Tree) -> Frame:
    """Return the sums of a frame's flows that are in a tree."""
    sums: dict[Category, tuple[int, int]] = {}
    for flow, rx, tx in frame.entries():
        if tree.passes(flow):
            before = sums.get(flow.category, (0, 0))
            sums[flow.category] = (before[0] + rx, before[1] + tx)
    return Frame(frame.time, frame.elapsed, _sums=sums)
