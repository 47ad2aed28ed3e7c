"""The one widget of the full screen: it draws the state and maps keys and clicks to commands."""

from collections.abc import Callable
from typing import Final

import urwid

from bwtop.history.ranges import MOMENT_HELP
from bwtop.text.escape import width
from bwtop.tui import commands, completion, dialogs, keys, layout, search, setup
from bwtop.tui.details import page_lines
from bwtop.tui.footer import at as hint_at
from bwtop.tui.footer import footer, in_words
from bwtop.tui.header import header
from bwtop.tui.keymap import TYPING, Context
from bwtop.tui.lines import Line, canvas, exactly, length
from bwtop.tui.listing import scrolled
from bwtop.tui.panels import about, chooser, chooser_top, chooser_width, details, help_lines
from bwtop.tui.state import Chooser, Effect, ScreenState
from bwtop.tui.styles import Style
from bwtop.tui.table import Rows, titles
from bwtop.view.rows import RowId

WHEEL: Final = 3
"""Rows per step of the wheel."""

LIST_BESIDE: Final = 5
"""Rows of the list that stay in sight above the details, up to half of the screen."""

FOOTER_FROM: Final = 4
"""On fewer rows there is no footer."""

SIGNS: Final = {
    Context.FILTER: "/",
    Context.TIME: "@",
    Context.SEARCH: "search ",
    Context.FILE: "write to ",
}
"""The prompt before the line being typed."""

Size = tuple[int, int]


