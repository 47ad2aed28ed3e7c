"""The lines above the list: source, throughput, settings, filter and losses."""

import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bwtop.history.moments import Moment
from bwtop.history.tiers import HOURS
from bwtop.model.conditions import Loopback
from bwtop.model.ledger import CLASSES
from bwtop.model.networks import INTERNET, LAN, LOOPBACK, current
from bwtop.model.rates import Counted, rate
from bwtop.model.series import Rates, peak
from bwtop.text import units as fmt
from bwtop.text.escape import count, fit, squeeze
from bwtop.tui import spikes
from bwtop.tui.keymap import Context
from bwtop.tui.lines import Line, exactly, length, spread
from bwtop.tui.state import ScreenState
from bwtop.tui.styles import Style

SMALL: Final = 16
"""On fewer rows the header is one line."""

_TALL: Final = 24
"""Rows from which the networks are shown."""

_WIDE: Final = 100
"""Columns from which optional text is shown too."""

_BLANK: Final = (Style.HEADER, "  ")


def header(state: ScreenState, columns: int, rows: int) -> list[Line]:
    """Return the lines of the header; on a small terminal, one."""
    if rows < SMALL:
        return [_one_line(state, columns)]
    return [
        _first(state, columns),
        *_totals(state, columns, height=1 if rows < 36 else 2 if rows < 60 else 3),
        *([_networks(state, columns)] if rows >= _TALL else []),
        _settings(state, columns),
        *_found(state, columns),
        *_warnings(state, columns, most=1 if rows < 36 else 3),
    ]


def _first(state: ScreenState, columns: int) -> Line:
    """Return the first line: host, status, clock. The clock is dropped first; the host name gets the spare cells."""
    status = _past(state) if state.past else _status(state, columns)
    room = columns - len("bwtop ") - length(status)
    host = squeeze(state.glyphs.text(state.host), max(room, 0))
    left: Line = [(Style.VALUE, "bwtop "), (Style.HEADER, host), *status]
    return spread(left, [(Style.HEADER, time.strftime("%H:%M:%S"))], columns, Style.HEADER)


def _past(state: ScreenState) -> Line:
    """Return the moment that is shown, how wide it is, how long ago, and what is missing."""
    assert state.past
    moment = state.past.moment
    line: Line = [_BLANK, (Style.PAUSED, " PAST "), (Style.VALUE, f" {_bounds(moment)}")]
    ago = time.time() - moment.end
    said = [
        f"by {moment.detail.removesuffix('s')}",
        f"{fmt.duration(ago)} ago" if ago >= 0 else "so far",
    ]
    if moment.gap:
        said.append(f"gap {fmt.duration(moment.gap[1] - moment.gap[0])}")
    if state.history.anchor:
        said.append("span")
    if state.history.is_asked:
        said.append(f"looking{state.glyphs.dots}")
    return [*line, *((Style.HEADER, f"  {text}") for text in said)]


def _bounds(moment: Moment) -> str:
    """Return a moment in local time, such as "Sat 2026-11-28 14:02:11 +1 s"; of a day only its date."""
    width = moment.end - moment.start
    whole = "%a %Y-%m-%d" if moment.level > HOURS else "%a %Y-%m-%d %H:%M:%S"
    start = time.strftime(whole, time.localtime(moment.start))
    return f"{start} +{fmt.duration(width)}"


def _status(state: ScreenState, columns: int) -> Line:
    """Return the status; on a wide terminal with the better backends that were refused."""
    if state.phase:
        return [_BLANK, (Style.WARNING, state.phase)]
    line: Line = [_BLANK, (Style.PAUSED, f" {_paused(state)} ")] if state.paused else []
    if state.is_building:
        line += [_BLANK, (Style.HINT, f"working{state.glyphs.dots}")]
    if state.backend:
        line += [_BLANK, (Style.HEADER, f"backend {state.backend}")]
        if state.passed_over and columns >= _WIDE:
            names = ", ".join(reason.partition(":")[0] for reason in state.passed_over)
            line.append((Style.HEADER, f" ({names} refused)"))
    return [*line, _BLANK, (Style.HEADER, state.glyphs.text(state.status().words))]


def _paused(state: ScreenState) -> str:
    """Return the moment that the pause holds, in local time."""
    return time.strftime("PAUSED %H:%M:%S", time.localtime(state.held))


def _totals(state: ScreenState, columns: int, height: int) -> list[Line]:
    """Return both directions: rate, peak, total, and the last two minutes; with a filter, of what passes it."""
    categories = state.tree.categories
    counted = _counted(state)
    rates, totals = (counted.rx_rate, counted.tx_rate), (counted.rx_total, counted.tx_total)
    glyphs = state.glyphs
    heads = [
        _total(state, sign, style, rates[which], totals[which])
        for which, (sign, style) in enumerate(((glyphs.down, Style.RX), (glyphs.up, Style.TX)))
    ]
    room = columns - length(heads[0]) - len("  peak  ") - 12
    graph = spikes.timeline_of(state).columns(max(room, 1), categories)
    marks = spikes.marks(state, graph)
    peaks = peak(graph)
    lines = []
    for which, style in enumerate((Style.RX, Style.TX)):
        highest = _rate(state, peaks[which])
        head = [*heads[which], (Style.HEADER, f"  peak {fit(highest, 12)} ")]
        lines += _with_graph(
            state,
            head,
            graph,
            marks[which],
            which=which,
            style=style,
            columns=columns,
            height=height,
        )
    return lines


