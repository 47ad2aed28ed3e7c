"""Numbers for people.  Sizes are humanize's."""

from collections.abc import Iterator

import humanize

from bwtop.model.flows import Loss


def size(amount: float) -> str:
    """Bytes with a binary prefix: "1.2 MiB"."""
    return _short(humanize.naturalsize(amount, binary=True))


def rate(bytes_per_second: float, *, bits: bool = False) -> str:
    """Bytes per second, or bits per second with a decimal prefix, as links are sold: "1.2 MiB/s", "9.8 Mbit/s"."""
    if not bits:
        return size(bytes_per_second) + "/s"
    digits = float(
        f"{bytes_per_second * 8:.4g}"
    )  # or 999,999 becomes "1000.0 k", which fits no column
    number, unit = _short(humanize.naturalsize(digits)).split(" ")
    return f"{number} {unit.removesuffix('B')}bit/s"


def _short(text: str) -> str:
    """Humanize spells out the unit of small numbers."""
    return text.replace(" Bytes", " B").replace(" Byte", " B")


def count(number: int, noun: str) -> str:
    """A number and what it counts: "1 process", "2 processes"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}es" if noun.endswith("s") else f"{number} {noun}s"


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
