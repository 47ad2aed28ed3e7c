"""The lines above the list: who measures, how much moves, what is off, what is lost."""

import textwrap
import time
from collections.abc import Iterator
from typing import Final

from bwtop.model.board import GRAPH_SECONDS
from bwtop.model.filter import Loopback
from bwtop.model.ledger import CLASSES
from bwtop.model.series import Rates, peak
from bwtop.text import units as fmt
from bwtop.text.escape import count, fit, squeeze
from bwtop.tui.desk import Desk
from bwtop.tui.keymap import Context
from bwtop.tui.lines import Line, exactly, length, spread
from bwtop.tui.styles import Style

SMALL: Final = 16
"""Below so many rows the header is one line."""

_WIDE: Final = 100
"""From so many columns on there is room for more than must be said."""

_BLANK: Final = (Style.HEADER, "  ")


def header(desk: Desk, columns: int, rows: int) -> list[Line]:
    """All lines; on a small terminal it is one."""
    if rows < SMALL:
        return [_one_line(desk, columns)]
    return [
        _first(desk, columns),
        *_totals(desk, columns, height=1 if rows < 36 else 2 if rows < 60 else 3),
        _settings(desk, columns),
        *_found(desk, columns),
        *_warnings(desk, columns, most=1 if rows < 36 else 3),
    ]


def _first(desk: Desk, columns: int) -> Line:
    """What is going on matters most: the host's name has what room is left, and the clock goes first."""
    state = _state(desk, columns)
    room = columns - len("bwtop ") - length(state)
    host = squeeze(desk.glyphs.text(desk.host), max(room, 0))
    left: Line = [(Style.VALUE, "bwtop "), (Style.HEADER, host), *state]
    return spread(left, [(Style.HEADER, time.strftime("%H:%M:%S"))], columns, Style.HEADER)


def _state(desk: Desk, columns: int) -> Line:
    """The backend has its reason beside it where there is room: those refused that would have come first."""
    if desk.phase:
        return [_BLANK, (Style.WARNING, desk.phase)]
    line: Line = [_BLANK, (Style.PAUSED, " PAUSED ")] if desk.paused else []
    if desk.is_building:
        line += [_BLANK, (Style.HINT, f"working{desk.glyphs.dots}")]
    if desk.backend:
        line += [_BLANK, (Style.HEADER, f"backend {desk.backend}")]
        if desk.passed_over and columns >= _WIDE:
            names = ", ".join(reason.partition(":")[0] for reason in desk.passed_over)
            line.append((Style.HEADER, f" ({names} refused)"))
    return [*line, _BLANK, (Style.HEADER, desk.glyphs.text(desk.status().words))]


def _totals(desk: Desk, columns: int, height: int) -> list[Line]:
    """Both directions: rate, peak, total, and the last two minutes."""
    categories = desk.tree.categories
    tallies = desk.board.window_sums(categories)
    rates = desk.board.rates(tallies)
    totals = (sum(tally.rx for tally in tallies), sum(tally.tx for tally in tallies))
    glyphs = desk.glyphs
    heads = [
        _total(desk, sign, style, rates[which], totals[which])
        for which, (sign, style) in enumerate(((glyphs.down, Style.RX), (glyphs.up, Style.TX)))
    ]
    room = columns - length(heads[0]) - len("  peak  ") - 12
    graph = desk.board.timeline.columns(max(min(room, int(GRAPH_SECONDS)), 1), categories)
    peaks = peak(graph)
    lines = []
    for which, style in enumerate((Style.RX, Style.TX)):
        highest = _rate(desk, peaks[which])
        head = [*heads[which], (Style.HEADER, f"  peak {fit(highest, 12)} ")]
        lines += _with_graph(desk, head, graph, which, style, columns, height)
    return lines


def _with_graph(
    desk: Desk,
    head: Line,
    graph: list[Rates | None],
    which: int,
    style: Style,
    columns: int,
    height: int,
) -> list[Line]:
    """A direction's numbers at the left of its graph, which goes first where there is no room."""
    values = [None if rates is None else rates[which] for rates in graph]
    most = peak(graph)[which]
    drawn = desk.glyphs.graph(values, most, height)
    empty: Line = [(Style.HEADER, " " * length(head))]
    lines = [empty] * (height - 1) + [head]
    if length(head) + len(drawn[0]) > columns:
        return [exactly(line, columns, Style.HEADER) for line in lines]
    return [[*line, (style, part)] for line, part in zip(lines, drawn, strict=True)]


def _total(desk: Desk, sign: str, style: Style, rate: float, total: int) -> Line:
    return [
        (style, f"{sign} {fit(_rate(desk, rate), 12, '>')}"),
        (Style.HEADER, "  total "),
        (Style.VALUE, fit(fmt.size(total), 10, ">")),
    ]


def _rate(desk: Desk, value: float) -> str:
    return fmt.rate(value, bits=desk.settings.bits)


