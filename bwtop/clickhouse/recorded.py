"""The time in which at least one of several hosts has recorded, from spans that may overlap."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from bwtop.history.plan import Bounds

_Piece = tuple[float, float, float]
"""A time (start, end) and the share of it that is recorded."""


class RecordedTime:
    """Time that is recorded, as far as it was added."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        """In order, without overlaps."""

    def add(self, spans: Sequence[Bounds], seconds: Sequence[float]) -> list[float]:
        """Add the spans of a host with the seconds recorded in each; return those of them that were not known.

        The seconds of a span are taken as evenly spread over it.
        """
        order = sorted(range(len(spans)), key=spans.__getitem__)
        added = [(*spans[n], seconds[n] / max(spans[n][1] - spans[n][0], 1e-9)) for n in order]
        new, pieces = [0.0] * len(spans), []
        for start, end, place, share, known in _joined(added, self._pieces):
            if share > known:
                new[order[place]] += (share - known) * (end - start)
            if share or known:
                pieces.append((start, end, max(share, known)))
        self._pieces = pieces
        return new


def _joined(
    added: Sequence[_Piece], known: Sequence[_Piece]
) -> Iterator[tuple[float, float, int, float, float]]:
    """Yield the times between all starts and ends: (start, end, place in `added`, its share, the share known)."""
    edges = sorted({edge for start, end, _ in (*added, *known) for edge in (start, end)})
    mine = theirs = 0
    for start, end in pairwise(edges):
        while mine < len(added) and added[mine][1] <= start:
            mine += 1
        while theirs < len(known) and known[theirs][1] <= start:
            theirs += 1
        yield start, end, mine, _share(added, mine, start), _share(known, theirs, start)


def _share(pieces: Sequence[_Piece], place: int, when: float) -> float:
    return pieces[place][2] if place < len(pieces) and pieces[place][0] <= when else 0.0
