"""The table of a report."""

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import PurePath
from typing import Final

from bwtop.history import ends
from bwtop.history.bars import Bar
from bwtop.history.calendar import HOUR, Unit
from bwtop.history.dimensions import ENDPOINT, PEER, Dimension, Label, fields, moment, parse
from bwtop.history.internet import NetworkUsage
from bwtop.history.nested import PROCESS, Nested
from bwtop.history.query import Answer, History, ReportRow
from bwtop.model.flows import Remote
from bwtop.model.named import NameSource, RemoteName
from bwtop.model.networks import INTERNET
from bwtop.model.series import Rates
from bwtop.output.notes import length, local_minute, notes
from bwtop.output.request import ReportRequest, remote_names, scope_of, user_of
from bwtop.text import units as fmt
from bwtop.text.escape import count, fit, printable, squeeze, width

PROCESSES: Final = 10
REMOTES: Final = 3
"""Remotes per process in the table; PROCESSES is the default of --limit."""

LOOK_UP: Final = 0.5
"""Longest wait for the names of remotes, in seconds."""

HOST: Final = parse("host")

_SIZE: Final = 11
_SHARE: Final = 7
_LABEL: Final = 16
"""Widths of the columns, in cells."""

_LEAST: Final = 20
"""Least useful width of a label, in cells."""