def _settings(desk: Desk, columns: int) -> Line:
    """What is shown, and how it is sorted, grouped and averaged.  What is off comes first, and shortened if it must."""
    settings = desk.settings
    line: Line = []
    for name, shown in _toggles(desk):
        line += [(Style.HEADER, name) if shown else (Style.OFF, f"{name} off"), (Style.HEADER, " ")]
    if settings.loopback is Loopback.ONLY:
        line.append((Style.OFF, "loopback only "))
    if length(line) > columns:
        off = " ".join(name for name, shown in _toggles(desk) if not shown)
        line = [(Style.OFF, f"off: {off}")]
    direction = desk.glyphs.descending if settings.order.descending else desk.glyphs.ascending
    for label, value in (
        ("sort", f"{settings.order.column}{direction}"),
        ("by", settings.grouping.value),
        ("avg", f"{max(settings.average, settings.interval):g}s"),
        ("every", f"{settings.interval:g}s"),
    ):
        line += [(Style.HEADER, f" {label} "), (Style.VALUE, f"{value} ")]
    return exactly(line, columns, Style.HEADER)


def _toggles(desk: Desk) -> Iterator[tuple[str, bool]]:
    """What can be turned off, and whether it is shown; names are worth a word only when they are not."""
    settings = desk.settings
    for name in CLASSES:
        yield name, name in settings.classes
    if settings.loopback is not Loopback.ONLY:
        yield "loopback", settings.loopback is Loopback.SHOW
    if not settings.names:
        yield "names", False


def _found(desk: Desk, columns: int) -> list[Line]:
    """The filter, and what passes it; or what is wrong with it."""
    if not desk.settings.filter:
        return []
    text = desk.glyphs.text(desk.settings.filter)
    if desk.filter_error:
        said = desk.context is Context.FILTER  # below, beside what is typed
        wrong = (
            f"filter {text}" if said else f"filter {text}: {desk.glyphs.text(desk.filter_error)}"
        )
        return [exactly([(Style.ERROR, wrong)], columns, Style.HEADER)]
    tops = desk.tree.tops
    rx, tx = sum(row.rx_rate for row in tops), sum(row.tx_rate for row in tops)
    found = [
        (Style.HEADER, f"  {count(len(tops), desk.tree.grouping.value)}"),
        (Style.RX, f"  {desk.glyphs.down} {_rate(desk, rx)}"),
        (Style.TX, f"  {desk.glyphs.up} {_rate(desk, tx)}"),
    ]
    text = squeeze(text, max(columns - 7 - length(found), 8))
    return [exactly([(Style.OFF, f"filter {text}"), *found], columns, Style.HEADER)]


def _warnings(desk: Desk, columns: int, most: int) -> list[Line]:
    """Losses, and what this kernel keeps from being seen, in words."""
    texts = [f"lost: {words}" for words in fmt.losses(desk.board.loss)]
    texts += [text for text in (desk.status().warning,) if text] + desk.degradations
    wrapped = [textwrap.wrap(desk.glyphs.text(text), max(columns, 1)) for text in texts]
    lines = [line for part in wrapped for line in part]
    if len(lines) > most:
        more = f" {desk.glyphs.dots} h: all"
        lines[most - 1] = fit(lines[most - 1], max(columns - len(more), 0)).rstrip() + more
    return [exactly([(Style.WARNING, line)], columns) for line in lines[:most]]


def _one_line(desk: Desk, columns: int) -> Line:
    """The rates, and whatever is not as usual; the clock if there is room for it."""
    if desk.phase:
        return exactly([(Style.WARNING, desk.phase)], columns)
    glyphs = desk.glyphs
    rx, tx = desk.board.rates(desk.board.window_sums(desk.tree.categories))
    line: Line = [
        (Style.RX, f"{glyphs.down} {fit(fmt.rate_cell(rx, bits=desk.settings.bits), 10, '>')} "),
        (Style.TX, f"{glyphs.up} {fit(fmt.rate_cell(tx, bits=desk.settings.bits), 10, '>')}"),
    ]
    for word, style in _unusual(desk):
        line += [(Style.HEADER, " "), (style, word)]
    return spread(line, [(Style.HEADER, time.strftime("%H:%M:%S"))], columns, Style.HEADER)


def _unusual(desk: Desk) -> list[tuple[str, Style]]:
    settings = desk.settings
    words = [("PAUSED", Style.PAUSED)] if desk.paused else []
    off = [name for name in CLASSES if name not in settings.classes]
    words += [(f"-{name}", Style.OFF) for name in off]
    if settings.loopback is not Loopback.SHOW:
        words.append((f"lo {settings.loopback.value}", Style.OFF))
    if settings.filter:
        style = Style.ERROR if desk.filter_error else Style.OFF
        words.append((f"/{desk.glyphs.text(settings.filter)}", style))
    if any(desk.board.loss):
        words.append(("lost", Style.WARNING))
    elif desk.status().warning:
        words.append((desk.status().words, Style.WARNING))
    elif desk.degradations:
        words.append(("degraded", Style.WARNING))
    return words
