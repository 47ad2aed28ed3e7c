"""A line of text being typed: its cursor, its history, and the editing that readline(3) does."""

import re
from collections.abc import Sequence
from typing import Final

from bwtop.text.escape import width

MOST: Final = 500
"""Characters that can be typed: few enough to parse on each key. A given line may be longer."""

KEPT: Final = 50
"""Lines of a history."""

_WORD_BEFORE: Final = re.compile(r"\w+\W*$")
_WORD_AFTER: Final = re.compile(r"\W*\w+")
_BLANK_WORD_BEFORE: Final = re.compile(r"\S*\s*$")


class TypedLine:
    """The line, the place of its cursor in characters, and the text that was cut last."""

    def __init__(self) -> None:
        self.text = ""
        self.place = 0
        self.most = MOST
        """Characters that it may have: those of a given line, if that is longer than one can type."""
        self._cut = ""
        self._older: Sequence[str] = ()
        """Lines typed before, the oldest first."""
        self._recalled: int | None = None
        """The place of the recalled line in the history; None: the typed one."""
        self._typed = ""
        """The line before a recall."""
        self._choices: tuple[str, int, Sequence[str], int] | None = None
        """The line that a completion made, where the completed part begins, its choices, and the current one."""

    def begin(self, text: str = "", older: Sequence[str] = ()) -> None:
        """Begin a line with a text and a history."""
        self._put(text)
        self._older, self._recalled, self._choices = older, None, None

    def _put(self, text: str) -> None:
        self.text = text
        self.most = max(MOST, len(text))
        self.place = len(self.text)

    # Editing.

    def insert(self, text: str) -> bool:
        """Insert a text at the cursor, as much as fits; return True if all of it did."""
        fitting = text[: max(self.most - len(self.text), 0)]
        self.text = self.text[: self.place] + fitting + self.text[self.place :]
        self.place += len(fitting)
        return fitting == text

    def move(self, place: int) -> None:
        """Put the cursor at a place, as far as there is text."""
        self.place = min(max(place, 0), len(self.text))

    def beside(self, step: int) -> int:
        """Return the place one character to the right, or left (-1); marks that take no cell belong to theirs."""
        place = self.place + step
        while 0 < place < len(self.text) and width(self.text[place]) == 0:
            place += step
        return min(max(place, 0), len(self.text))

    def word_start(self) -> int:
        """Return the beginning of the word before the cursor."""
        found = _WORD_BEFORE.search(self.text[: self.place])
        return found.start() if found else 0

    def word_end(self) -> int:
        """Return the end of the word after the cursor."""
        found = _WORD_AFTER.match(self.text, self.place)
        return found.end() if found else len(self.text)

    def blank_word_start(self) -> int:
        """Return the beginning of the word before the cursor, where only blanks end a word."""
        found = _BLANK_WORD_BEFORE.search(self.text[: self.place])
        return found.start() if found else 0

    def delete(self, start: int, end: int) -> str:
        """Delete a part and put the cursor in its place; return the part."""
        part = self.text[start:end]
        self.text = self.text[:start] + self.text[end:]
        self.place = start
        return part

    def cut(self, start: int, end: int) -> None:
        """Delete a part and keep it for `paste`."""
        self._cut = self.delete(start, end) or self._cut

    def paste(self) -> None:
        """Insert what was cut last."""
        self.insert(self._cut)

    # History.

    def recall(self, step: int) -> bool:
        """Show an older line (-1), or a newer one, at last the typed one; return False if there is none."""
        here = len(self._older) if self._recalled is None else self._recalled
        place = here + step
        if not 0 <= place <= len(self._older):
            return False
        if self._recalled is None:
            self._typed = self.text
        is_typed = place == len(self._older)
        self._recalled = None if is_typed else place
        self._put(self._typed if is_typed else self._older[place])
        return True

    # Completion.

    def complete(self, start: int, choices: Sequence[str]) -> None:
        """Complete the part from `start` to the cursor: what all choices share, then each choice in turn."""
        if self.is_choosing():
            self._next_choice()
            return
        shared = _shared(choices)
        if len(choices) == 1 or len(shared) > self.place - start:
            self._replace(start, shared)
        elif choices:
            self._replace(start, choices[0])
            self._choices = (self.text, start, choices, 0)

    def is_choosing(self) -> bool:
        """Return True if the line ends a completion, whose next choice comes next."""
        return self._choices is not None and self._choices[0] == self.text

    def _next_choice(self) -> None:
        assert self._choices
        _, start, choices, index = self._choices
        index = (index + 1) % len(choices)
        self._replace(start, choices[index])
        self._choices = (self.text, start, choices, index)

    def _replace(self, start: int, text: str) -> None:
        self.delete(start, self.place)
        self.insert(text)


def _shared(texts: Sequence[str]) -> str:
    """Return the beginning that all texts share."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)
    same = next(
        (n for n, pair in enumerate(zip(first, last, strict=False)) if len({*pair}) > 1), None
    )
    return first[:same] if same is not None else min(first, last, key=len)


def remember(lines: list[str], line: str) -> None:
    """Add a line to a history; an equal one moves to its end."""
    if line:
        if line in lines:
            lines.remove(line)
        lines.append(line)
        del lines[:-KEPT]
