"""The real screen without a terminal: keys go in, text comes out."""

import re
from collections.abc import Iterable
from typing import Any, Final

import urwid

from bwtop.model.flows import Identity, Loss, ProcessKey
from bwtop.model.sample import FlowTraffic
from bwtop.tui import layout
from bwtop.tui.glyphs import UNICODE, Glyphs
from bwtop.tui.input import Input
from bwtop.tui.keymap import Keymap
from bwtop.tui.keys import DEFAULT
from bwtop.tui.paste import Event
from bwtop.tui.screen import Screen
from bwtop.tui.settings import Settings
from bwtop.tui.state import CALM, ScreenState
from bwtop.tui.styles import Style
from tests.build import CONTROLS, sample

FIELDS: Final = tuple(field for field in layout.FIELDS if field.id not in ("asn", "country"))
"""The columns that need no database."""

SIZES = ((40, 10), (40, 24), (80, 24), (132, 43), (300, 100))
"""Common terminal sizes, from the smallest with room for everything."""


class Left(Exception):  # noqa: N818 - leaving is no error
    """The screen was left."""


class Harness:
    """A state and its screen, with a clock that only tests move."""

    def __init__(
        self,
        columns: int = 80,
        rows: int = 24,
        settings: Settings | None = None,
        glyphs: Glyphs = UNICODE,
        *,
        attached: bool = True,
        keymap: Keymap = DEFAULT,
        origin: str = "",
    ) -> None:
        urwid.set_encoding("utf-8")  # in any locale, so that symbols are visible
        self.size = (columns, rows)
        self.now = 1000.0
        self.repainted = 0
        self.state = ScreenState("host.example", keymap, settings, glyphs, lambda: self.now, origin)
        self.screen = Screen(self.state, self._leave, self._repaint)
        self.input = Input(self.screen)
        self._canvas: Any = None
        if attached:
            self.state.attached("tracepoint", [], None)

    def _leave(self) -> None:
        raise Left

    def _repaint(self) -> None:
        self.repainted += 1

    def feed(
        self,
        traffic: FlowTraffic | None = None,
        identities: dict[ProcessKey, Identity] | None = None,
        *,
        elapsed: float = 1.0,
        exited: Iterable[ProcessKey] = (),
        loss: Loss = Loss(),
    ) -> None:
        """Let an interval pass."""
        self.now += elapsed
        self.state.advance(
            sample(traffic, elapsed=elapsed, identities=identities, exited=exited, loss=loss)
        )
        self.screen.changed()

    def pass_time(self, seconds: float = CALM) -> None:
        """Let idle time pass, and do the work that waited for it."""
        self.now += seconds
        self.state.catch_up()
        self.screen.changed()

    def press(self, *names: str) -> None:
        """Press keys, by their urwid names, far enough apart not to be double presses."""
        for name in names:
            self.now += 0.5
            self.read(name)

    def read(self, *events: Event) -> None:
        """Handle the events of a single read: keys, pastes, clicks."""
        self.input.take(self.size, events)

    def type(self, text: str) -> None:
        """Press a key for each character."""
        self.press(*text)

    def click(self, column: int, row: int, button: int = 1) -> None:
        """Press a mouse button; 4 and 5 are the wheel."""
        self.screen.mouse_event(self.size, "mouse press", button, column, row, focus=True)

    def lines(self) -> list[str]:
        """Return the screen as text, each line in full length."""
        return [line.decode() for line in self._drawn().text]

    def _drawn(self) -> Any:
        """Return the canvas; urwid keeps the last one as long as it is not told of a change, and so does this."""
        self._canvas = self.screen.render(self.size, focus=True)
        return self._canvas

    def text(self) -> str:
        """Return the screen as text."""
        return "\n".join(line.rstrip() for line in self.lines())

    def below(self) -> str:
        """Return all but the first line, which has the clock."""
        return self.text().partition("\n")[2]

    def line(self, part: str) -> str:
        """Return the only line that contains a text."""
        (found,) = [line for line in self.lines() if part in line]
        return found

    def row_of(self, part: str) -> int:
        """Return the row of the only line that contains a text."""
        return self.lines().index(self.line(part))

    def styles(self, row: int) -> list[tuple[Style, str]]:
        """Return the pieces of a row with their styles."""
        return self._all_styles()[row]

    def _all_styles(self) -> list[list[tuple[Style, str]]]:
        """Return the styles of each row, drawn once, because there may be a hundred rows."""
        rows = self._drawn().content()
        return [[(Style(style), text.decode()) for style, _, text in row] for row in rows]

    def styled(self, style: Style) -> list[str]:
        """Return the texts in a style, one per row that has any."""
        rows = self._all_styles()
        styles = (style, Style.SELECTED_BAR) if style is Style.SELECTED else (style,)
        found = ["".join(text for of, text in row if of in styles) for row in rows]
        return [text.rstrip() for text in found if text]

    def selected(self) -> str:
        """Return the text of the selected row."""
        (text,) = self.styled(Style.SELECTED)
        return text

    def check(self) -> None:
        """Check that the screen has the exact size, only known styles, and no control characters."""
        columns, rows = self.size
        canvas = self._drawn()
        assert (canvas.cols(), canvas.rows()) == self.size
        for line in canvas.text:
            text = line.decode()
            assert urwid.calc_width(text, 0, len(text)) == columns, text
            assert not CONTROLS.search(text), text
            if not self.state.glyphs.unicode:
                assert re.fullmatch("[ -~]*", text), text
        for row in canvas.content():
            assert all(Style(style) for style, _, _ in row)
        if canvas.cursor:
            assert canvas.cursor[0] in range(columns)
            assert canvas.cursor[1] in range(rows)
