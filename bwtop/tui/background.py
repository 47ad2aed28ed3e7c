"""The background of the terminal: asked for (OSC 11 of xterm's control sequences), never waited for."""

import contextlib
import re
import select
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TextIO

QUESTION: Final = "\x1b]11;?\x1b\\"

PATIENCE: Final = 5.0
"""Seconds after which a terminal does not answer any more."""

DROP: Final = 0.2
"""Seconds to wait at the end for an answer, which the shell would otherwise get as typed text."""

_BEGIN: Final = "\x1b]11;"

_ANSWER: Final = re.compile(
    r"\x1b\]11;rgba?:([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})/([0-9a-fA-F]{1,4})[^\x07\x1b]{0,9}(?:\x07|\x1b\\)"
)

_LONGEST: Final = 48
"""Characters of the longest answer."""

_MIDDLE: Final = 0.179
"""Relative luminance (WCAG 2.1) that has the same contrast to black and to white."""

_SILENT: Final = re.compile(r"(linux|dumb|vt[0-9]|cons|ansi)")
"""Terminals that do not answer, some of which show the question."""


class TakeBackground(Protocol):
    """Take the background of the terminal."""

    def __call__(self, *, is_light: bool) -> None:
        """Take it once, when the terminal answers."""


def may_ask(environment: Mapping[str, str]) -> bool:
    """Return True if the terminal can be asked for its background."""
    return not _SILENT.match(environment.get("TERM", "dumb"))


class AnswerFilter:
    """A filter that cuts the answer out of the terminal's bytes."""

    def __init__(self, take: TakeBackground, now: Callable[[], float] = time.monotonic) -> None:
        self._take = take
        self._now = now
        self._until = 0.0
        """Time until which answers are cut out."""
        self._awaits = False
        self._kept = ""
        """The beginning of an answer."""

    def asked(self) -> None:
        """Expect an answer from now on."""
        self._until = self._now() + PATIENCE
        self._awaits = True

    @property
    def _is_open(self) -> bool:
        return self._now() < self._until

    def cut(self, codes: Sequence[int]) -> list[int]:
        """Return the bytes of one read without the answer; keep its beginning until the rest comes."""
        text, self._kept = self._kept + "".join(map(chr, codes)), ""
        if self._is_open:
            while found := _ANSWER.search(text):
                self._awaits = False
                text = text[: found.start()] + text[found.end() :]
                self._take(is_light=_luminance(found.groups()) > _MIDDLE)
            place = text.find(_BEGIN[:3])
            rest = text[place:]
            if place >= 0 and _BEGIN.startswith(rest[: len(_BEGIN)]) and len(rest) < _LONGEST:
                text, self._kept = text[:place], rest
        return list(map(ord, text))

    def drop_late(self, terminal: TextIO) -> None:
        """Drop an answer that is still expected, and what is typed meanwhile; `terminal` is the file of the input."""
        if self._is_open and self._awaits:
            with contextlib.suppress(OSError, ValueError, termios.error):  # the terminal is gone
                if select.select([terminal], [], [], DROP)[0]:
                    termios.tcflush(terminal, termios.TCIFLUSH)
        self._until = 0.0


def _luminance(parts: Sequence[str]) -> float:
    """Return the relative luminance of a colour in hexadecimal digits (WCAG 2.1)."""
    red, green, blue = (int(part, 16) / float((1 << 4 * len(part)) - 1) for part in parts)
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
