"""Numbers and remotes for people.  Sizes are humanize's."""

from collections.abc import Iterator
from typing import Final

import humanize

from bwtop.model.flows import Loss, Role, format_address, protocol_name
from bwtop.model.meter import RemoteRow
from bwtop.text.escape import count, printable, squeeze, width


def size(amount: float) -> str:
    """Bytes with a binary prefix: "1.2 MiB"."""
    return _short(humanize.naturalsize(amount, binary=True))


def rate(bytes_per_second: float, *, bits: bool = False) -> str:
    """Bytes per second, or bits per second with a decimal prefix, as links are sold: "1.2 MiB/s", "9.8 Mbit/s"."""
    return rate_cell(bytes_per_second, bits=bits) + "/s"


def rate_cell(bytes_per_second: float, *, bits: bool = False) -> str:
    """A rate under a title that says "per second": "1.2 MiB", "9.8 Mbit"; at most 10 characters."""
    if not bits:
        return size(bytes_per_second)
    digits = float(
        f"{bytes_per_second * 8:.4g}"
    )  # or 999,999 becomes "1000.0 k", which fits no column
    number, unit = _short(humanize.naturalsize(digits)).split(" ")
    return f"{number} {unit.removesuffix('B')}bit"


def _short(text: str) -> str:
    """Humanize spells out the unit of small numbers."""
    return text.replace(" Bytes", " B").replace(" Byte", " B")


def losses(loss: Loss) -> Iterator[str]:
    """What was lost, in words; nothing when nothing was."""
    if loss.spilled:
        yield (
            f"no room for the remotes of {count(loss.spilled, 'update')}; "
            f"their {size(loss.spilled_bytes)} are under '*' (see --max-flows)"
        )
    if loss.unattributed:
        yield f"no room for the processes of {size(loss.unattributed_bytes)}; they are under (unattributed)"
    if loss.unnamed:
        yield f"no room for the names of {count(loss.unnamed, 'process')}"
    if loss.missed_events:
        yield f"{count(loss.missed_events, 'event')} skipped by the kernel; what they moved is not counted"


def remote(row: RemoteRow, cells: int) -> str:
    """A client's remote as "to HOST:PORT tcp", a server's as "from HOST on :PORT tcp", in at most so many cells.

    Where that is too long, only "HOST:PORT" or "HOST on :PORT" is left of it; and if that is too, it is the host that
    is shortened.
    """
    far = row.remote
    host = printable(row.host) if row.host else format_address(far.address)
    if far.role == Role.SERVER:
        word, before, after = "from ", "", f" on :{far.port}"
    elif far.port:
        word, (before, after) = "to ", ("[", "]") if ":" in host else ("", "")
        after += f":{far.port}"
    else:
        word, before, after = "to ", "", ""
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


_ENOUGH: Final = 15
"""Cells of a host's name or address from which on the words around it are worth more than the rest of it."""

_LEAST: Final = 5
"""Cells below which nothing of a host can be recognised."""
