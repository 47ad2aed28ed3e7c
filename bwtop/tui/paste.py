"""Pasted text: bracketed pastes, and bursts of keys too fast to have been typed."""

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

BRACKETS_ON: Final = "\x1b[?2004h"
BRACKETS_OFF: Final = "\x1b[?2004l"
BEGIN: Final = "\x1b[200~"
END: Final = "\x1b[201~"
"""The control sequences of xterm, "Bracketed Paste Mode" (mode 2004)."""

END_KEY: Final = "end paste"
"""The urwid name of END; after Esc it is "meta end paste"."""

KEPT: Final = 65_536
"""Bytes kept of a paste; a filter takes far fewer."""

PATIENCE: Final = 2.0
"""Seconds without input after which a paste without END has ended: longer than a slow line pauses."""

BURST: Final = 8
"""Keys in one read that make a paste: too many to type between two reads."""

_TYPED: Final = {"enter": "\n", "tab": "\t"}
"""Characters that urwid names."""

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True)
class Paste:
    """Pasted text, as the terminal sent it."""

    text: str

    def line(self) -> str:
        """Return the text as one line: a run of control characters becomes a space."""
        return _CONTROLS.sub(" ", self.text)


Event = str | Paste | tuple[str, int, int, int]
"""A key by its urwid name, a paste, or a mouse event: event, button, column, row."""


class Brackets:
    """A filter that cuts bracketed pastes out of the terminal's bytes before keys are decoded."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._pastes: deque[Paste] = deque()
        self._open: str | None = None
        """The part received of an open paste; None: no paste is open."""
        self._last = 0.0
        """Time of the last input."""

    def cut(self, codes: Sequence[int]) -> list[int]:
        """Return the bytes of one read with END in the place of each paste; drop any other END."""
        kept = END if codes and self.give_up() else ""
        left = "".join(map(chr, codes))
        while left:
            if self._open is None:
                before, begin, left = left.partition(BEGIN)
                kept += before.replace(END, "")
                self._open = "" if begin else None
            else:
                text, end, left = (self._open + left).partition(END)
                self._open = _shortened(text)
                kept += end
                if end:
                    self._close()
        if codes:
            self._last = self._now()
        return list(map(ord, kept))

    def give_up(self) -> bool:
        """End a paste that does not go on; return True if there was one."""
        is_over = self._open is not None and self._now() - self._last > PATIENCE
        if is_over:
            self._close()
        return is_over

    def _close(self) -> None:
        text = (self._open or "").encode("latin-1", "replace").decode("utf-8", "replace")
        self._pastes.append(Paste(text))
        self._open = None

    def put_back(self, keys: Sequence[Event]) -> list[Event]:
        """Return the keys of urwid with the pastes in their places."""
        events: list[Event] = []
        for key in keys:
            if not (isinstance(key, str) and key.endswith(END_KEY)):
                events.append(key)
            elif self._pastes:
                events.append(self._pastes.popleft())
        return events


def _shortened(text: str) -> str:
    """Return the kept part of a paste, with its end, where END may have begun."""
    return text[:KEPT] + text[KEPT:][1 - len(END) :]


def characters(events: Sequence[Event]) -> str:
    """Return the typed and pasted text, without keys that are no character."""
    return "".join(map(_character, events))


def _character(event: Event) -> str:
    if isinstance(event, Paste):
        return event.text
    if isinstance(event, str):
        return event if len(event) == 1 else _TYPED.get(event, "")
    return ""


def is_burst(events: Sequence[Event]) -> bool:
    """Return True if the keys of one read are a paste without brackets; a repeated key counts once."""
    typed = filter(None, (_character(event) for event in events if isinstance(event, str)))
    return sum(1 for _ in groupby(typed)) >= BURST
