"""Notes below a report: what limits its numbers."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import humanize

from bwtop.history.calendar import MINUTE
from bwtop.history.query import Answer
from bwtop.history.tiers import UNITS
from bwtop.text import units as fmt
from bwtop.text.escape import count, printable

_LONGEST: Final = 8e13
"""Longest duration that datetime.timedelta can hold, in seconds, roughly."""

_SAME: Final = 0.01
"""Share of its bytes by which both ends of a conversation may differ: their intervals begin at other times."""

_MOVES: Final = 3
"""Largest number of notes on clock changes and on wrong clocks, and of hosts named in one."""


def notes(answer: Answer) -> Iterator[str]:
    """Yield the notes on an answer: where it differs from the request, and which events changed its numbers."""
    wanted = answer.range
    if max(abs(answer.start - wanted.start), abs(answer.end - wanted.end)) > MINUTE:
        yield (
            "finer detail of this range is deleted: this report covers"
            f" {local_minute(answer.start)} to {local_minute(answer.end)}"
        )
    if answer.left:
        bars = "; the bars are five-minute totals" if answer.is_filled else ""
        yield f"part of this range has only totals by {answer.left.value}{bars}"
    if answer.foreign:
        first, after = answer.foreign.start, answer.foreign.end
        unit = UNITS[answer.foreign.level].value
        yield (
            f"each {unit} is by the clock of the recording host, such as"
            f" {local_minute(first)} to {local_minute(after)} here"
        )
    if answer.since > wanted.start:
        yield f"process ids have the retention of tier seconds: this report begins at {local_minute(answer.since)}"
    if answer.ahead:
        yield (
            f"times up to {local_minute(answer.ahead)} are in the future:"
            " the time was wrong when they were recorded"
        )
    for host, seconds in list(answer.clocks.items())[:_MOVES]:
        way = "ahead" if seconds > 0 else "behind"
        yield printable(
            f"the clock of {host.label} is {length(abs(seconds))} {way}: its times are wrong"
        )
    if len(answer.clocks) > _MOVES:
        yield f"the clocks of {count(len(answer.clocks) - _MOVES, 'more host')} are wrong"
    if not answer.has_suffixes:
        yield "domains are the last two labels of names: the public suffix list is not installed (package publicsuffix)"
    moves = answer.events.get("clock", [])
    for when, by in moves[:_MOVES]:
        way = "forward" if by > 0 else "back"
        yield f"the clock was set {way} by {length(abs(by))} at {local_minute(when)}"
    if len(moves) > _MOVES:
        yield f"the clock was set {count(len(moves) - _MOVES, 'more time')}"
    for when, _ in answer.events.get("damaged", []):
        yield f"the history was damaged and set aside at {local_minute(when)}: this report lacks what it held"
    slept = sum(amount for _, amount in answer.events.get("sleep", []))
    if slept:
        yield f"the machine slept for {length(slept)}"
    dropped = sum(amount for _, amount in answer.events.get("dropped", []))
    if dropped:
        yield f"{fmt.size(dropped)} not recorded: the disk could not be written for too long"
    yield from _compared(answer)
    names = [host.label for host in answer.losing[:_MOVES]]
    names += [f"{more} more"] if (more := len(answer.losing) - _MOVES) > 0 else []
    where = printable(f" ({', '.join(names)})") if names else ""
    yield from (f"lost: {words}{where}" for words in fmt.losses(answer.loss))


def _compared(answer: Answer) -> Iterator[str]:
    """Yield a note on the conversations whose ends have recorded different amounts."""
    different = [one for one in answer.compared if one.difference > _SAME * sum(one.client)]
    if different:
        different.sort(key=lambda one: -one.difference)
        named = [
            f"{one.text} (client {client}, server {server})"
            for one in different[:_MOVES]
            for client, server in [map(fmt.size, one.amounts)]
        ]
        more = [f"{len(different) - _MOVES} more"] if len(different) > _MOVES else []
        yield printable(f"both ends have recorded different amounts: {', '.join([*named, *more])}")


def local_minute(when: float) -> str:
    """Format a time as local time, to the minute."""
    return datetime.fromtimestamp(when).astimezone().strftime("%Y-%m-%d %H:%M")


def length(seconds: float) -> str:
    """Format a duration with at most two units."""
    if seconds < 60:
        return count(round(seconds), "second")
    minutes = round(min(seconds, _LONGEST) / 60)
    text = humanize.precisedelta(60 * minutes, minimum_unit="minutes", format="%d")
    return " and ".join(re.split(", | and ", text)[:2])
