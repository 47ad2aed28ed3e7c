"""The spikes of the header's graph: marked, and each the way to the processes behind it."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from bwtop.history.moments import MomentQuery
from bwtop.model.series import Rates, Timeline
from bwtop.text import units as fmt
from bwtop.tui.keymap import Context
from bwtop.tui.past import GRAPH
from bwtop.tui.state import Effect, ScreenState
from bwtop.tui.styles import Style

NEAR: Final = 5
"""Columns to both sides in which a spike is the highest one."""

ABOVE: Final = 2.0
"""Times the average of the graph that a spike has at least."""

MOST: Final = 9


class Spike(NamedTuple):
    """A column of the graph that is far above the others."""

    back: int
    """Columns from the end of the graph, of GRAPH."""
    rates: Rates


def timeline_of(state: ScreenState) -> Timeline:
    """Return what the header's graph shows; with a filter, what passes it."""
    return state.filtered.timeline if state.tree.filter.terms else state.model.timeline


def spikes(state: ScreenState) -> list[Spike]:
    """Return the spikes of the header's graph, the oldest first."""
    columns = timeline_of(state).columns(GRAPH, state.tree.categories)
    sums = [sum(rates) if rates else 0.0 for rates in columns]
    average = sum(sums) / max(sum(rates is not None for rates in columns), 1)
    found = [
        Spike(GRAPH - 1 - place, columns[place] or (0.0, 0.0))
        for place, value in enumerate(sums)
        if value > 0 and value >= ABOVE * average and _is_highest(sums, place)
    ]
    highest = sorted(found, key=lambda spike: sum(spike.rates), reverse=True)[:MOST]
    return sorted(highest, reverse=True)


def _is_highest(sums: Sequence[float], place: int) -> bool:
    """Return True for the first of the highest columns around a place."""
    before, after = sums[max(place - NEAR, 0) : place], sums[place + 1 : place + NEAR + 1]
    return all(value < sums[place] for value in before) and all(
        value <= sums[place] for value in after
    )


def moment(state: ScreenState, back: float) -> float:
    """Return the UTC seconds of the middle of a column, counted back from the end of the graph."""
    end = state.past.moment.here[1] if state.past else state.shown_until
    return end - (back + 0.5) * timeline_of(state).seconds / GRAPH


def chosen(state: ScreenState, found: Sequence[Spike]) -> Spike | None:
    """Return the spike that is chosen: the one nearest to the chosen time, because the graph moves."""
    if state.context is not Context.GRAPH or not found:
        return None
    return min(found, key=lambda spike: abs(moment(state, spike.back) - state.spike_time))


def marks(state: ScreenState, graph: Sequence[Rates | None]) -> tuple[dict[int, Style], ...]:
    """Return, for received and sent, the columns of a drawn graph that are spikes, and their styles.

    A spike is marked in the direction that made it, or in both.
    """
    found = spikes(state)
    here = chosen(state, found)
    return tuple(
        {
            _column(graph, spike): Style.PAUSED if spike is here else Style.SPIKE
            for spike in found
            if spike.rates[which] >= max(spike.rates) / 2
        }
        for which in (0, 1)
    )


def _column(graph: Sequence[Rates | None], spike: Spike) -> int:
    """Return the column of a graph of any width that has the spike."""
    middle = len(graph) - 1 - int((spike.back + 0.5) * len(graph) / GRAPH)
    near = range(max(middle - 1, 0), min(middle + 2, len(graph)))
    return max(near, key=lambda column: sum(graph[column] or (-1.0, 0.0)))


def words(state: ScreenState) -> str:
    """Return the chosen spike: its time and rates."""
    found = spikes(state)
    here = chosen(state, found)
    if here is None:
        return "the graph has no spike"
    rx, tx = (fmt.rate(rate, bits=state.settings.bits) for rate in here.rates)
    when = time.strftime("%H:%M:%S", time.localtime(moment(state, here.back)))
    glyphs = state.glyphs
    number = f"{found.index(here) + 1} of {len(found)}"
    return f"spike {number}  {when}  {glyphs.down} {rx}  {glyphs.up} {tx}"


# Commands.


def show_peak(state: ScreenState) -> Effect:
    """Show the processes behind the highest spike of the header's graph."""
    columns = timeline_of(state).columns(GRAPH, state.tree.categories)
    sums = [sum(rates) if rates else 0.0 for rates in columns]
    if not any(sums):
        state.say("the graph has no spike", Style.WARNING)
        return Effect.DRAW
    return _go(state, GRAPH - 1 - sums.index(max(sums)))


def _go(state: ScreenState, back: int) -> Effect:
    state.history.anchor = None
    state.history.ask(MomentQuery(at=moment(state, back)))
    return Effect.DRAW


def choose_spike(state: ScreenState) -> Effect:
    """Choose one of the marked spikes of the header's graph, first the highest."""
    found = spikes(state)
    if not found:
        state.say("the graph has no spike", Style.WARNING)
        return Effect.DRAW
    state.spike_time = moment(state, max(found, key=lambda spike: sum(spike.rates)).back)
    state.context = Context.GRAPH
    return Effect.DRAW


def older_spike(state: ScreenState) -> Effect:
    """Choose the spike to the left."""
    return _choose_beside(state, -1)


def newer_spike(state: ScreenState) -> Effect:
    """Choose the spike to the right."""
    return _choose_beside(state, 1)


def _choose_beside(state: ScreenState, step: int) -> Effect:
    found = spikes(state)
    here = chosen(state, found)
    if here:
        place = min(max(found.index(here) + step, 0), len(found) - 1)
        state.spike_time = moment(state, found[place].back)
    return Effect.DRAW


def show_spike(state: ScreenState) -> Effect:
    """Show the processes behind the chosen spike."""
    here = chosen(state, spikes(state))
    state.context = Context.LIST
    return _go(state, here.back) if here else Effect.DRAW


def leave_graph(state: ScreenState) -> Effect:
    """Go back to the list."""
    state.context = Context.LIST
    return Effect.DRAW
