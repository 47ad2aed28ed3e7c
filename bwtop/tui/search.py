"""Search: the selection moves to the row whose text contains what is typed; nothing is hidden."""

from collections.abc import Iterator
from itertools import chain, takewhile

from bwtop.model.flows import format_address
from bwtop.tui.keymap import Context
from bwtop.tui.state import Effect, ScreenState
from bwtop.tui.styles import Style
from bwtop.view.naming import shown_name
from bwtop.view.rows import FIRST, Branch, Path, Row


def find(state: ScreenState) -> Effect:
    """Start typing what to search."""
    state.searched_from = state.listing.path
    state.searched = ""
    state.type_in(Context.SEARCH)
    return Effect.DRAW


def next_match(state: ScreenState) -> Effect:
    """Go to the next row that contains the text."""
    _select(state, state.entry.text.strip(), state.listing.path, skip=True)
    return Effect.DRAW


def stop_search(state: ScreenState) -> Effect:
    """Stop typing and stay on the row."""
    state.typed_line()
    state.context = Context.LIST
    return Effect.DRAW


def cancel_search(state: ScreenState) -> Effect:
    """Stop typing and go back to the row before the search."""
    state.context = Context.LIST
    if state.tree.tops and state.searched_from[0] < len(state.tree.tops):
        state.listing.select(state.tree, state.searched_from[:1])
    return Effect.DRAW


def retyped(state: ScreenState) -> None:
    """Go to the first match of the typed text, from where the search began."""
    text = state.entry.text.strip()
    if text != state.searched:
        state.searched = text
        _select(state, text, state.searched_from[:1], skip=False)


def _select(state: ScreenState, text: str, start: Path, *, skip: bool) -> None:
    if not text or not state.tree.tops:
        return
    rows = _from(state, start)
    wanted = text.casefold()
    for path, row in rows:
        if not (skip and path == start) and wanted in _text(row):
            state.listing.select(state.tree, path)
            return
    if not (skip and wanted in _text(state.tree.row(start))):
        state.say("no row contains it", Style.WARNING)


def _from(state: ScreenState, start: Path) -> Iterator[tuple[Path, Row]]:
    """Yield all listed rows, beginning with one, and going on at the top."""
    tree = state.tree
    start = start if start[0] < len(tree.tops) else FIRST
    return chain(tree.walk(start), takewhile(lambda one: one[0] < start, tree.walk(FIRST)))


def _text(row: Row) -> str:
    """Return the text of a row, for comparison: names, address, user and the like."""
    if isinstance(row, Branch):
        of = row.identity
        names = (of.name, shown_name(of), of.cmdline, of.user, of.unit, of.container, row.pid)
        return "\n".join(str(one) for one in names if one is not None).casefold()
    address = format_address(row.remote.address)
    return f"{address}:{row.remote.port} {row.host or ''}".casefold()
