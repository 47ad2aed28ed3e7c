"""A moment of the history for the full screen: asked for by steps and times, answered with readings as live ones.

A moment is the finest stored span at a time: a measured interval, a minute, an hour, a day. Questions and answers are
texts, because they go to another process (see history.process).
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, NamedTuple
from zlib import crc32

from bwtop.history import process
from bwtop.history.boundaries import Span
from bwtop.history.dimensions import ENDS
from bwtop.history.names import add_names
from bwtop.history.plan import Bounds
from bwtop.history.store import Amounts, HistoryStore
from bwtop.history.tiers import COARSEST, TIERS
from bwtop.model.filter import EVERYTHING
from bwtop.model.flows import Host, Identity, ProcessKey, Remote, Traffic, nowhere
from bwtop.model.named import NameSource, RemoteName
from bwtop.model.sample import FlowTraffic, Sample, add_traffic

BEFORE: Final = 9
"""Spans before a moment whose flows the graphs of rows show."""

GRAPH: Final = 120
"""Spans in the graph of all processes together, the moment included."""

MOST: Final = 20_000
"""Flows of a moment that keep their remote, the largest first; the rest show as '*'."""

MOST_BEFORE: Final = 2_000
"""Flows of a moment beyond which the graphs of rows are left out."""

FINE: Final = 600.0
"""Seconds of a range up to which it is read as measured intervals, with processes."""

_SHORTEST: Final = 60.0
"""Seconds of the shortest spans but measured intervals: none is in a shorter gap."""

LATER: Final = "nothing is recorded later"

NAMES: Final = {tier.level: tier.name for tier in TIERS if tier.level >= 0}


@dataclass(frozen=True)
class MomentQuery:
    """A question for a moment."""

    base: Bounds | None = None
    """The moment to start from; None: now."""
    steps: int = 0
    """Moments to go back, if negative, or forward."""
    at: float | None = None
    """Go to this time instead (UTC seconds)."""
    span: Bounds | None = None
    """Go to this range instead."""
    anchor: Bounds | None = None
    """Answer for the range from this moment to the one that is reached."""

    @property
    def is_step(self) -> bool:
        """Return True if it starts from another moment."""
        return self.at is None and self.span is None

    def text(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def parsed(cls, text: str) -> "MomentQuery":
        """Return the question of a text."""
        return cls(**json.loads(text))


class Position(NamedTuple):
    """A place in the history."""

    span: Span
    gap: Bounds | None = None
    """Time without records that was passed over."""


@dataclass
class Moment:
    """The answer: what moved within some bounds of time."""

    start: float
    end: float
    here: Bounds
    """The moment that was reached: the bounds, or their newest or oldest part."""
    level: int
    seconds: float
    """Recorded within the bounds."""
    gap: Bounds | None = None
    samples: list[Sample] = field(default_factory=list)
    """Readings; the last one is of the bounds and has names of remotes, the others are of the spans before."""
    amounts: list[Amounts] = field(default_factory=list)
    """The spans before, and the moment."""

    @property
    def detail(self) -> str:
        """Return the name of its tier."""
        return NAMES[self.level]


class NothingError(Exception):
    """The history has nothing there."""


# In the process of the question.


def answer(store: HistoryStore, text: str, *, names: bool = True) -> process.Answer:
    """Answer a question, with names of remotes or without."""
    question = MomentQuery.parsed(text)
    try:
        moment = look(store, question, names=names)
    except NothingError as error:
        return {"why": str(error)}, b""
    return {}, json.dumps(_packed(moment)).encode()


def look(store: HistoryStore, question: MomentQuery, *, names: bool = True) -> Moment:
    """Return the moment of a question, with the names that its remotes had then; raise NothingError."""
    place = _place(store, question)
    here = (place.span.start, place.span.end)
    bounds = question.span or _joined(here, question.anchor)
    levels = (
        {place.span.level} | {s.level for s in _spans(store, bounds)} if bounds != here else {0}
    )
    moment = Moment(*bounds, here, max(place.span.level, *levels), 0.0, place.gap)
    if moment.level == 0 and bounds[1] - bounds[0] <= FINE:
        _add_measured(store, moment)
    else:
        _add_spans(store, moment)
    if names:
        _add_names(store, moment)
    width = (here[1] - here[0]) * GRAPH
    moment.amounts = list(store.amounts(place.span.level, here[1] - width, here[1]))
    return moment


def _joined(here: Bounds, anchor: Bounds | None) -> Bounds:
    return here if anchor is None else (min(here[0], anchor[0]), max(here[1], anchor[1]))


def _spans(store: HistoryStore, bounds: Bounds) -> Iterator[Span]:
    """Yield the spans that a range is read from."""
    found = store.select(bounds, None, frozenset(), EVERYTHING)
    return (span for span, _, _ in found.coverage())


def _place(store: HistoryStore, question: MomentQuery) -> Position:
    if question.span:  # its end may have no records, or not have come
        return Position(_at(store, question.span[1]).span)
    if question.at is not None:
        return _at(store, math.nextafter(question.at, math.inf))
    extent = store.extent()
    if extent is None:
        raise NothingError("nothing is recorded")
    start, end = question.base or (extent[1] + 1, extent[1] + 1)
    place: Position | None = None
    for _ in range(max(abs(question.steps), 1)):
        found = _later(store, end) if question.steps > 0 else _earlier(store, start)
        if found is None:
            break
        gap = (end, found.start) if question.steps > 0 else (found.end, start)
        is_gap = gap[1] - gap[0] > 1.5 * (found.end - found.start)
        place = Position(found, gap if is_gap and (place or question.base) else None)
        start, end = found.start, found.end
    if place is None:
        raise NothingError(LATER if question.steps > 0 else "nothing is recorded before")
    return place


def _at(store: HistoryStore, when: float) -> Position:
    """Return the finest span that contains the time right before `when`, or the one before."""
    for level in range(COARSEST + 1):
        around = store.beside(level, when, later=False)
        if around and around.end >= when:
            return Position(around)
    found = _earlier(store, when)
    if found is None:
        raise NothingError("nothing is recorded before")
    return Position(found, (found.end, when) if found.end < when - 1 else None)


def _earlier(store: HistoryStore, when: float) -> Span | None:
    """Return the last stored span that begins before a time: the finest, or a coarser one that begins after its end."""
    last: Span | None = None
    for level in range(COARSEST + 1):
        if last and when - last.end < _SHORTEST:
            break
        found = store.beside(level, when, later=False)
        if found and level and found.end > when:  # its finer spans are those from `when` on
            found = store.beside(level, found.start, later=False)
        if found and (last is None or found.start >= last.end):
            last = found
    return last


def _later(store: HistoryStore, when: float) -> Span | None:
    """Return the next stored span that begins at a time or later: the finest, or a coarser one that ends before it."""
    next_one: Span | None = None
    for level in range(COARSEST + 1):
        if next_one and next_one.start - when < _SHORTEST:
            break
        found = store.beside(level, when, later=True)
        if found and (next_one is None or found.end <= next_one.start):
            next_one = found
    return next_one


def _add_measured(store: HistoryStore, moment: Moment) -> None:
    """Add the readings of measured intervals: they have processes."""
    width = moment.end - moment.start
    first = (
        moment.start - BEFORE * width if moment.here == (moment.start, moment.end) else moment.start
    )
    samples = [_empty(first + place * width, width) for place in range(BEFORE)]
    last = _empty(moment.start, width)
    begin = first - width / 2 if first < moment.start else first
    for start, key, who, remote, rx, tx in store.measured(begin, moment.end):
        place = int((start - first) / width + 0.5)  # the clock of the wall runs a little apart
        sample = last if start >= moment.start else samples[min(place, BEFORE - 1)]
        sample.identities[key] = who
        add_traffic(sample.traffic, key, remote, Traffic(rx, tx))
    spans = list(store.amounts(0, moment.start, moment.end))
    moment.seconds = last.elapsed = sum(seconds for _, seconds, _ in spans) or width
    moment.samples = [*(samples if first < moment.start else []), _limited(last)]


def _empty(start: float, width: float) -> Sample:
    return Sample(datetime.fromtimestamp(start + width, UTC), width)


def _add_spans(store: HistoryStore, moment: Moment) -> None:
    """Add the readings of spans, whole ones: programs take the place of processes."""
    found = store.select((moment.start, moment.end), None, frozenset(ENDS), EVERYTHING)
    moment.start, moment.end = found.start, found.end
    width = moment.end - moment.start
    sums = found.sums()
    sample = _empty(moment.start, width)
    for flow, (who, remote) in found.ends(sums.keys()).items():
        _add(sample, who, remote, sums[flow])
    moment.seconds = sum(seconds for _, seconds, _ in found.coverage())
    sample.elapsed = moment.seconds or width
    if moment.here == (moment.start, moment.end) and len(sums) <= MOST_BEFORE:
        moment.samples = _before(store, moment)
    moment.samples.append(_limited(sample))


def _add_names(store: HistoryStore, moment: Moment) -> None:
    """Add the names of the remotes, as of then; those that are hosts themselves have the names of these."""
    sample = moment.samples[-1]
    addresses = {remote.address for remotes in sample.traffic.values() for remote in remotes}
    seen = store.names(addresses - store.peers().keys(), moment.end)
    add_names(sample, seen, (moment.start, moment.end))


def _before(store: HistoryStore, moment: Moment) -> list[Sample]:
    width = moment.end - moment.start
    first = moment.start - BEFORE * width
    samples = [_empty(first + place * width, width) for place in range(BEFORE)]
    found = store.select((first, moment.start), None, frozenset(ENDS), EVERYTHING)
    ends = found.ends(list(found.sums().keys()))
    for span, flow, rx, tx in found.timeline({flow: flow for flow in ends}):
        place = int((span.middle - first) / width)
        if 0 <= place < BEFORE:
            _add(samples[place], *ends[flow], (rx, tx))
    return samples


def _add(sample: Sample, who: Identity, remote: Remote, moved: tuple[int, int]) -> None:
    key = _key(who)
    sample.identities[key] = who
    add_traffic(sample.traffic, key, remote, Traffic(*moved))


def _key(who: Identity) -> ProcessKey:
    """Return a key for a program, whose processes are not stored: the same in all moments."""
    host = who.host.id if who.host else ""
    of_container = (who.container, who.container_name, who.pod)
    parts = (host, who.name, who.exe, who.uid, who.unit, of_container, who.kernel)
    return ProcessKey(crc32(repr(parts).encode()), 0)


def _limited(sample: Sample) -> Sample:
    """Return the sample with its largest remotes, the rest as '*'."""
    flows = [
        (t.rx + t.tx, k, r) for k, remotes in sample.traffic.items() for r, t in remotes.items()
    ]
    if len(flows) <= MOST:
        return sample
    flows.sort(key=lambda flow: -flow[0])
    kept: FlowTraffic = {}
    for place, (_, key, remote) in enumerate(flows):
        far = remote if place < MOST else nowhere(remote)
        add_traffic(kept, key, far, sample.traffic[key][remote])
    return replace(sample, traffic=kept)


# Packing, for the way between the processes.

_WHO: Final = (
    "name",
    "uid",
    "cmdline",
    "exe",
    "kernel",
    "user",
    "unit",
    "container",
    "container_name",
    "pod",
)


def _packed(moment: Moment) -> dict[str, Any]:
    keys: dict[ProcessKey, int] = {}
    names: dict[RemoteName, int] = {}
    known: dict[ProcessKey, Identity] = {}
    samples = []
    for sample in moment.samples:
        flows = []
        for key, remotes in sample.traffic.items():
            known[key] = sample.identities[key]
            number = keys.setdefault(key, len(keys))
            for remote, traffic in remotes.items():
                of_remote = sample.named.get((key, remote), ())
                places = [names.setdefault(one, len(names)) for one in of_remote]
                flows.append([number, *remote[:3], remote.address.hex(), *traffic, places])
        samples.append([sample.time.timestamp(), sample.elapsed, flows])
    return {
        "bounds": [moment.start, moment.end, moment.here, moment.level, moment.seconds, moment.gap],
        "processes": [[*key, *_who(known[key])] for key in keys],
        "names": [[one.name, one.source] for one in names],
        "samples": samples,
        "amounts": [[span, seconds, list(sums.items())] for span, seconds, sums in moment.amounts],
    }


def _who(who: Identity) -> Iterator[Any]:
    yield who.started and who.started.timestamp()
    yield who.host
    for name in _WHO:
        yield getattr(who, name)


def unpacked(body: BinaryIO) -> Moment:
    """Return the moment of an answer."""
    found: Mapping[str, Any] = json.load(body)
    start, end, here, level, seconds, gap = found["bounds"]
    processes = [_process(row) for row in found["processes"]]
    names = [RemoteName(name, NameSource(source)) for name, source in found["names"]]
    return Moment(
        start,
        end,
        (here[0], here[1]),
        level,
        seconds,
        gap and (gap[0], gap[1]),
        [_sample(row, processes, names) for row in found["samples"]],
        [
            (Span(*span), seconds, {of: (rx, tx) for of, (rx, tx) in sums})
            for span, seconds, sums in found["amounts"]
        ],
    )


def _process(row: Sequence[Any]) -> tuple[ProcessKey, Identity]:
    start, pid, execs, started, host, *who = row
    identity = Identity(
        **dict(zip(_WHO, who, strict=True)),
        started=None if started is None else datetime.fromtimestamp(started, UTC),
        host=host and Host(*host),
    )
    return ProcessKey(start, pid, execs), identity


def _sample(
    row: Sequence[Any],
    processes: Sequence[tuple[ProcessKey, Identity]],
    names: Sequence[RemoteName],
) -> Sample:
    when, elapsed, flows = row
    sample = Sample(datetime.fromtimestamp(when, UTC), elapsed)
    for number, protocol, role, port, address, rx, tx, places in flows:
        key, who = processes[number]
        sample.identities[key] = who
        remote = Remote(protocol, role, port, bytes.fromhex(address))
        sample.traffic.setdefault(key, {})[remote] = Traffic(rx, tx)
        if places:
            sample.named[key, remote] = tuple(names[place] for place in places)
    return sample
