"""The state of the full screen: the model, the settings of the view, and the open dialogs."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bwtop.measure.intervals import NameLookup, Status
from bwtop.model.conditions import FilterError, Loopback
from bwtop.model.conversations import Peers
from bwtop.model.filter import EVERYTHING, FilterField
from bwtop.model.filter_fields import FIELDS, HOST, toggled
from bwtop.model.flows import Identity, ProcessKey
from bwtop.model.ledger import CLASSES
from bwtop.model.live import LiveModel
from bwtop.model.remote_names import RemoteNames
from bwtop.model.sample import Sample
from bwtop.model.typed import parse
from bwtop.tui.entry import TypedLine, remember
from bwtop.tui.glyphs import UNICODE, Glyphs
from bwtop.tui.keymap import Context, Keymap
from bwtop.tui.layout import HOST_FIELD, ListColumn, Placed, inner
from bwtop.tui.listing import Listing
from bwtop.tui.past import Past, ShownHistory
from bwtop.tui.settings import Settings
from bwtop.tui.signals import SignalTarget
from bwtop.tui.styles import Style
from bwtop.view.filtered import FilteredTimeline
from bwtop.view.grouping import OF_FLEETS, Grouping, groupings
from bwtop.view.rows import FIRST, Expansion, Path, RowId
from bwtop.view.tree import Tree, View

if TYPE_CHECKING:
    from bwtop.tui.details import DetailsPage
    from bwtop.tui.export import Exporter
    from bwtop.tui.setup import SetupPage

T = TypeVar("T")

CALM: Final = 1.0
"""Seconds after a key press for which rows keep their places."""

MESSAGE_SECONDS: Final = 5.0

FIRST_REMOTES: Final = 20
"""Remotes of an open process; the others are below one more row."""

LARGE: Final = 10_000
"""Flows from which rows are made in the background: some 10 ms of work."""

Background = Callable[[Callable[[], Any], Callable[[Any], None]], None]
"""Call the first in another thread, then the second in this one with the result."""


def _at_once(make: Callable[[], Any], take: Callable[[Any], None]) -> None:
    """Call both in this thread; see Background."""
    take(make())


class Effect(Enum):
    """The work that a command makes necessary."""

    DRAW = auto()
    SORT = auto()
    BUILD = auto()
    REPAINT = auto()
    """After another program wrote to the terminal."""
    QUIT = auto()


@dataclass
class Chooser:
    """A list to choose one line from."""

    title: str
    lines: Sequence[str]
    index: int
    take: "Callable[[ScreenState, int], Effect]"


@dataclass
class Question:
    """A question; the action runs only after a yes."""

    before: str
    name: str
    """The part that may be shortened."""
    after: str
    confirm: "Callable[[ScreenState], Effect]"
    asked: float
    """Time of the question, by `ScreenState.now`."""
    lines: Sequence[str] = ()
    """Its subject, shown beside the list."""


class ScreenState:
    """The state of the full screen. Commands change it; the screen draws it."""

    def __init__(
        self,
        host: str,
        keymap: Keymap,
        settings: Settings | None = None,
        glyphs: Glyphs = UNICODE,
        now: Callable[[], float] = time.monotonic,
        origin: str = "",
    ) -> None:
        self.host = origin or host
        self.is_fleet = bool(origin)
        """True if rows come from several hosts, through a database at `origin`."""
        self.keymap = keymap.of_fleet() if origin else keymap
        self.settings = settings or Settings()
        if self.settings.grouping not in groupings(fleet=self.is_fleet):
            # Meant for several hosts or with a database; here it would be one row.
            self.settings.grouping = Grouping.PROCESS
        self.glyphs = glyphs
        self.now = now
        self.live = LiveModel()
        """The running measurement, also while the past is shown."""
        self.live.set_average(self.settings.average)
        self.history = ShownHistory(self._warn, self._show_moment)
        self.copy: Callable[[str], None] = lambda _: None
        """Puts a text into the clipboard of the terminal."""
        self.measured_until = 0.0
        """UTC seconds of the end of the last interval."""
        self.held = 0.0
        """UTC seconds of the moment that a pause holds."""
        self.phase = ("connecting" if origin else "attaching the probes") + glyphs.dots
        """The step before the first measurement; empty afterwards."""
        self.backend = ""
        self.degradations: list[str] = []
        self.passed_over: list[str] = []
        """Better backends that were refused, with the reasons."""
        self.status: Callable[[], Status] = lambda: Status("not recording")
        self.typed = EVERYTHING
        """The filter of the typed text."""
        self.filter_error = ""
        self.filtered = FilteredTimeline()
        """The traffic that the typed filter passes."""
        self.expansion = Expansion()
        self.listing = Listing()
        self.context = Context.LIST
        self.details = False
        """True if the details are open, below the list or as a page."""
        self.page: DetailsPage | None = None
        """The details as a page."""
        self.columns = 80
        """Cells of a line at the last redraw."""
        self.chooser: Chooser | None = None
        self.question: Question | None = None
        self.tags: dict[ProcessKey, SignalTarget] = {}
        """Tagged processes."""
        self.help_top = 0
        self.entry = TypedLine()
        """The line being typed."""
        self.spike_time = 0.0
        """UTC seconds of the spike that is chosen in the graph."""
        self.searched = ""
        """The text whose match is selected."""
        self.searched_from: Path = FIRST
        """The place of the row selected before the search."""
        self.selected_before: tuple[RowId | None, bool] = (None, False)
        """That row, and whether the selection followed it."""
        self._typed_lines: dict[Context, list[str]] = {}
        """The lines typed before, by what they were typed for."""
        self.last_key = -CALM
        self.last_enter: tuple[RowId | None, float] = (None, 0.0)
        """The row of the last Enter, and its time."""
        self._live_names = RemoteNames(is_wanted=lambda: self.settings.names)
        self._past_names = self._live_names
        self._peers: Callable[[], Peers] = dict
        self._message: tuple[str, Style, float] | None = None
        self._sort_later = False
        self._build_again = False
        self._returns = False
        """True if a command asked for the rows that are made."""
        self._changes: list[Callable[[LiveModel], None]] = []
        self.paused = False
        self.is_building = False
        self._is_held = False
        """True while the rows are read in the background; see hold()."""
        self._sort_again = False
        """True if a command asked to sort rows that are held."""
        self.in_background: Background | None = None
        """Makes trees of large models in a background thread; None: they are made in this thread."""
        self.setup: SetupPage | None = None
        self.use_theme: Callable[[str | None], None] = lambda _: None
        """Makes the terminal draw in a theme; None: in that for its background."""
        self.use_mouse: Callable[[bool], None] = lambda _: None
        """Makes the terminal report clicks, or keep them."""
        self.save_settings: Callable[[Mapping[str, Any]], str] | None = None
        """Saves settings in the user's file and returns its name; raises OSError and ValueError. None: cannot save."""
        self.exporter: Exporter | None = None
        """Writes files; None: no file can be written."""
        self.filter(self.settings.filter)
        self.tree = Tree(self.model, self._view(), self.expansion, self.names)

    # Updates from the measurement.

    def attached(
        self,
        backend: str,
        degradations: Sequence[str],
        names: NameLookup | None = None,
        status: Callable[[], Status] | None = None,
        passed_over: Sequence[str] = (),
        peers: Callable[[], Peers] = dict,
    ) -> None:
        """Start with readings from local probes or, without a backend, from the history of another recorder."""
        if names:
            self._live_names.reverse = names.get
        self._peers = peers
        self.status = status or self.status
        self.backend = backend
        self.degradations = list(degradations)
        self.passed_over = list(passed_over)
        self.phase = ""

    def advance(self, sample: Sample) -> None:
        """Add an interval. Rows keep their places while the user presses keys."""
        self.measured_until = sample.time.timestamp()
        self._live_names.advance(sample)
        self.change(lambda model: model.advance(sample))
        if not self.paused and not self.past:
            self.build(calm=True)

    def change(self, action: Callable[[LiveModel], None]) -> None:
        """Change the live model: at once, or when the background has made its rows."""
        self._changes.append(action)
        if not self.is_building:
            self._change()

    def _change(self) -> None:
        for action in self._changes:
            action(self.live)
        self._changes.clear()

    def catch_up(self) -> None:
        """Sort rows that were left unsorted, once the user presses no keys."""
        if self.seconds_to_calm() == 0:
            self.sort()

    def seconds_to_calm(self) -> float | None:
        """Return the seconds until `catch_up` has work; None: it has none."""
        if not self._sort_later or self.paused or self._is_held:
            return None
        return max(self.last_key + CALM - self.now(), 0.0)

    def _is_busy(self) -> bool:
        return self.now() - self.last_key < CALM

    # The past.

    @property
    def past(self) -> Past | None:
        """The moment of the past that is shown; None: now."""
        return self.history.shown

    @property
    def model(self) -> LiveModel:
        """The model that is shown: live, or of a moment of the past."""
        return self.past.model if self.past else self.live

    @property
    def names(self) -> RemoteNames:
        """The names of remotes in what is shown: those known now, or those recorded of a moment of the past."""
        return self._past_names if self.past else self._live_names

    @property
    def shown_until(self) -> float:
        """UTC seconds of the end of what is shown: of a past moment, of a pause, or of the last interval."""
        if self.past:
            return min(self.past.moment.end, time.time())  # the end of today has not come
        return self.held if self.paused else self.measured_until

    def _show_moment(self) -> None:
        """Show another moment of the past, or now."""
        if self.past:
            self._past_names = self._live_names.of_past(self.past.moment.samples[-1].named)
        self.build()

    # Functions for commands.

    def apply(self, effect: Effect) -> None:
        """Update rows after a command."""
        if effect is Effect.BUILD:
            self.build()
        elif effect is Effect.SORT:
            self._sort_again = self._is_held
            if not self._is_held:
                self.sort()
                self.listing.to_top(self.tree)

    def build(self, *, calm: bool = False) -> None:
        """Make the rows anew; with `calm`, and a recent key press, keep their order.

        Rows of a large model are made in the background while the old ones stay on the screen.

        """
        self._returns |= not calm
        if self.is_building:
            self._build_again = True
            return
        model, view, names = self.model, self._view(), self.names
        before = self.tree if calm and self._is_busy() else None
        self._sort_later = before is not None

        def make() -> Tree:
            tree = Tree(model, view, self.expansion, names)
            tree.sort(before)
            return tree

        work = model.size() * (1 + len(view.filter.terms))
        if self.in_background and work > LARGE:
            self.is_building = True
            self.in_background(make, self._built)
        else:
            self._show(make())

    def _built(self, tree: Tree) -> None:
        """Take a tree from the background."""
        self._show(tree)
        self._release()

    def hold(self, make: Callable[[], T], take: Callable[[T], None]) -> bool:
        """Make something of the rows in the background; until then they stay as they are.

        Return False if others are being made.
        """
        if self.is_building:
            return False

        def made(result: T) -> None:
            self._release()
            take(result)

        self.is_building = self._is_held = True
        self.in_thread(make, made)
        return True

    @property
    def in_thread(self) -> Background:
        """Run something in the background, or at once without one."""
        return self.in_background or _at_once

    def _release(self) -> None:
        """Apply what waited for the background."""
        self.is_building = self._is_held = False
        if self._sort_again:
            self.apply(Effect.SORT)
        if self._changes or self._build_again:
            self._build_again = False
            self._change()
            self.build(calm=True)

    def _show(self, tree: Tree) -> None:
        if tree.order != self.settings.order:  # changed during the build
            tree.reorder(self.settings.order, self.listing.apart, self.listing.selected)
        self.tree = tree
        self.listing.follow(tree, returns=self._returns)
        self._returns = self._returns and self._build_again
        if tree.filter.terms:
            self.filtered.update(tree)

    def sort(self) -> None:
        """Sort the existing rows."""
        self._sort_later = False
        self.tree.reorder(self.settings.order, self.listing.apart, self.listing.selected)
        self.listing.follow(self.tree)

    def _view(self) -> View:
        toggles = toggled(self.settings.classes, self.settings.loopback)
        settings = self.settings
        return View(
            toggles,
            self.typed,
            settings.grouping,
            settings.order,
            living_first=True,
            peers=self._peers(),
            fold=settings.fold_exited,
            join=settings.join_loopback,
            apart=self.listing.apart,
            selected=self.listing.selected,
            first_remotes=FIRST_REMOTES,
        )

    @property
    def fields(self) -> tuple[ListColumn, ...]:
        """All possible columns of the list, from left to right."""
        return (HOST_FIELD, *self.settings.fields) if self.is_fleet else self.settings.fields

    def placed(self, columns: int) -> list[Placed]:
        """Return the columns of the list that fit the cells; no host column where rows are hosts."""
        grouping = self.tree.grouping
        names_host = self.is_fleet and grouping not in OF_FLEETS
        before = (HOST_FIELD,) if names_host else ()
        return self.settings.placed(
            inner(columns), before, grouped=grouping is not Grouping.PROCESS
        )

    @property
    def filter_fields(self) -> tuple[FilterField, ...]:
        """The fields that a filter may use."""
        return (*FIELDS, HOST) if self.is_fleet else FIELDS

    def is_here(self, identity: Identity) -> bool:
        """Return True if a process runs here and now, where /proc and signals reach it."""
        return not self.is_fleet and identity.host is None and self.past is None

    def filter(self, text: str) -> None:
        """Filter by the typed text; on an error keep the previous filter."""
        self.settings.filter = text
        try:
            self.typed = parse(text, self.filter_fields)
            self.filter_error = ""
        except FilterError as error:
            self.filter_error = str(error)

    @property
    def is_partial(self) -> bool:
        """True if a filter or a toggle hides anything."""
        settings = self.settings
        shown = (settings.classes, settings.loopback)
        return bool(settings.filter) or shown != (frozenset(CLASSES), Loopback.SHOW)

    def type_in(self, context: Context, text: str = "") -> None:
        """Begin to type a line."""
        self.context = context
        self.entry.begin(text, tuple(self._typed_lines.get(context, ())))

    def typed_line(self) -> str:
        """Return the typed line without blanks around it, and remember it."""
        text = self.entry.text.strip()
        remember(self._typed_lines.setdefault(self.context, []), text)
        return text

    def say(self, text: str, style: Style = Style.VALUE) -> None:
        """Show a message for some seconds, or until the next one."""
        self._message = (text, style, self.now() + MESSAGE_SECONDS)

    def _warn(self, text: str) -> None:
        self.say(text, Style.WARNING)

    @property
    def message(self) -> tuple[str, Style] | None:
        """The last message while it is new, or None."""
        if self._message is None or self.now() > self._message[2]:
            return None
        return self._message[:2]
