"""The selected row of the list and the rows in sight."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from bwtop.view.rows import FIRST, Branch, Path, Row, RowId
from bwtop.view.tree import Tree


class Listing:
    """A selection that follows its row, and a viewport that scrolls only as far as necessary to show it.

    Until the user moves it, the selection stays on the first row and the list at its top.

    """

    def __init__(self) -> None:
        self.selected: RowId | None = None
        """None: the first row."""
        self._wanted: RowId | None = None
        """The row that the user selected; it is selected again when a command, not an interval, brings it back."""
        self.holder: RowId | None = None
        """The row of the top level that is selected or has the selected one below it; None: the first row."""
        self.apart: frozenset[RowId] = frozenset()
        """The selected row and those above it, down to one that exited processes are folded into."""
        self.following = False
        """True to stay on the selected row wherever a sort, a signal or its end puts it."""
        self._leaving: RowId | None = None
        """The row of a process that was sent a signal: the selection does not follow it to its end."""
        self.path: Path = FIRST
        self.top: Path = FIRST
        self.page = 1
        """Rows in sight at the last redraw."""

    def follow(self, tree: Tree, *, returns: bool = True) -> None:
        """Find the selected row in a new tree; if it is gone, select the row in its place.

        With `returns`, select the row again that the user selected before it was gone.

        """
        if not tree.tops:
            self.path = self.top = FIRST
            return
        if self.selected is None:
            self.path = self.top = FIRST
            return
        path = tree.find(self._wanted) if self._wanted and (returns or self.following) else None
        if path is None:
            path = tree.find(self.selected)
        if path is None or self._has_left(tree, path):
            path = (min(self.path[0], len(tree.tops) - 1),)
        self._put(tree, _shown(tree, path))

    def _has_left(self, tree: Tree, path: Path) -> bool:
        """Return True once, for a process that exited after a signal and is elsewhere in the list now."""
        is_there = path[0] == self.path[0] or not tree.tops[path[0]].exited
        if self.following or is_there or self._leaving != self.holder:
            return False
        self._leaving = self._wanted = None
        return True

    def leave(self) -> None:
        """Stay in place when the selected process exits."""
        self._leaving = self.holder

    def to_top(self, tree: Tree) -> None:
        """Show the top of the list; select the first row if the selected one is not in sight there."""
        if self.following:
            return
        self.top = FIRST
        if all(path != self.path for path, _ in islice(tree.walk(FIRST), self.page)):
            self.home()

    def select(self, tree: Tree, path: Path) -> None:
        """Select a row; stop following another one."""
        before = self.selected
        self._put(tree, path)
        self._wanted = self.selected
        self.following = self.following and before == self.selected

    def select_again(self, tree: Tree, row: RowId | None, *, following: bool) -> None:
        """Select a row, and follow it if it was followed; leave the selection if the row is gone."""
        if row is None:
            self.home()
        elif path := tree.find(row) if tree.tops else None:
            self.select(tree, _shown(tree, path))
            self.following = following

    def toggle_following(self, tree: Tree) -> None:
        """Follow the selected row, or stop."""
        if tree.tops:
            self.select(tree, self.path)
            self.following = not self.following

    def _put(self, tree: Tree, path: Path) -> None:
        self.path = path
        self.selected = tree.row(path).id
        self.holder = tree.tops[path[0]].id
        self.apart = frozenset(_unfolded(tree, path))

    def row(self, tree: Tree) -> Row | None:
        """Return the selected row; None in an empty list."""
        return tree.row(self.path) if tree.tops else None

    def branch(self, tree: Tree) -> Branch | None:
        """Return the selected process or group, or that of the selected remotes; None in an empty list."""
        path = self.path if tree.tops else ()
        rows = (tree.row(path[:depth]) for depth in range(len(path), 0, -1))
        return next((row for row in rows if isinstance(row, Branch) and not row.id.rest), None)

    def move(self, tree: Tree, steps: int) -> None:
        """Move the selection down, or up if `steps` is negative; stop at the ends."""
        if not tree.tops:
            return
        path = self.path
        for _ in range(abs(steps)):
            following = tree.after(path) if steps > 0 else tree.before(path)
            if following is None:
                break
            path = following
        self.select(tree, path)

    def jump(self, tree: Tree, steps: int) -> None:
        """Move to the next process or group, or to the previous one if `steps` is negative."""
        if not tree.tops:
            return
        here = _process_path(tree, self.path)
        if steps > 0:
            row = tree.row(here)
            below = isinstance(row, Branch) and row.process is None
            path = tree.after(here) if below else tree.beyond(here)
        else:
            path = tree.before(here) if here == self.path else here
        if path is not None:
            self.select(tree, _process_path(tree, path))

    def home(self) -> None:
        """Select the first row and stay at the top."""
        self.selected = self._wanted = self.holder = None
        self.apart = frozenset()
        self.following = False
        self.path = self.top = FIRST

    def end(self, tree: Tree) -> None:
        """Select the last row."""
        if tree.tops:
            self.select(tree, tree.last())

    def visible(self, tree: Tree, rows: int) -> list[tuple[Path, Row]]:
        """Return the rows in sight, at most `rows`."""
        self.page = max(rows, 1)
        if not tree.tops or rows <= 0:
            return []
        self.top = _shown(tree, _within(tree, self.top))
        if self.path < self.top:
            self.top = self.path
        found = list(islice(tree.walk(self.top), rows))
        if self.path > found[-1][0]:
            self.top = _up(tree, self.path, rows - 1)
        elif len(found) < rows:
            self.top = _up(tree, found[-1][0], rows - 1)
        return list(islice(tree.walk(self.top), rows))


def scrolled(tree: Tree, shown: Sequence[tuple[Path, Row]], cells: int) -> range:
    """Return the cells of a scroll mark beside the rows in sight; empty if they are all."""
    if not shown or (shown[0][0] == FIRST and tree.after(shown[-1][0]) is None):
        return range(0)
    first, last = _share(tree, shown[0][0]), _share(tree, shown[-1][0])
    start = min(int(first * cells), cells - 1)
    return range(start, max(math.ceil(last * cells), start + 1))


def _share(tree: Tree, path: Path) -> float:
    """Return how far down the list a row is: 0 for the first one, below 1 for the last one."""
    within = 0.0
    if len(path) > 1:
        parent = tree.tops[path[0]]
        within = (path[1] + 1) / (len(tree.children(parent)) + 1)
    return (path[0] + within) / len(tree.tops)


def _unfolded(tree: Tree, path: Path) -> Iterator[RowId]:
    for depth in range(1, len(path) + 1):
        row = tree.row(path[:depth]).id
        yield row
        if row.exited:
            break


def _process_path(tree: Tree, path: Path) -> Path:
    """Return the path of the process that a row belongs to, or its own."""
    for depth in range(1, len(path)):
        row = tree.row(path[:depth])
        if isinstance(row, Branch) and row.process:
            return path[:depth]
    return path


def _within(tree: Tree, path: Path) -> Path:
    """Return the path, or the nearest existing one."""
    path = (min(path[0], len(tree.tops) - 1), *path[1:])
    while len(path) > 1:
        try:
            tree.row(path)
        except IndexError:
            path = path[:-1]
        else:
            break
    return path


def _shown(tree: Tree, path: Path) -> Path:
    """Return the path, or that of the collapsed row which hides it."""
    for depth in range(1, len(path)):
        if not tree.is_expanded(tree.row(path[:depth])):
            return path[:depth]
    return path


def _up(tree: Tree, path: Path, steps: int) -> Path:
    for _ in range(steps):
        before = tree.before(path)
        if before is None:
            break
        path = before
    return path
