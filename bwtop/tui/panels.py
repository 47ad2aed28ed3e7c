"""Panels beside, below or instead of the list: choices, details, help."""

import textwrap
from collections.abc import Iterator
from itertools import islice, zip_longest
from typing import Final

from bwtop.model import geography, networks
from bwtop.model.filter_fields import WORD
from bwtop.model.flows import Identity, format_address
from bwtop.model.named import NameSource
from bwtop.model.series import LENGTH, peak
from bwtop.text import units as fmt
from bwtop.text.escape import count, fit, width
from bwtop.tui.dialogs import selected_process
from bwtop.tui.keymap import Context, spelled
from bwtop.tui.lines import Line, exactly
from bwtop.tui.procfs import command_line
from bwtop.tui.state import Chooser, Effect, Question, ScreenState
from bwtop.tui.styles import Style
from bwtop.view.rows import Branch, Leaf

SOURCES: Final = {
    NameSource.SNI: "TLS",
    NameSource.HOST: "HTTP",
    NameSource.DNS: "DNS",
    NameSource.HOST_DNS: "DNS, another process",
    NameSource.REVERSE: "reverse DNS",
}
"""The sources of names, as the details show them."""

_ANY_WIDTH: Final = 1 << 10
"""Cells of a text that is wrapped later."""

CHOOSER_WIDTH: Final = 52
"""Cells; on a narrow terminal the list of choices takes the whole line."""


def chooser_width(columns: int) -> int:
    """Return the cells of a line of choices beside the list."""
    return CHOOSER_WIDTH if columns >= CHOOSER_WIDTH + 28 else columns


def chooser(state: ScreenState, panel: Chooser, columns: int, rows: int) -> list[Line]:
    """Return the title, then the choices around the selected one."""
    lines: list[Line] = [
        exactly([(Style.TITLE, f" {state.glyphs.text(panel.title)}")], columns, Style.TITLE)
    ]
    first = chooser_top(panel, rows)
    shown = list(panel.lines[first : first + rows - 1])
    hidden = len(panel.lines) - first - len(shown)
    if panel.index < 0 and hidden and shown:  # no line can be selected to scroll there
        shown[-1] = f"and {hidden + 1} more"
    for index, text in enumerate(shown, first):
        style = Style.SELECTED if index == panel.index else Style.NORMAL
        lines.append([(style, fit(f" {state.glyphs.text(text)}", columns))])
    return lines


def about(question: Question | None) -> Chooser | None:
    """Return what a question is about as a list without a selected line; None: the question says it."""
    if question is None or not question.lines:
        return None
    title = f"{question.before}{question.name}"
    return Chooser(title, question.lines, -1, lambda *_: Effect.DRAW)


