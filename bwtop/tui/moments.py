"""The commands that choose the moment to show: of the recorded past, or now."""

import time
from typing import Final

from bwtop.history.moments import MomentQuery
from bwtop.history.plan import Bounds
from bwtop.history.ranges import Range, RangeError, parse_moment
from bwtop.tui.keymap import Context
from bwtop.tui.state import Effect, ScreenState
from bwtop.tui.styles import Style

LEAP: Final = 10
"""Moments that { and } pass."""

APART: Final = 0.04
"""Seconds that stored times may be apart from those of the screen; less than half of the shortest interval."""

TEN_MINUTES: Final = "10m"


def step_back(state: ScreenState) -> Effect:
    """Show what was recorded before."""
    return _step(state, -1)


def step_forward(state: ScreenState) -> Effect:
    """Show what was recorded next; after the last moment, what is measured now."""
    return _step(state, 1)


def leap_back(state: ScreenState) -> Effect:
    """Go back by ten moments."""
    return _step(state, -LEAP)


def leap_forward(state: ScreenState) -> Effect:
    """Go forward by ten moments."""
    return _step(state, LEAP)


def _step(state: ScreenState, steps: int) -> Effect:
    here = _here(state)
    if here is None and steps > 0 and not state.history.is_asked:
        state.say("this is now")
    else:
        state.history.ask(MomentQuery(here, steps))
    return Effect.DRAW


def _here(state: ScreenState) -> Bounds | None:
    """Return the moment that is shown: of the past, or held by a pause; None: now."""
    if state.past:
        return state.past.moment.here
    if not state.paused:
        return None
    end = state.held - APART
    return end - state.live.covered, end


def go_to_time(state: ScreenState) -> Effect:
    """Start typing a time."""
    state.type_in(Context.TIME)
    return Effect.DRAW


def take_time(state: ScreenState) -> Effect:
    """Show what was recorded at the typed time, or ten minutes ago."""
    return _show_time(state, state.typed_line() or TEN_MINUTES)


def today(state: ScreenState) -> Effect:
    """Show the sums of today."""
    return _show_time(state, "today")


def _show_time(state: ScreenState, text: str) -> Effect:
    try:
        found = parse_moment(text, time.time())
    except RangeError as error:
        state.say(str(error), Style.ERROR)
        return Effect.DRAW
    state.context = Context.LIST
    state.history.anchor = None
    if isinstance(found, Range):
        state.history.ask(MomentQuery(span=(found.start, found.end)))
    else:
        state.history.ask(MomentQuery(at=found))
    return Effect.DRAW


def cancel_time(state: ScreenState) -> Effect:
    """Stop typing a time."""
    state.context = Context.LIST
    return Effect.DRAW


def go_to_now(state: ScreenState) -> Effect:
    """Show what is measured now."""
    state.history.leave()
    return Effect.BUILD


def select_span(state: ScreenState) -> Effect:
    """Select the span from this moment to the one that the next steps reach; again: drop the selection."""
    if state.past is None:
        state.say("step back first, with [", Style.WARNING)
        return Effect.DRAW
    here = state.past.moment.here
    state.history.anchor = None if state.history.anchor else here
    state.history.ask(MomentQuery(at=here[0]))
    return Effect.DRAW
