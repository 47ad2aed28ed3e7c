"""Search: the selection moves to the row whose text contains what is typed; nothing is hidden."""

from collections.abc import Iterator
from itertools import chain, takewhile

from bwtop.model.flows import format_address
from bwtop.tui.keymap import Context
from bwtop.tui.state import Effect, ScreenState
from bwtop.tui.styles import Style
from bwtop.tui.table import names_of
from bwtop.view.rows import Branch, Path, Row
from bwtop.view.tree import Tree


def find(state: ScreenState) -> Effect:
    """Start typing what to search."""
    listing = state.listing
    state.searched_from = listing.path
    state.selected_before = (listing.selected, listing.following)
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
    selected, following = state.selected_before
    state.listing.select_again(state.tree, selected, following=following)
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
    wanted = text.casefold()
    found = _first(state, wanted, start, skip=skip)
    if found:
        state.listing.select(state.tree, found)
    elif not (skip and wanted in _text(state, state.tree.row(start))):
        state.say("no row contains it", Style.WARNING)


def _first(state: ScreenState, wanted: str, start: Path, *, skip: bool) -> Path | None:
    """Return the first listed row that contains a text, from a path on and then from the top; None without one."""
    tree = state.tree
    first = start[0] if start[0] < len(tree.tops) else 0
    rows = chain.from_iterable(
        _with_children(tree, place) for place in _round(first, len(tree.tops))
    )
    late = []
    for path, row in rows:
        if path[0] == first and (path < start or (skip and path == start)):
            late.append((path, row))
        elif wanted in _text(state, row):
            return path
    return next((path for path, row in late if path < start and wanted in _text(state, row)), None)


def _round(first: int, count: int) -> Iterator[int]:
    """Return all places, beginning with one and going on at the top."""
    return chain(range(first, count), range(first))


def _with_children(tree: Tree, place: int) -> Iterator[tuple[Path, Row]]:
    """Yield a row of the top level and the listed rows below it."""
    row = tree.tops[place]
    if tree.is_expanded(row):
        return takewhile(lambda one: one[0][0] == place, tree.walk((place,)))
    return iter([((place,), row)])


def _text(state: ScreenState, row: Row) -> str:
    """Return the text of a row, for comparison: names, address, user and the like."""
    texts = [name.name for name in names_of(state, row)]
    if isinstance(row, Branch):
        of = row.identity  # a shown name is part of the command line or the path
        texts += filter(None, (of.name, of.cmdline, of.exe, of.user, of.unit, of.container))
        texts += filter(None, (of.container_name, of.host and of.host.label, str(row.pid or "")))
    else:
        texts.append(f"{format_address(row.remote.address)}:{row.remote.port}")
    return "\n".join(texts).casefold()