class ReportTable:
    """The lines of a report: bars of time, the largest groups, totals; as wide as the terminal."""

    def __init__(
        self,
        answer: Answer,
        request: ReportRequest,
        columns: int,
        now: float,
        *,
        unicode: bool,
        nested: Nested | None = None,
    ) -> None:
        """Make a table; `nested` has the remotes of the processes where no groups are requested."""
        self._nested = nested
        self._answer = answer
        self._request = request
        self._columns = max(columns, 40)
        self._now = now
        self._is_unicode = unicode
        self._namesakes = _namesakes(answer, request.by or (PROCESS,))
        self._twins = _shared(answer, request.by, HOST) | _shared(answer, request.by, PEER)
        self._signs = ("█", "░", "↓", "↑") if unicode else ("#", "-", "rx", "tx")

    def lines(self, history: History) -> Iterator[str]:
        """Yield all lines; wrap those longer than the terminal is wide."""
        for line in self._lines(history):
            if width(line) <= self._columns:
                yield line
            else:
                yield from textwrap.wrap(line, self._columns, subsequent_indent="  ")

    def _lines(self, history: History) -> Iterator[str]:
        """Yield the lines; if nothing is recorded in the range, the recorded time instead."""
        answer = self._answer
        yield self._title()
        if not answer.seconds and not answer.rows:
            yield from self._nothing(history)
            return
        yield ""
        yield from self._bars()
        yield ""
        if not answer.rows:
            yield "no traffic matches the filter"
        elif self._nested:
            yield from self._processes(self._nested)
        else:
            yield from self._groups(self._request.by)
        yield ""
        yield from self._totals()
        for note in notes(answer):
            yield f"note: {note}"

    def _title(self) -> str:
        wanted = self._answer.range
        text = "" if wanted.text[:1].isdigit() else f"{wanted.text}: "
        if wanted.start > self._now and not self._answer.ahead:
            return (
                f"{text}{local_minute(wanted.start)} to {local_minute(wanted.end)} is in the future"
            )
        end = min(wanted.end, max(self._now, self._answer.ahead))
        recorded = length(self._answer.seconds) if self._answer.seconds else "nothing"
        return f"{text}{local_minute(wanted.start)} to {local_minute(end)}, {recorded} recorded"

    def _nothing(self, history: History) -> Iterator[str]:
        extent = history.extent()
        if extent is None:
            yield (
                "nothing has been recorded yet; run: sudo bwtop"
                if self._request.host
                else "no host has sent anything yet; on each run: sudo bwtop --record --ship URL"
            )
        else:
            yield f"data exists from {local_minute(extent[0])} to {local_minute(extent[1])}"
            yield from notes(self._answer)

    # Bars.

    def _bars(self) -> Iterator[str]:
        bars = self._answer.bars
        most = max((bar.rx + bar.tx for bar in bars), default=0)
        head = f"{self._answer.bar_unit.value:<{_LABEL}}{'RX':>{_SIZE}}{'TX':>{_SIZE}}"
        legend = f"  {self._signs[0]} received {self._signs[1]} sent"
        yield head + legend if width(head + legend) <= self._columns else head
        for recorded, several in groupby(bars, lambda bar: bool(bar.seconds or bar.rx or bar.tx)):
            some = list(several)
            if recorded:
                yield from (self._bar(bar, most) for bar in some)
            else:
                yield f"{self._label(some[0])}{self._last(some)}  not recorded"

    def _last(self, bars: Sequence[Bar]) -> str:
        """Return the end of consecutive bars: the last day or month, or the end of the last hour or minute."""
        if self._answer.bar_unit in (Unit.DAY, Unit.MONTH):
            return f" to {self._label(bars[-1])}" if len(bars) > 1 else ""
        return f" to {self._clock(bars[-1].end)}"

    def _label(self, bar: Bar) -> str:
        return self._clock(moment(bar.label))

    def _clock(self, when: float) -> str:
        clock = "%a %H:%M" if self._has_days() else "%H:%M"
        form = {Unit.DAY: "%Y-%m-%d %a", Unit.MONTH: "%Y-%m"}.get(self._answer.bar_unit, clock)
        return _clock(when, form)

    def _has_days(self) -> bool:
        """Return whether the bars span more than one day."""
        bars = self._answer.bars
        return bars[0].label[:10] != bars[-1].label[:10]

    def _bar(self, bar: Bar, most: int) -> str:
        room = max(self._columns - _LABEL - 2 * _SIZE - 2, 0)
        total = bar.rx + bar.tx
        cells = min(max(round(total / most * room), 1), room) if total else 0
        sent = round(cells * bar.tx / total) if total else 0
        drawn = self._signs[0] * (cells - sent) + self._signs[1] * sent
        return f"{self._label(bar):<{_LABEL}}{fmt.size(bar.rx):>{_SIZE}}{fmt.size(bar.tx):>{_SIZE}}  {drawn}"

    # Rows.

    @property
    def _is_narrow(self) -> bool:
        """Return whether the terminal is too narrow for totals and shares."""
        return self._columns < 3 * _SIZE + _SHARE + _LEAST

    def _room(self) -> int:
        return self._columns - (2 * _SIZE if self._is_narrow else 3 * _SIZE + _SHARE)

    def _line(self, label: str, rx: int, tx: int) -> str:
        total = self._answer.rx + self._answer.tx
        cells = [fmt.size(rx), fmt.size(tx), fmt.size(rx + tx)]
        return self._cells(label, cells, f"{(rx + tx) / total:.1%}" if total else "")

    def _head(self, title: str) -> str:
        return self._cells(title, ["RX", "TX", "TOTAL"], "SHARE")

    def _cells(self, label: str, sizes: Sequence[str], share: str) -> str:
        if not self._is_unicode:
            label = label.replace("→", "->").encode("ascii", "backslashreplace").decode()
        line = fit(squeeze(label, self._room()), self._room())
        line += "".join(f"{size:>{_SIZE}}" for size in sizes[: 2 if self._is_narrow else 3])
        return line if self._is_narrow else f"{line}{share:>{_SHARE}}"

    def _processes(self, nested: Nested) -> Iterator[str]:
        """Yield the lines of processes, each with its remotes."""
        tops = self._request.sorted(self._answer.rows)
        shown = tops[: self._request.limit or PROCESSES]
        remotes = [nested.remotes(top.labels, self._request.order, REMOTES) for top in shown]
        ends = [
            ReportRow((*top.labels, *row.labels), row.rx, row.tx)
            for top, (rows, _) in zip(shown, remotes, strict=True)
            for row in rows
        ]
        names = remote_names(self._answer, [PROCESS, ENDPOINT], ends)
        known = {end.labels: name for end, name in zip(ends, names, strict=True) if name}
        if self._request.names:
            nameless = {_remote(end).address for end in ends if end.labels not in known}
            self._request.names.wait(nameless, LOOK_UP)
        yield self._head("PROCESS")
        for top, (rows, number) in zip(shown, remotes, strict=True):
            yield self._line(printable(self._process_text(*top.labels)), top.rx, top.tx)
            for row in rows:
                name = known.get((*top.labels, *row.labels))
                yield self._line("    " + self._endpoint(_remote(row), name), row.rx, row.tx)
            rest = top.rx - sum(row.rx for row in rows), top.tx - sum(row.tx for row in rows)
            yield from self._more(number - len(rows), "remote", *rest, indent="    ")
        yield from self._rest(tops[len(shown) :], "process")

    def _endpoint(self, remote: Remote, name: RemoteName | None) -> str:
        if name is None and self._request.names:
            host = self._request.names.get(remote.address)
            name = RemoteName(host, NameSource.REVERSE) if host else None
        return fmt.remote(remote, (name,) if name else (), self._room() - 4)

    def _rest(self, rows: Sequence[ReportRow], noun: str) -> Iterator[str]:
        sums = sum(row.rx for row in rows), sum(row.tx for row in rows)
        yield from self._more(len(rows), noun, *sums)

    def _more(self, number: int, noun: str, rx: int, tx: int, *, indent: str = "") -> Iterator[str]:
        """Yield a line for the rows that are not shown."""
        if number:
            yield self._line(f"{indent}and {count(number, f'more {noun}')}", rx, tx)

    def _groups(self, by: Sequence[Dimension]) -> Iterator[str]:
        rows = self._request.sorted(self._answer.rows)
        shown = rows[: self._request.limit]
        texts = [
            [dimension.name.upper() for dimension in by],
            *(
                list(self._texts(by, row, name))
                for row, name in zip(shown, remote_names(self._answer, by, shown), strict=True)
            ),
        ]
        widths = [max(width(line[place]) for line in texts) for place in range(len(by))]
        head, *labels = (
            "  ".join(fit(text, cells) for text, cells in zip(line, widths, strict=True)).rstrip()
            for line in texts
        )
        yield self._head(head)
        for row, label in zip(shown, labels, strict=True):
            yield self._line(label, row.rx, row.tx)
        yield from self._rest(rows[len(shown) :], "row")

    def _texts(
        self, by: Sequence[Dimension], row: ReportRow, name: RemoteName | None
    ) -> Iterator[str]:
        """Yield the printable text of each dimension of a row; an address has its recorded name beside it."""
        labels = list(row.labels)
        for dimension in by:
            own, labels = labels[: len(dimension.fields)], labels[len(dimension.fields) :]
            yield printable(self._text(dimension, own, name))

    def _text(self, dimension: Dimension, own: Sequence[Label], name: RemoteName | None) -> str:
        if dimension is PROCESS:
            return self._process_text(*own)
        if dimension.name == "user":
            return self._user_text(*own)
        if dimension is HOST or (dimension is PEER and any(own)):
            return self._host_text(*own)
        if dimension.name == "remote" and name:
            return f"{own[0]}  {name.name}"
        return _TEXTS[dimension.name](*own)

    def _process_text(self, name: Label, exe: Label, uid: Label, kernel: Label) -> str:
        """Format name and user, and the program where its file name differs or several programs share the name."""
        text = f"[{name}]" if kernel else str(name)
        is_told = name not in self._namesakes and PurePath(str(exe)).name == name
        program = f"  {exe}" if exe and not is_told else ""
        return f"{text}  {self._user_text(uid)}{program}"

    def _host_text(self, name: Label, id_: Label) -> str:
        """Format the name of a host, with the start of its id where another host has the same name."""
        return f"{name} ({str(id_)[:8]})" if name in self._twins else str(name or "(unknown)")

    def _user_text(self, uid: Label) -> str:
        return "-" if uid is None else user_of(self._answer, uid) or str(uid)

    # Totals.

    def _totals(self) -> Iterator[str]:
        answer, scope = self._answer, scope_of(self._request.keep)
        yield self._line("TOTAL", answer.rx, answer.tx)
        yield self._rates("average", answer.average, f"recorded time, {scope}")
        if answer.peak:
            yield self._rates("peak", answer.peak.rates, f"over {answer.peak.unit.text}, {scope}")
        if answer.networks is not None and not answer.network_usage:
            yield from self._total_of((INTERNET,), *answer.networks.get(INTERNET, (0, 0)))
        if answer.range.is_period:
            yield from self._period(scope)

    def _period(self, scope: str) -> Iterator[str]:
        usage, projection = self._answer.usage, self._answer.projection
        of_networks = self._answer.network_usage
        if of_networks:
            yield from self._networks(of_networks)
            if of_networks.unit is Unit.FIVE_MINUTES or not usage:
                return
            projection = None
        if usage:
            text = f"of {usage.count:,} averages over 5 min, {scope}"
            yield self._rates("95th percentile", usage.percentile, text)
        elif not self._request.keep.without(HOST.name).is_of_categories:
            yield "95th percentile: not available with filters on processes or remotes"
        yield from self._projection(projection, scope)

    def _networks(self, usage: NetworkUsage) -> Iterator[str]:
        """Yield the figures of the internet, or of the networks that the filter names."""
        names = ", ".join(usage.names)
        yield from self._total_of(usage.names, usage.rx, usage.tx)
        if usage.percentile:
            text = f"of {usage.count:,} averages over {usage.unit.text}, {names}"
            yield self._rates("95th percentile", usage.percentile, text)
        yield from self._projection(self._answer.projected(usage.rx, usage.tx), names)

    def _total_of(self, names: Sequence[str], rx: int, tx: int) -> Iterator[str]:
        """Yield the total of some networks, unless the filter names them: then it is the total of all."""
        if not self._request.keep.networks():
            yield self._both(", ".join(names), fmt.size(rx), fmt.size(tx), "in all")

    def _projection(self, projection: tuple[int, int] | None, scope: str) -> Iterator[str]:
        if projection:
            rx, tx = (fmt.size(amount) for amount in projection)
            text = f"by {local_minute(self._answer.range.end)} at this rate, {scope}"
            yield self._both("projection", rx, tx, text)

    def _rates(self, title: str, rates: Rates, what: str) -> str:
        rx, tx = (fmt.rate(value, bits=self._request.bits) for value in rates)
        return self._both(title, rx, tx, what)

    def _both(self, title: str, rx: str, tx: str, what: str) -> str:
        return f"{title:<17}{self._signs[2]} {rx:>12}  {self._signs[3]} {tx:>12}  {what}"


