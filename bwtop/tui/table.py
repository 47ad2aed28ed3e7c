"""The list: a line of titles, and a line for each row."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

from bwtop.model.flows import format_address
from bwtop.model.named import RemoteName
from bwtop.model.series import LENGTH, Rates
from bwtop.text import units as fmt
from bwtop.text.escape import fit, squeeze, width
from bwtop.tui import lines
from bwtop.tui.layout import ListColumn, Placed, inner
from bwtop.tui.lines import Line, exactly
from bwtop.tui.state import ScreenState
from bwtop.tui.styles import Style
from bwtop.view.column import CellKind, Column, Value
from bwtop.view.columns import REMOTE_COLUMNS
from bwtop.view.grouping import Grouping
from bwtop.view.naming import shown_name
from bwtop.view.rows import Branch, Leaf, Row

TAGGED: Final = "*"
"""The symbol of a tagged process, in any set of glyphs."""


def titles(state: ScreenState, columns: int) -> Line:
    """Return the titles; that of the sort column shows the direction."""
    glyphs, order = state.glyphs, state.settings.order
    line: Line = [(Style.TITLE, " ")]
    shown = state.placed(columns)
    marked = _sorted_by(order.column, [placed.field for placed in shown])
    for placed in shown:
        text = _title(state, placed)
        style = Style.TITLE
        if placed.field.id in marked:
            style = Style.SORTED
            text += glyphs.descending if order.descending else glyphs.ascending
        line += [
            (style, fit(text, placed.width, placed.field.align)),
            (Style.TITLE, " "),
        ]
    return exactly(line, columns, Style.TITLE)


def _sorted_by(column: str, shown: list[ListColumn]) -> set[str]:
    """Return the fields marked as sorted; both directions for a sum without a column of its own."""
    if column == "rate" and "share" not in {field.id for field in shown}:
        return {"rx_rate", "tx_rate"}
    if column == "total":
        return {"rx_total", "tx_total"}
    return {field.id for field in shown if field.column.id == column and field.sorts}


def _title(state: ScreenState, placed: Placed) -> str:
    """Return a title; for groups the first columns show their processes and their common property."""
    grouping = state.tree.grouping  # of the shown rows: a build for another one may be running
    if placed.field.cell.kind is CellKind.GRAPH:
        return f"LAST {placed.width}"
    if grouping is not Grouping.PROCESS and placed.field.id == "pid":
        return "PROCS"
    if grouping is not Grouping.PROCESS and placed.field.id == "process":
        return grouping.value.upper()
    return placed.title(state.glyphs)


COLUMNS_FROM: Final = 78
"""Cells from which address, port, protocol and name of a remote stand in columns."""


class Rows:
    """The drawing of the rows of one frame; shared values are computed once."""

    def __init__(self, state: ScreenState, columns: int, shown: Iterable[Row] = ()) -> None:
        """Prepare to draw rows; `shown` are those in sight, whose graphs have one scale."""
        self._state = state
        self._columns = inner(columns)
        self._placed = state.placed(columns)
        self._categories = state.tree.categories
        rx, tx = state.model.rates(state.model.window_sums(self._categories))
        self._rate = rx + tx
        self._scale = self._scale_of(shown)

    def _scale_of(self, shown: Iterable[Row]) -> float:
        """Return the rate of a whole bar and of a full graph: a power of the root of two, so that it changes rarely."""
        graphs = [placed for placed in self._placed if placed.field.cell.kind is CellKind.GRAPH]
        rates = [self._state.tree.highest()]
        for row in shown if graphs else ():
            known = self._rates(row, graphs[0].width)
            rates += [rx + tx for rx, tx in known or ()]
        most = max(rates)
        return float(2 ** (math.ceil(2 * math.log2(most)) / 2)) if most > 0 else 0.0

    def line(self, row: Row, depth: int, *, selected: bool) -> Line:
        """Return one row as a line; `depth` is the number of rows above it in the tree."""
        line = self._leaf(row, depth) if isinstance(row, Leaf) else self._branch(row, depth)
        line = exactly(line, self._columns)
        return lines.selected(line) if selected else line

    def _branch(self, row: Branch, depth: int) -> Line:
        style = _style(row)
        sign = self._state.glyphs.expanded if row.id in self._state.expansion else None
        if row.key in self._state.tags:
            style, sign = Style.TAGGED, TAGGED
        line: Line = [(style, sign or self._state.glyphs.collapsed)]
        if row.id.rest:
            style = Style.REMOTE
            line += self._spanning(row.identity.name, style, indent=2 * depth)
        elif row.process is None:
            line += self._group(row, style, depth)
        else:
            line += self._texts(row, style, depth)
        return line + self._numbers(row, style)

    def _group(self, row: Branch, style: Style, depth: int) -> Line:
        """Return the host and the top remote of a group in their columns, and its label across the others."""
        texts = [placed for placed in self._placed if placed.field.is_text]
        line: Line = []
        for _, adjacent in groupby(texts, key=_apart):
            part = list(adjacent)
            cells = part[-1].end - part[0].start
            line += [(style, " ")] if line else []
            line.append((style, fit(squeeze(self._grouped(row, part, depth), cells), cells)))
        return line

    def _grouped(self, row: Branch, part: Sequence[Placed], depth: int) -> str:
        """Return the text of a group in some adjacent columns; the number of processes is before the label or alone."""
        first, cells = part[0], part[-1].end - part[0].start
        ids = {placed.field.id for placed in part}
        if "host" in ids:
            return self._state.glyphs.text(self._host(row))
        if "top" in ids:
            return self._top(row, cells)
        if "process" not in ids:
            return self._count(row) if "pid" in ids and not row.id.exited else ""
        if row.id.exited:
            names = next(one.start for one in part if one.field.id == "process")
            indent = names - first.start + 2 * depth if depth else 0
            return " " * indent + self._folded(row, cells - indent)
        is_apart = "pid" not in ids and any(one.field.id == "pid" for one in self._placed)
        text = "  " * depth if is_apart else f"{self._count(row)} {'  ' * depth}"
        room = max(cells - width(text), 0)
        return text + squeeze(self._label(row, room), room)

    def _folded(self, row: Branch, cells: int) -> str:
        """Return the number of exited processes; also their totals where no column shows them and they fit."""
        glyphs, state = self._state.glyphs, "quiet" if self._state.is_fleet else "exited"
        mark = "" if self._state.is_fleet else f"{glyphs.exited} "
        totals: tuple[tuple[str, int], ...]
        totals = ((glyphs.down, row.counted.rx_total), (glyphs.up, row.counted.tx_total))
        if any(placed.field.id == "tx_total" for placed in self._placed):
            totals = ()
        text = f"{mark}{row.size} {state}"
        for total in [f"  {sign} {fmt.size(total)}" for sign, total in totals if total]:
            text += total if width(text + total) <= cells else ""
        return text

    def _leaf(self, row: Leaf, depth: int) -> Line:
        cells = self._text_cells() - 2 * depth - 1
        names = row.names
        if names and (programs := self._state.tree.programs(row)):
            names = (replace(names[0], name=f"{names[0].name} {programs}"), *names[1:])
        in_columns = cells >= COLUMNS_FROM
        label = (fmt.remote_columns if in_columns else fmt.remote)(row.remote, names, max(cells, 1))
        line: Line = [(Style.REMOTE, " ")]
        line += self._spanning(self._state.glyphs.text(label), Style.REMOTE, indent=2 * depth)
        return line + self._numbers(row, Style.REMOTE)

    def _text_cells(self) -> int:
        """Return the cells of all text columns together."""
        ends = [placed.end for placed in self._placed if placed.field.is_text]
        return max(ends) - self._placed[0].start

    def _spanning(self, text: str, style: Style, indent: int) -> Line:
        """Return a text across all text columns."""
        cells = self._text_cells()
        text = " " * indent + text
        return [(style, fit(squeeze(text, max(cells, 0)), cells))]

    def _texts(self, row: Branch, style: Style, depth: int) -> Line:
        line: Line = []
        for placed in self._placed:
            if placed.field.is_text:
                if placed.field.id == "process":
                    text = self._process(row, "  " * depth, placed.width)
                elif placed.field.id == "top":
                    text = self._top(row, placed.width)
                else:
                    text = self._state.glyphs.text(self._text(placed.field, row))
                line += [(style, " ")] if line else []
                line.append((style, fit(text, placed.width, placed.field.align)))
        return line

    def _numbers(self, row: Row, style: Style) -> Line:
        line: Line = []
        for placed in self._placed:
            if not placed.field.is_text:
                line += [(style, " "), *self._number(placed, row, style)]
        return line

    def _text(self, field: ListColumn, row: Branch) -> str:
        """Return the text of a column: as `_TEXTS` has it, else its value."""
        draw = _TEXTS.get(field.id)
        return draw(self, row) if draw else _plain(field.column.get(row))

    def _number(self, placed: Placed, row: Row, style: Style) -> Line:
        field = placed.field
        colour = style if style in (Style.EXITED, Style.REMOTE) else _COLOURS.get(field.id, style)
        if field.cell.kind is CellKind.GRAPH:
            return self._graph(row, placed.width, style)
        column = _REMOTE_COLUMNS.get(field.column.id) if isinstance(row, Leaf) else field.column
        value = column.get(row) if column else None
        text = self._formatted(field.cell.kind, value) if column else ""
        text = fit(text, placed.width, ">")
        if value == 0 and field.cell.kind in (CellKind.RATE, CellKind.SIZE):
            return [(Style.HINT, text)]
        bar = self._bar(value, placed) if field.id in _BARS else 0
        before: Line = [(_BARS[field.id], text[:bar])] if bar else []
        return [*before, (colour, text[bar:])]

    def _bar(self, rate: Any, placed: Placed) -> int:
        """Return the cells of the bar behind a rate."""
        return min(round(placed.width * rate / self._scale), placed.width) if self._scale else 0

    def _formatted(self, kind: CellKind, value: Any) -> str:
        if value is None:
            return _plain(value)
        match kind:
            case CellKind.RATE:
                return fmt.rate_cell(value, bits=self._state.settings.bits)
            case CellKind.SIZE:
                return fmt.size(value)
            case CellKind.SHARE:
                return self._share(value)
        return self._state.glyphs.text(_plain(value))

    def _share(self, rate: float) -> str:
        """Return the share of all flows of the shown protocols, regardless of the filter."""
        if not rate or not self._rate:
            return ""
        share = 100 * rate / self._rate
        return f"{share:.0f}%" if share >= 0.5 else "<1%"

    def _rates(self, row: Row, cells: int) -> list[Rates] | None:
        return None if isinstance(row, Leaf) else self._state.tree.graph(row, min(cells, LENGTH))

    def _graph(self, row: Row, cells: int, style: Style) -> Line:
        """Return the last intervals, each in the colour of the direction that moved more."""
        rates = self._rates(row, cells) or []
        (drawn,) = self._state.glyphs.graph([rx + tx for rx, tx in rates], self._scale)
        styles = [Style.TX if tx > rx else Style.RX for rx, tx in rates]
        if style is Style.EXITED:
            styles = [style] * len(rates)
        pieces = groupby(zip(styles, drawn, strict=True), key=lambda piece: piece[0])
        blank = " " * (cells - len(rates))
        return [(style, blank), *((of, "".join(sign for _, sign in part)) for of, part in pieces)]

    def _top(self, row: Branch, cells: int) -> str:
        """Return the top remote, its share and the number of the others; of a remote its top process."""
        if row.address is not None:
            return self._state.glyphs.text(self._top_process(row))
        top = self._state.tree.top(row)
        if top is None:
            return "-"
        more = f" {100 * top.share:.0f}% +{top.others}" if top.others else ""
        far = fmt.remote(
            top.remote, self._state.names.of(top.process, top.remote), max(cells - len(more), 1)
        )
        return (
            fit(squeeze(self._state.glyphs.text(far), cells - len(more)), cells - len(more)) + more
        )

    def _top_process(self, row: Branch) -> str:
        members = list(self._state.tree.processes(row))
        first = max(members, key=lambda one: one.counted.rx + one.counted.tx, default=None)
        more = f" +{len(members) - 1}" if len(members) > 1 else ""
        return shown_name(first.identity) + more if first else "-"

    def _host(self, row: Branch) -> str:
        if row.identity.host:
            return row.identity.host.label or "-"
        return "-" if row.process else "(several)"

    def _pid(self, row: Branch) -> str:
        return str(row.pid or "-")

    def _user(self, row: Branch) -> str:
        if row.is_unattributed:
            return "-"
        return row.identity.user or ("-" if row.identity.uid is None else str(row.identity.uid))

    def _process(self, row: Branch, indent: str, cells: int) -> str:
        """Return the name, kernel threads in brackets as in ps(1), and a mark if the process has exited."""
        name = shown_name(row.identity)
        if row.identity.kernel:
            name = f"[{name}]"
        elif self._state.settings.cmdlines and row.identity.cmdline:
            name = row.identity.cmdline
        elif row.id.group and self._state.tree.grouping is not Grouping.USER:
            name = f"{name} ({self._user(row)})"  # rows of groups have no column for it
        name = indent + self._state.glyphs.text(name)
        if not row.exited:
            return name
        several = f" {self._state.glyphs.times}{row.size}" if row.size > 1 else ""
        if self._state.is_fleet:
            several = f" (quiet{several})"
        else:
            name = f"{indent}{self._state.glyphs.exited} {name.removeprefix(indent)}"
        return squeeze(name, max(cells - len(several), cells // 2)) + several

    def _unit(self, row: Branch) -> str:
        return row.identity.container_label or row.identity.unit or "-"

    def _count(self, row: Branch) -> str:
        """Return the number of processes, such as ×12; where some have exited, those that live of all."""  # noqa: RUF002 - a sign
        if row.living == row.size:
            return fit(f"{self._state.glyphs.times}{row.size}", _COUNT, ">")
        return fit(f"{_short(row.living)}/{_short(row.size)}", _COUNT, ">")

    def _label(self, row: Branch, cells: int) -> str:
        if row.joined:
            return self._state.glyphs.text(_both_ends(row.identity.name, cells))
        if row.address is None:
            return self._state.glyphs.text(row.identity.name)
        names = names_of(self._state, row)
        return self._state.glyphs.text(names[0].name) if names else format_address(row.address)


def _apart(placed: Placed) -> str:
    """Return the column of a text that rows of groups have in a column of its own; empty: their label spans it."""
    return placed.field.id if placed.field.id in ("host", "top") else ""


_COUNT: Final = 8
"""Cells of a number of processes: those of the column of pids."""

_NAMED: Final = 8
"""Flows to a remote among which the row of the remote looks for a name."""


def names_of(state: ScreenState, row: Row) -> Sequence[RemoteName]:
    """Return the names of the remote that a row stands for, the best first."""
    if isinstance(row, Leaf):
        return row.names
    if row.address is None:
        return ()
    flows = ((flow.process.key, flow.remote) for flow in (row.flows or ())[:_NAMED])
    return state.names.of_flows(flows)


_TEXTS: Final[dict[str, Callable[[Rows, Branch], str]]] = {
    "host": Rows._host,
    "pid": Rows._pid,
    "user": Rows._user,
    "unit": Rows._unit,
}
"""Texts that are not the plain values of their columns; the text of "process" depends on its place, too."""

_COLOURS: Final = {"rx_rate": Style.RX, "tx_rate": Style.TX}
"""Styles of numbers with a colour of their own."""

_BARS: Final = {"rx_rate": Style.RX_BAR, "tx_rate": Style.TX_BAR}
"""Styles of the bars behind numbers."""

_REMOTE_COLUMNS: Final[dict[str, Column[Any]]] = {column.id: column for column in REMOTE_COLUMNS}


def _both_ends(label: str, cells: int) -> str:
    """Return "app to base :5432 tcp" without the last words if that is too long: names are worth more than the port."""
    names, _, service = label.rpartition(" :")
    words = f":{service}".split(" ")
    while words and width(" ".join([names, *words])) > cells:
        words.pop()
    return " ".join([names, *words])


def _short(number: int) -> str:
    """Return a number in at most four digits."""
    return str(number) if number < 10_000 else f"{number // 1000}k"


def _plain(value: Value) -> str:
    """Return a value without a format of its own."""
    return "-" if value is None else str(value)


def _style(row: Branch) -> Style:
    if row.exited:
        return Style.EXITED
    return Style.KERNEL if row.identity.kernel or row.is_unattributed else Style.PROCESS