def chooser_top(panel: Chooser, rows: int) -> int:
    """Return the first choice in sight."""
    room = max(rows - 1, 1)
    return max(min(panel.index - room // 2, len(panel.lines) - room), 0)


def details(state: ScreenState, columns: int, rows: int) -> list[Line]:
    """Return all facts about the selected process, and its traffic in the last intervals."""
    row = selected_process(state)
    if row is None:
        title = "No process is selected" if state.tree.tops else "The list is empty"
        return [exactly([(Style.TITLE, f" {title}")], columns, Style.TITLE)]
    name = state.glyphs.text(row.identity.name)
    lines: list[Line] = [exactly([(Style.TITLE, f" {name} ({pid_of(row)})")], columns, Style.TITLE)]
    for label, value in facts(state, row):
        lines += fact(label, state.glyphs.text(value), columns, most=3)
    return lines + graphs(state, row, columns, height=1 if rows - len(lines) < 8 else 3)


def pid_of(row: Branch) -> str:
    """Return the pid of a process as text."""
    return str(row.pid or "-")


def facts(state: ScreenState, row: Branch) -> Iterator[tuple[str, str]]:
    """Yield what is known of a process, as labels and values."""
    identity = row.identity
    uid = "-" if identity.uid is None else str(identity.uid)
    started = identity.started.astimezone() if identity.started else None
    is_running = row.key and not row.exited and state.is_here(identity)
    whole = command_line(row.key) if row.key and is_running else None
    if identity.host:
        yield "host", f"{identity.host.name} ({identity.host.id})"
    yield "program", identity.exe or "-"
    yield "command", whole or identity.cmdline or "-"
    yield "user", f"{identity.user or '-'} (uid {uid})"
    yield "unit", identity.unit or "-"
    if identity.container or identity.pod:
        yield "container", " ".join(_container(identity))
    selected = state.listing.row(state.tree)
    if isinstance(selected, Leaf):
        yield "remote", fmt.remote(selected.remote, (), _ANY_WIDTH)
        names = ", ".join(f"{one.name} ({SOURCES[one.source]})" for one in selected.names)
        yield "names", names or "-"
    down, up = state.glyphs.down, state.glyphs.up
    yield "total", f"{down} {fmt.size(row.counted.rx_total)}  {up} {fmt.size(row.counted.tx_total)}"
    flows = list(row.shown_flows())
    addresses = {flow.remote.address for flow in flows}
    yield "remotes", f"{len(addresses)} ({count(len(flows), 'flow')})"
    if top := state.tree.top(row):
        address, known = top.remote.address, geography.current()
        places = (
            networks.current().of(address, identity.host),
            known.asn(address),
            known.country(address),
        )
        yield "top", ", ".join([format_address(address), *filter(None, places)])
    yield "started", started.strftime("%Y-%m-%d %H:%M:%S") if started else "-"


def _container(identity: Identity) -> Iterator[str]:
    yield identity.container_label or "-"
    if identity.container_name and identity.container:
        yield f"({identity.container})"
    if identity.image:
        yield f"image {identity.image}"
    if identity.pod:
        yield f"pod {identity.pod}"


def fact(label: str, value: str, columns: int, most: int) -> list[Line]:
    """Return a fact in at most some lines."""
    head = f" {label:<10}"
    room = max(columns - len(head), 1)
    texts = list(islice(_wrapped(value, room), most)) or [""]
    heads = [head, *[" " * len(head)] * (len(texts) - 1)]
    return [
        exactly([(Style.HINT, start), (Style.VALUE, text)], columns)
        for start, text in zip(heads, texts, strict=True)
    ]


def _wrapped(text: str, cells: int) -> Iterator[str]:
    """Yield the text cut into full lines; spaces are kept, because they matter in a command line."""
    if text.isascii():
        yield from (text[start : start + cells] for start in range(0, len(text), cells))
        return
    line, room = "", cells
    for character in text:
        taken = width(character)
        if taken > room:
            yield line
            line, room = "", cells
        line += character
        room -= taken
    if line:
        yield line


def graphs(state: ScreenState, row: Branch, columns: int, height: int) -> list[Line]:
    """Return the rates of a process in the last intervals, with their peaks."""
    rates = state.tree.graph(row, min(LENGTH, max(columns - 34, 1)))
    if rates is None or not state.settings.graphs:
        return []
    lines: list[Line] = []
    for which, (sign, style) in enumerate(
        ((state.glyphs.down, Style.RX), (state.glyphs.up, Style.TX))
    ):
        most = peak(rates)[which]
        now = (row.counted.rx_rate, row.counted.tx_rate)[which]
        head = f" {sign} {fit(fmt.rate(now, bits=state.settings.bits), 12, '>')}"
        tail = f" peak {fmt.rate(most, bits=state.settings.bits)}"
        drawn = state.glyphs.graph([pair[which] for pair in rates], most, height)
        for place, part in enumerate(drawn):
            last = place == height - 1
            lines.append(
                exactly(
                    [
                        (style, head if last else " " * len(head)),
                        (style, f" {part}"),
                        (Style.HINT, tail if last else ""),
                    ],
                    columns,
                )
            )
    return lines


SECTIONS: Final = (
    (Context.LIST, "Keys"),
    (Context.FILTER, "While typing a filter"),
    (Context.TIME, "While typing a time"),
    (Context.SEARCH, "While searching"),
    (Context.FILE, "While typing the name of a file"),
    (Context.LINE, "While typing anything"),
    (Context.GRAPH, "In the graph"),
    (Context.DETAILS, "In the details"),
    (Context.SETUP, "In the setup"),
    (Context.CHOOSER, "In a list"),
    (Context.CONFIRM, "At a question"),
    (Context.HELP, "In this help"),
)

MOUSE: Final = (
    ("click", "select a row; click again: expand or collapse it"),
    ("wheel", "scroll three rows"),
    ("titles", "click: sort by the column; click again: reverse the order"),
    ("footer", "click a hint: press its key"),
)


TWO_FROM: Final = 160
"""Columns from which the help has two columns."""


def help_lines(state: ScreenState, columns: int) -> list[Line]:
    """Return the help; in two columns where there is room, the second from the section nearest to the middle."""
    if columns < TWO_FROM:
        return _help_lines(state, columns)
    half = columns // 2
    lines = _help_lines(state, half - 2)
    starts = [place for place, line in enumerate(lines) if not line]
    middle = min(starts, key=lambda place: abs(place - len(lines) // 2))
    left, right = lines[:middle], [[], *lines[middle + 1 :]]
    blank: Line = []
    pairs = zip_longest(left, right, fillvalue=blank)
    return [[*exactly(one, half), *other] for one, other in pairs]


def _help_lines(state: ScreenState, columns: int) -> list[Line]:
    """Return the help in one column, from the tables of keys, columns and filter fields."""
    lines: list[Line] = [[(Style.HEADING, " bwtop: which process moves how many bytes, and where")]]
    for context, title in SECTIONS:
        lines += section(title)
        for key in state.keymap.of(context):
            names = " ".join(spelled(name) for name in key.keys)
            lines += _entry(names, key.help, columns) if key.help else []
    lines += section("Mouse")
    for name, text in MOUSE:
        lines += _entry(name, text, columns)
    lines += section("Columns")
    for field in state.fields:
        title = field.cell.title.format(down=state.glyphs.down, up=state.glyphs.up)
        lines += _entry(title, field.help, columns)
    lines += section("Filter: words and fields, all of which must match; a leading - or ! negates")
    for filter_field in state.filter_fields:
        lines += _entry(f"{filter_field.name}:", filter_field.help, columns)
    lines += _entry("word", WORD.help, columns)
    lines += _entry("10.0.0.0/8 :443", "a network, a port; also 192.0.2.1:443", columns)
    lines += _entry("a | b, a or b", "either; also a,b as the values of a field", columns)
    lines += section("Here")
    lost = [f"lost: {words}" for words in fmt.losses(state.model.loss)]
    status = state.status()
    warnings = [text for text in (status.warning,) if text]
    for text in (
        f"from {state.host}" if state.is_fleet else f"backend {state.backend or '-'}",
        *(f"not used: backend {reason}" for reason in state.passed_over),
        status.words,
        *warnings,
        *state.degradations,
        *lost,
    ):
        lines += _entry("", state.glyphs.text(text), columns)
    return lines


def section(title: str) -> list[Line]:
    """Return an empty line and a heading."""
    return [[], [(Style.HEADING, f" {title}")]]


def _entry(name: str, text: str, columns: int) -> list[Line]:
    head = 22
    texts = textwrap.wrap(text, max(columns - head, 10)) or [""]
    names = [fit(f"  {name}", head - 1) + " ", *[" " * head] * (len(texts) - 1)]
    return [
        [(Style.VALUE, start), (Style.NORMAL, part)]
        for start, part in zip(names, texts, strict=True)
    ]
