"""The selected row of the list and the rows in sight."""

from itertools import islice

from bwtop.view.rows import FIRST, Path, Row, RowId
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
        path = tree.find(self._wanted) if self._wanted and returns else None
        if path is None:
            path = tree.find(self.selected)
        if path is None:
            path = (min(self.path[0], len(tree.tops) - 1),)
        self._put(tree, _shown(tree, path))

    def select(self, tree: Tree, path: Path) -> None:
        """Select a row."""
        self._put(tree, path)
        self._wanted = self.selected

    def _put(self, tree: Tree, path: Path) -> None:
        self.path = path
        self.selected = tree.row(path).id
        self.holder = tree.tops[path[0]].id

    def row(self, tree: Tree) -> Row | None:
        """Return the selected row; None in an empty list."""
        return tree.row(self.path) if tree.tops else None

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

    def home(self) -> None:
        """Select the first row and stay at the top."""
        self.selected = self._wanted = self.holder = None
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
