"""Format sizes, rates, losses and remotes for tables.  Sizes are formatted by humanize."""

from collections.abc import Iterator, Sequence
from typing import Final

import humanize

from bwtop.model.flows import Loss, Remote, Role, format_address, protocol_name
from bwtop.model.named import RemoteName
from bwtop.model.remote_names import others
from bwtop.text.escape import count, printable, squeeze, width


def size(amount: float) -> str:
    """Format bytes with a binary prefix: "1.2 MiB"."""
    return _short(amount, binary=True)


def rate(bytes_per_second: float, *, bits: bool = False) -> str:
    """Format bytes per second, or bits per second with a decimal prefix: "1.2 MiB/s", "9.8 Mbit/s"."""
    return rate_cell(bytes_per_second, bits=bits) + "/s"


def rate_cell(bytes_per_second: float, *, bits: bool = False) -> str:
    """Format a rate for a column titled "per second": "1.2 MiB", "9.8 Mbit"; at most 10 characters."""
    if not bits:
        return size(bytes_per_second)
    digits = float(
        f"{bytes_per_second * 8:.4g}"
    )  # else 999,999 becomes "1000.0 k", too wide for a column
    number, unit = _short(digits, binary=False).split(" ")
    return f"{number} {unit.removesuffix('B')}bit"


def _short(amount: float, *, binary: bool) -> str:
    """Format as humanize does, with its unit for small numbers shortened; humanize 4.12 makes "1.0 Byte" of 1.0."""
    text = humanize.naturalsize(int(amount) if amount < 1000 else amount, binary=binary)
    return text.replace(" Bytes", " B").replace(" Byte", " B")


def duration(seconds: float) -> str:
    """Format a length of time, in one unit or two: "5 s", "3 min", "2 h 30 min", "12 d"."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole if seconds >= 0.95 else max(round(seconds, 1), 0.0)} s"
    for length, unit, finer, of in ((86400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= length:
            rest = whole % length // finer
            return f"{whole // length} {unit}" + (f" {rest} {of}" if rest else "")
    return f"{whole // 60} min"


def losses(loss: Loss) -> Iterator[str]:
    """Yield a line for each kind of loss."""
    if loss.spilled:
        yield (
            f"remotes of {count(loss.spilled, 'flow')}; "
            f"their {size(loss.spilled_bytes)} count as '*' (see --max-flows)"
        )
    if loss.unattributed:
        yield f"processes of {size(loss.unattributed_bytes)}, which count as (unattributed)"
    if loss.unnamed:
        yield f"names of {count(loss.unnamed, 'process')}"
    if loss.missed_events:
        yield f"{count(loss.missed_events, 'event')} skipped by the kernel; their bytes may not be counted"
    if loss.unheard:
        yield f"names of remotes in {count(loss.unheard, 'message')}"


def remote(far: Remote, names: Sequence[RemoteName], cells: int) -> str:
    """Format the remote of a client as "to HOST:PORT tcp", of a server as "from HOST on :PORT tcp".

    The host is the first of its names; "+2" behind the port means two more names from an equally good source.
    The text has at most `cells` cells.  If it is too long, it becomes "HOST:PORT" or "HOST on :PORT"; if that is still
    too long, the host is shortened.
    """
    host = printable(names[0].name) if names else format_address(far.address)
    if far.role == Role.SERVER:
        word, before, after = "from ", "", f" on :{far.port}"
    elif far.port:
        word, (before, after) = "to ", ("[", "]") if ":" in host else ("", "")
        after += f":{far.port}"
    else:
        word, before, after = "to ", "", ""
    after += f" +{more}" if (more := others(names)) else ""
    short = before + host + after
    protocol = f" {protocol_name(far.protocol)}"
    if width(word + short + protocol) <= cells:
        return word + short + protocol
    room = cells - width(before + after)
    if room >= width(host) or room < _LEAST:
        return squeeze(short, cells)
    ends = len(word + protocol) if room - len(word + protocol) >= _ENOUGH else 0
    shortened = before + squeeze(host, room - ends) + after
    return word + shortened + protocol if ends else shortened


def remote_columns(far: Remote, names: Sequence[RemoteName], cells: int) -> str:
    """Format a remote as "to ADDRESS PORT tcp NAME" in columns; of a server the port is "on PORT"."""
    word, port = ("from", "on ") if far.role == Role.SERVER else ("to", "")
    port += str(far.port) if far.port else "-"
    address = format_address(far.address)
    name = printable(names[0].name) if names else ""
    name += f" +{more}" if (more := others(names)) else ""
    text = f"{word:<4} {address:<39} {port:>8} {protocol_name(far.protocol):<6} {name}"
    return squeeze(text.rstrip(), cells)


_ENOUGH: Final = 15
"""Cells of a host from which the words around it are worth more than the rest of the host."""

_LEAST: Final = 5
"""Cells below which a shortened host is unrecognisable."""