def _remote(row: ReportRow) -> Remote:
    remote = row.labels[-1]
    assert isinstance(remote, Remote), "a row with an endpoint"
    return remote


def _namesakes(answer: Answer, by: Sequence[Dimension]) -> frozenset[Label]:
    """Return the names that several programs share."""
    return _shared(answer, by, PROCESS)


def _shared(answer: Answer, by: Sequence[Dimension], of: Dimension) -> frozenset[Label]:
    """Return the values of a dimension's first field that occur with several values of its next field."""
    if of not in by:
        return frozenset()
    place = len(fields(by[: by.index(of)]))
    known = {row.labels[place : place + 2] for row in answer.rows}
    counts = Counter(value for value, _ in known)
    return frozenset(value for value, count in counts.items() if count > 1)


def _clock(when: float, form: str) -> str:
    """Format local time, with the UTC offset where it occurs twice."""
    local = datetime.fromtimestamp(when).astimezone()
    text = local.strftime(form)
    twice = form.endswith("%H:%M") and any(
        datetime.fromtimestamp(when + shift).astimezone().strftime(form) == text
        for shift in (-HOUR, HOUR)
    )
    return text + local.strftime(" %z") if twice else text


_TEXTS: Final[dict[str, Callable[..., str]]] = {
    "exe": lambda exe: exe or "(unknown)",
    "process-name": lambda name: name,
    "name": lambda name: name,
    "domain": lambda domain: domain,
    "unit": lambda unit, container, _, name: name or container or unit or "(no unit)",
    "container": lambda name, _, id_: name or id_ or "(no container)",
    "remote": lambda address, _: address,
    "net": lambda net: net,
    "asn": lambda asn: asn or "(unknown)",
    "country": lambda country: country or "(unknown)",
    "peer-host": lambda *_: "(other)",
    "conversation": ends.text,
    "proto": lambda proto: proto,
    "port": lambda port, role: f"{'on' if role == 'server' else 'to'} :{port}",
    "hour": lambda text: _clock(moment(text), "%Y-%m-%d %H:%M") if "T" in text else text,
    "day": lambda text: text,
    "month": lambda text: text,
}
"""Formatters of labels by dimension; processes, users and hosts have methods of ReportTable."""