def _networks(state: ScreenState, columns: int) -> Line:
    """Return the rates by network: the internet first, then the others as far as they fit whole."""
    rates = _network_rates(state)
    first = (INTERNET, LAN, LOOPBACK)
    names = [*first, *(name for name in current().names if name in rates and name not in first)]
    line: Line = []
    for name in names:
        rx, tx = (
            fit(fmt.rate_cell(value, bits=state.settings.bits), 10, ">")
            for value in rates.get(name, (0.0, 0.0))
        )
        down, up = state.glyphs.down, state.glyphs.up
        part: Line = [
            (Style.HEADER, f"{'  ' if line else ''}{name} "),
            (Style.RX, f"{down} {rx} "),
            (Style.TX, f"{up} {tx}"),
        ]
        if line and length([*line, *part]) > columns:
            break
        line += part
    return exactly(line, columns, Style.HEADER)


def _network_rates(state: ScreenState) -> dict[str, Rates]:
    """Return the rates by network; with a filter, of what passes it."""
    if not state.tree.filter.terms:
        found = state.model.networks(state.tree.categories)
        return {name: state.model.rates(tallies) for name, tallies in found.items()}
    seconds = state.model.covered
    return {
        name: (rate(rx, seconds), rate(tx, seconds)) for name, (rx, tx) in state.tree.moved.items()
    }


def _counted(state: ScreenState) -> Counted:
    """Return the numbers of all processes together; with a filter, of the rows."""
    if state.tree.filter.terms:
        return state.tree.counted()
    tallies = state.model.window_sums(state.tree.categories)
    rx, tx = state.model.rates(tallies)
    total = (sum(tally.rx for tally in tallies), sum(tally.tx for tally in tallies))
    return Counted(0, 0, rx, tx, *total)


def _with_graph(
    state: ScreenState,
    head: Line,
    graph: list[Rates | None],
    marks: Mapping[int, Style],
    which: int,
    style: Style,
    columns: int,
    height: int,
) -> list[Line]:
    """Return the numbers of a direction with its graph at the right; the graph is dropped if there is no room."""
    values = [None if rates is None else rates[which] for rates in graph]
    most = peak(graph)[which]
    drawn = state.glyphs.graph(values, most, height)
    empty: Line = [(Style.HEADER, " " * length(head))]
    lines = [empty] * (height - 1) + [head]
    if not state.settings.graphs:
        return [exactly(head, columns, Style.HEADER)]
    if length(head) + len(drawn[0]) > columns:
        return [exactly(line, columns, Style.HEADER) for line in lines]
    tops = {column: _top(drawn, column) for column in marks}
    return [
        [*line, *_marked(part, style, {c: marks[c] for c in marks if tops[c] == row}, state)]
        for row, (line, part) in enumerate(zip(lines, drawn, strict=True))
    ]


def _top(drawn: Sequence[str], column: int) -> int | None:
    """Return the highest row of a graph that has something in a column; None without any."""
    return next((row for row, part in enumerate(drawn) if part[column] != " "), None)


def _marked(part: str, style: Style, marks: Mapping[int, Style], state: ScreenState) -> Line:
    """Return a row of a graph with marks in place of the tops of its spikes."""
    line: Line = []
    done = 0
    for column in sorted(marks):
        line += [(style, part[done:column]), (marks[column], state.glyphs.ascending)]
        done = column + 1
    return [*line, (style, part[done:])]


def _total(state: ScreenState, sign: str, style: Style, rate: float, total: int) -> Line:
    return [
        (style, f"{sign} {fit(_rate(state, rate), 12, '>')}"),
        (Style.HEADER, "  total "),
        (Style.VALUE, fit(fmt.size(total), 10, ">")),
    ]


def _rate(state: ScreenState, value: float) -> str:
    return fmt.rate(value, bits=state.settings.bits)


def _settings(state: ScreenState, columns: int) -> Line:
    """Return the settings: hidden items first, shortened if necessary, then sort, grouping, average."""
    settings = state.settings
    line: Line = []
    for name, shown in _toggles(state):
        line += [(Style.HEADER, name) if shown else (Style.OFF, f"{name} off"), (Style.HEADER, " ")]
    if settings.loopback is Loopback.ONLY:
        line.append((Style.OFF, "loopback only "))
    if length(line) > columns:
        off = " ".join(name for name, shown in _toggles(state) if not shown)
        line = [(Style.OFF, f"off: {off}")]
    direction = state.glyphs.descending if settings.order.descending else state.glyphs.ascending
    for label, value in (
        ("sort", f"{settings.order.column}{direction}"),
        ("by", settings.grouping.value),
        *_times(state),
    ):
        line += [(Style.HEADER, f" {label} "), (Style.VALUE, f"{value} ")]
    places = (_tagged(state) + _place(state), _tagged(state).strip())
    room = columns - length(line) - 1
    place = next((text for text in places if len(text) <= room), "")
    return spread(line, [(Style.HEADER, place)], columns, Style.HEADER)


