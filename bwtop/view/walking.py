"""Walking through a tree of rows by paths, and finding a row in it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from bwtop.view.folding import FOLDED
from bwtop.view.rows import FIRST, Branch, Expansion, Leaf, Path, Row, RowId


class Walked(ABC):
    """A tree of rows that can be walked through; rows below others are made on demand."""

    def __init__(self, expansion: Expansion) -> None:
        self.tops: list[Branch] = []
        """The rows of the top level, sorted."""
        self._expansion = expansion
        self._places: dict[RowId, int] | None = None

    @abstractmethod
    def children(self, branch: Branch) -> Sequence[Row]:
        """Return the children of a row, sorted."""

    def row(self, path: Path) -> Row:
        """Return the row at a path; raise IndexError if there is none."""
        row: Row = self.tops[path[0]]
        for place in path[1:]:
            if isinstance(row, Leaf):
                raise IndexError
            row = self.children(row)[place]
        return row

    def is_expanded(self, row: Row) -> bool:
        """Return True if the children of the row are shown."""
        return isinstance(row, Branch) and row.id in self._expansion

    def walk(self, path: Path) -> Iterator[tuple[Path, Row]]:
        """Yield the listed rows from a path on."""
        place: Path | None = path if self.tops else None
        while place is not None:
            yield place, self.row(place)
            place = self.after(place)

    def after(self, path: Path) -> Path | None:
        """Return the next path in the list."""
        row = self.row(path)
        if isinstance(row, Branch) and self.is_expanded(row) and self.children(row):
            return (*path, 0)
        return self.beyond(path)

    def beyond(self, path: Path) -> Path | None:
        """Return the next path in the list that is not below this one."""
        while path:
            if path[-1] + 1 < len(self._siblings(path)):
                return (*path[:-1], path[-1] + 1)
            path = path[:-1]
        return None

    def before(self, path: Path) -> Path | None:
        """Return the previous path in the list."""
        if path[-1] == 0:
            return path[:-1] or None
        return self._last_below((*path[:-1], path[-1] - 1))

    def last(self) -> Path:
        """Return the last path in the list; FIRST if it is empty."""
        return self._last_below((len(self.tops) - 1,)) if self.tops else FIRST

    def _last_below(self, path: Path) -> Path:
        row = self.row(path)
        while isinstance(row, Branch) and self.is_expanded(row):
            children = self.children(row)
            if not children:
                break
            path, row = (*path, len(children) - 1), children[-1]
        return path

    def _siblings(self, path: Path) -> Sequence[Row]:
        if len(path) == 1:
            return self.tops
        parent = self.row(path[:-1])
        return self.children(parent) if isinstance(parent, Branch) else []

    def find(self, wanted: RowId) -> Path | None:
        """Return the path of a row, listed or hidden in a collapsed one; None if there is no such row."""
        if self._places is None:
            self._places = {branch.id: place for place, branch in enumerate(self.tops)}
        for top in (wanted, _top_of(wanted), FOLDED):
            place = self._places.get(top)
            if place is not None:
                return self._find_below((place,), wanted)
        return None

    def _find_below(self, path: Path, wanted: RowId) -> Path | None:
        row = self.row(path)
        if row.id == wanted:
            return path
        if isinstance(row, Leaf):
            return None
        for place, child in enumerate(self.children(row)):
            if child.id == wanted or child.id.leads_to(wanted):
                found = self._find_below((*path, place), wanted)
                if found:
                    return found
        return None


def _top_of(row: RowId) -> RowId:
    """Return the row of the top level that a row is below, unless both are folded."""
    group = row.within or row.group
    return RowId(group) if group else RowId(process=row.process)
