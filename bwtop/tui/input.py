"""Input from the terminal, one read at a time: keys and clicks go to the screen, pastes into the filter only."""

from collections.abc import Sequence
from typing import Final

import urwid

from bwtop.tui import commands, export, moments, search
from bwtop.tui.keymap import TYPING, Context, spelled
from bwtop.tui.paste import Event, Paste, characters, is_burst
from bwtop.tui.screen import Screen, Size
from bwtop.tui.styles import Style

ASKING: Final = (Context.CHOOSER, Context.CONFIRM)
"""Contexts that wait for an answer."""

PAUSE: Final = 0.3
"""Seconds without keys that end a burst: a long paste takes several reads."""

_RESIZED: Final = "window resize"


class Input:
    """The dispatcher of terminal input to the screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._state = screen.state
        self._burst_end = 0.0
        """Time until which keys belong to the burst before them."""

    def take(self, size: Size, events: Sequence[Event]) -> list[Event]:
        """Handle the events of one read; return those that mean nothing to the screen."""
        resized = [event for event in events if event == _RESIZED]
        events = [event for event in events if event != _RESIZED]
        is_pasted = is_burst(events) or self._goes_on(events)
        if is_pasted:
            events = self._as_paste(events)
        rest = self._each(size, events)
        self._screen.refilter()
        if is_pasted and events[-1:] != ["enter"]:
            self._burst_end = self._state.now() + PAUSE
        return rest + resized

    def _goes_on(self, events: Sequence[Event]) -> bool:
        return self._state.now() < self._burst_end and bool(characters(events))

    def _as_paste(self, events: list[Event]) -> list[Event]:
        """Return a burst as a paste; the keys that open and accept a filter typed ahead stay keys."""
        is_typing = self._state.context in TYPING
        opening = [] if is_typing else self._opening(events[0])
        if not opening and not is_typing:
            return [Paste(characters(events))]
        accepting = [event for event in events[-1:] if event == "enter"]
        text = characters(events[len(opening) : len(events) - len(accepting)])
        return [*opening, Paste(text), *accepting]

    def _opening(self, event: Event) -> list[Event]:
        """Return the key if it opens a line to type in."""
        found = isinstance(event, str) and self._state.keymap.find(self._state.context, event)
        opens = (commands.edit_filter, moments.go_to_time, search.find, export.write_rows)
        return [event] if found and found.command in opens else []

    def _each(self, size: Size, events: Sequence[Event]) -> list[Event]:
        """Handle the events in turn; drop keys typed before a question or a list was shown."""
        rest: list[Event] = []
        for event in events:
            before = self._state.context
            if not self._handle(size, event):
                rest.append(event)
            if self._state.context is not before and self._state.context in ASKING:
                break
        return rest

    def _handle(self, size: Size, event: Event) -> bool:
        """Handle one event; return True if it had a meaning."""
        if isinstance(event, Paste):
            self._paste(event)
            return True
        if isinstance(event, str):
            return self._screen.keypress(size, event) is None
        if urwid.util.is_mouse_event(event):
            self._screen.mouse_event(size, *event, focus=True)
        return True  # or an unrequested report of the terminal

    def _paste(self, paste: Paste) -> None:
        if self._state.context in TYPING:
            self._screen.insert(paste.line())
        elif paste.text:
            self._state.say(self._ignored(), Style.WARNING)
            self._screen.changed()

    def _ignored(self) -> str:
        keys = [
            name
            for key in self._state.keymap.of(Context.LIST)
            if key.command is commands.edit_filter
            for name in key.keys
        ]
        how = f"; press {spelled(keys[0])} to filter" if keys else ""
        return f"pasted text ignored{how}"