def _tagged(state: ScreenState) -> str:
    return f"{len(state.tags)} tagged  " if state.tags else ""


def _place(state: ScreenState) -> str:
    """Return the selected row's number, of all of the top level."""
    count = len(state.tree.tops)
    row = state.listing.path[0] + 1
    if count and state.listing.following:
        return f"follow {row}/{count}"
    return f"row {row} of {count}" if count else ""


def _times(state: ScreenState) -> list[tuple[str, str]]:
    settings = state.settings
    if state.past:
        return [("avg", fmt.duration(state.model.covered))]
    average = max(settings.average, settings.interval)
    return [("avg", f"{average:g}s"), ("every", f"{settings.interval:g}s")]


def _toggles(state: ScreenState) -> Iterator[tuple[str, bool]]:
    """Yield each toggle and its state; names appear only when they are off."""
    settings = state.settings
    for name in CLASSES:
        yield name, name in settings.classes
    if settings.loopback is not Loopback.ONLY:
        yield "loopback", settings.loopback is Loopback.SHOW
    if not settings.names:
        yield "names", False


def _found(state: ScreenState, columns: int) -> list[Line]:
    """Return the filter and its matches, or its error."""
    if not state.settings.filter:
        return []
    text = state.glyphs.text(state.settings.filter)
    if state.filter_error:
        said = state.context is Context.FILTER  # the footer shows it
        wrong = (
            f"filter {text}" if said else f"filter {text}: {state.glyphs.text(state.filter_error)}"
        )
        return [exactly([(Style.ERROR, wrong)], columns, Style.HEADER)]
    every = state.model.rates(state.model.window_sums(state.tree.categories))
    found = [
        (Style.HEADER, f"  {count(state.tree.count(), state.tree.grouping.value)}"),
        (Style.HEADER, f"  of all {state.glyphs.down} {_rate(state, every[0])}"),
        (Style.HEADER, f" {state.glyphs.up} {_rate(state, every[1])}"),
    ]
    text = squeeze(text, max(columns - 7 - length(found), 8))
    return [exactly([(Style.OFF, f"filter {text}"), *found], columns, Style.HEADER)]


def _warnings(state: ScreenState, columns: int, most: int) -> list[Line]:
    """Return losses and the limits of this kernel as text."""
    texts = [f"lost: {words}" for words in fmt.losses(state.model.loss)]
    texts += [text for text in (state.status().warning,) if text] + state.degradations
    wrapped = [textwrap.wrap(state.glyphs.text(text), max(columns, 1)) for text in texts]
    lines = [line for part in wrapped for line in part]
    if len(lines) > most:
        more = f" {state.glyphs.dots} h: all"
        lines[most - 1] = fit(lines[most - 1], max(columns - len(more), 0)).rstrip() + more
    return [exactly([(Style.WARNING, line)], columns) for line in lines[:most]]


def _one_line(state: ScreenState, columns: int) -> Line:
    """Return one line: rates, then anything unusual, then the clock if there is room."""
    if state.phase:
        return exactly([(Style.WARNING, state.phase)], columns)
    glyphs = state.glyphs
    counted = _counted(state)
    rx, tx = counted.rx_rate, counted.tx_rate
    line: Line = [
        (Style.RX, f"{glyphs.down} {fit(fmt.rate_cell(rx, bits=state.settings.bits), 10, '>')} "),
        (Style.TX, f"{glyphs.up} {fit(fmt.rate_cell(tx, bits=state.settings.bits), 10, '>')}"),
    ]
    for word, style in _unusual(state):
        line += [(Style.HEADER, " "), (style, word)]
    return spread(line, [(Style.HEADER, time.strftime("%H:%M:%S"))], columns, Style.HEADER)


def _unusual(state: ScreenState) -> list[tuple[str, Style]]:
    settings = state.settings
    words = [(_paused(state), Style.PAUSED)] if state.paused else []
    if state.past:
        words.append((f"PAST {_bounds(state.past.moment)}", Style.PAUSED))
    off = [name for name in CLASSES if name not in settings.classes]
    words += [(f"-{name}", Style.OFF) for name in off]
    if settings.loopback is not Loopback.SHOW:
        words.append((f"lo {settings.loopback.value}", Style.OFF))
    if settings.filter:
        style = Style.ERROR if state.filter_error else Style.OFF
        words.append((f"/{state.glyphs.text(settings.filter)}", style))
    if any(state.model.loss):
        words.append(("lost", Style.WARNING))
    elif state.status().warning:
        words.append((state.status().words, Style.WARNING))
    elif state.degradations:
        words.append(("degraded", Style.WARNING))
    return words