class Screen(urwid.Widget):  # type: ignore[misc]  # urwid 2.1.2 has no types
    """The whole screen as one box widget; only visible rows are made."""

    _sizing = frozenset(["box"])
    _selectable = True

    def __init__(
        self, state: ScreenState, leave: Callable[[], None], repaint: Callable[[], None]
    ) -> None:
        super().__init__()
        self.state = state
        self._leave = leave
        self._repaint = repaint
        self._titles: int | None = None
        """The row of the titles; None if the list is not in sight."""
        self._shown: list[RowId] = []

    def sizing(self) -> frozenset[str]:
        """Return the sizing of a box widget."""
        return self._sizing

    def selectable(self) -> bool:
        """Return True: the widget takes keys."""
        return True

    # Drawing.

    def render(self, size: Size, focus: bool = False) -> urwid.Canvas:  # noqa: ARG002, FBT001, FBT002 - urwid's
        """Draw the screen; see urwid.Widget."""
        columns, rows = size
        self.state.columns = columns
        top = header(self.state, columns, rows)[: max(rows - 1, 1)]
        bottom: list[Line] = []
        cursor = None
        if rows >= FOOTER_FROM:
            line, cell = self._bottom(columns)
            bottom = [line]
            cursor = None if cell is None else (min(cell, columns - 1), rows - 1)
        room = max(rows - len(top) - len(bottom), 0)
        body = self._body(columns, room, len(top))[:room]
        body += [[] for _ in range(room - len(body))]
        return canvas([*top, *body, *bottom], size, cursor)

    def _bottom(self, columns: int) -> tuple[Line, int | None]:
        """Return the footer, and the cell of the cursor while text is typed."""
        if self.state.context not in TYPING:
            return footer(self.state, columns), None
        glyphs = self.state.glyphs
        sign = SIGNS[self.state.context]
        text, place = self.state.entry.text, self.state.entry.place
        before, after = glyphs.text(f"{sign}{text[:place]}"), glyphs.text(text[place:])
        remark = self._remark()
        taken = min(width(before + after) + 1, columns)
        is_hint = all(style is Style.HINT for style, _ in remark)
        room = columns - min(length(remark), columns - taken if is_hint else columns // 2)
        before = before[-8 * columns :]  # far more than there is room for
        while width(before) > max(room - 1, 0):  # scroll the text to the left
            before = before[1:]
        typed: Line = [(Style.INPUT, before + after)]
        if width(before + after) > room:
            typed = exactly(typed, room)
        return exactly(typed + remark, columns), width(before)

    def _remark(self) -> Line:
        """Return the error of the filter being typed, or else the current message, or a hint."""
        if self.state.filter_error and self.state.context is Context.FILTER:
            text, style = self.state.filter_error, Style.ERROR
        elif self.state.message:
            text, style = self.state.message
        elif self.state.context is Context.TIME:
            text, style = MOMENT_HELP, Style.HINT
        elif self.state.context is not Context.FILTER:
            text, style = in_words(self.state.keymap, self.state.context), Style.HINT
        else:
            text, style = completion.hint(self.state), Style.HINT
        if not text:
            return []
        return [(style, f"  {self.state.glyphs.text(text)}")]

    def _body(self, columns: int, rows: int, top: int) -> list[Line]:
        state = self.state
        self._titles = None
        if state.context is Context.HELP:
            return self._help(columns, rows)
        if state.context is Context.DETAILS and state.page:
            return page_lines(state, columns, rows)
        panel = state.chooser or about(state.question) or setup.panel(state)
        if panel:
            return self._beside(panel, columns, rows, top)
        if not state.details:
            return self._list(columns, rows, top)
        below = details(state, columns, rows - LIST_BESIDE)
        if rows < 2 * LIST_BESIDE:
            return below
        below = below[: rows - LIST_BESIDE]
        above = self._list(columns, rows - len(below), top)
        above += [[] for _ in range(rows - len(below) - len(above))]
        return above + below

    def _list(self, columns: int, rows: int, top: int) -> list[Line]:
        state = self.state
        self._titles = top
        shown = state.listing.visible(state.tree, rows - 1)
        self._shown = [row.id for _, row in shown]
        has_mark = layout.inner(columns) < columns
        mark = scrolled(state.tree, shown, rows - 1) if has_mark else range(0)
        sign = [(Style.HINT, state.glyphs.scroll)]
        drawn = Rows(state, columns, [row for _, row in shown])
        lines = [
            drawn.line(row, len(path) - 1, selected=path == state.listing.path)
            for path, row in shown
        ]
        lines = [line + sign if place in mark else line for place, line in enumerate(lines)]
        return [titles(state, columns), *(lines or self._nothing(columns))]

    def _nothing(self, columns: int) -> list[Line]:
        state = self.state
        if state.phase:
            text = state.phase
        elif state.model.number == 0:
            text = "measuring" + state.glyphs.dots
        elif state.is_partial:
            text = "no traffic matches the filter and toggles"
        elif state.past:
            text = "no traffic at this time"
        else:
            text = "no traffic yet"
        return [[], exactly([(Style.HINT, f"  {text}")], columns)]

    def _beside(self, panel: Chooser, columns: int, rows: int, top: int) -> list[Line]:
        """Return lines with the choices at the left and the list at the right."""
        state = self.state
        cells = chooser_width(columns)
        left = chooser(state, panel, cells, rows)
        if cells == columns:
            return left
        right = self._list(columns - cells - 1, rows, top)
        left += [[] for _ in range(len(right) - len(left))]
        right += [[] for _ in range(len(left) - len(right))]
        return [
            [*exactly(one, cells), (Style.NORMAL, " "), *other]
            for one, other in zip(left, right, strict=True)
        ]

    def _help(self, columns: int, rows: int) -> list[Line]:
        lines = help_lines(self.state, columns)
        self.state.listing.page = max(rows - 1, 1)
        self.state.help_top = min(self.state.help_top, max(len(lines) - rows, 0))
        return lines[self.state.help_top : self.state.help_top + rows]

    # Keys and clicks.

    def keypress(self, size: Size, key: str) -> str | None:  # noqa: ARG002 - urwid's
        """Handle a key; return it if it has no meaning. See urwid.Widget."""
        self.state.last_key = self.state.now()
        found = self.state.keymap.find(self.state.context, key)
        if found:
            self.perform(found.command)
            return None
        if self.state.context in TYPING:
            return self._type(key)
        return key

    def perform(self, command: Callable[[ScreenState], Effect]) -> None:
        """Run a command and apply its effect."""
        self.refilter()
        effect = command(self.state)
        if effect is Effect.QUIT:
            self._leave()
        elif effect is Effect.REPAINT:
            self._repaint()
        self.state.apply(effect)
        self._invalidate()

    def _type(self, key: str) -> str | None:
        if len(key) > 1:
            return key
        self.insert(key)
        return None

    def insert(self, text: str) -> None:
        """Insert text into what is typed, as much as fits; `refilter` applies a filter."""
        if not self.state.entry.insert(text):
            most = self.state.entry.most
            self.state.say(f"{self.state.context} cut at {most} characters", Style.WARNING)
        self._invalidate()

    def refilter(self) -> None:
        """Apply the text typed since the last call: rows are made once for all of it."""
        if self.state.context is Context.SEARCH:
            search.retyped(self.state)
        text = self.state.entry.text.rstrip()
        if self.state.context is Context.FILTER and text != self.state.settings.filter:
            self.state.filter(text)
            self.state.build()

    def mouse_event(
        self,
        size: Size,
        event: str,
        button: int,
        col: int,
        row: int,
        focus: bool,  # noqa: ARG002, FBT001 - urwid's
    ) -> bool:
        """Handle a mouse event; see urwid.Widget."""
        if not event.startswith("mouse press"):
            return False
        self.state.last_key = self.state.now()
        if button in (4, 5):
            self._turn(button == 4)
        elif button == 1:
            self._click(size, col, row)
        self._invalidate()
        return True

    def _turn(self, up: bool) -> None:  # noqa: FBT001 - there are two directions
        """Move up or down; while a line is typed, in the list."""
        name = "up" if up else "down"
        context = self.state.context
        found = keys.DEFAULT.find(Context.LIST if context in TYPING else context, name)
        for _ in range(WHEEL if found else 0):
            self.perform(found.command)  # type: ignore[union-attr]  # the keymap has both

    def _click(self, size: Size, column: int, row: int) -> None:
        columns, rows = size
        state = self.state
        if row == rows - 1 and rows >= FOOTER_FROM:
            key = None if state.context in TYPING else hint_at(state, columns, column)
            if key:
                self.keypress(size, key)
        elif state.chooser:
            self._click_choice(columns, rows, column, row)
        elif state.context in (Context.LIST, Context.FILTER):
            self._click_list(columns, column, row)

    def _click_choice(self, columns: int, rows: int, column: int, row: int) -> None:
        panel = self.state.chooser
        assert panel
        top = len(header(self.state, columns, rows)[: max(rows - 1, 1)])
        place = row - top - 1
        index = place + chooser_top(panel, rows - top - 1)
        if place >= 0 and column < chooser_width(columns) and index < len(panel.lines):
            panel.index = index
            self.perform(dialogs.take_choice)

    def _click_list(self, columns: int, column: int, row: int) -> None:
        if self._titles is None:
            return
        place = row - self._titles - 1
        if place == -1:
            field = layout.at(self.state.placed(columns), column)
            if field:
                self.perform(lambda state: commands.sort_by(state, field.column.id))
        elif 0 <= place < len(self._shown):
            self._click_row(self._shown[place], on_mark=column < layout.MARK)

    def _click_row(self, row: RowId, *, on_mark: bool) -> None:
        """Select a clicked row; it may have gone or moved since the last redraw."""
        state = self.state
        path = state.tree.find(row)
        if path is None:
            return
        if on_mark or row == state.listing.selected:
            self.perform(lambda state: commands.toggle_at(state, path))
        else:
            state.listing.select(state.tree, path)

    def changed(self) -> None:
        """Request a redraw before the next wait for input."""
        self._invalidate()
