"""The settings of the view. Free of urwid, so that flags can be parsed before urwid is loaded."""

from dataclasses import dataclass, field

from bwtop.model.conditions import Loopback
from bwtop.model.geography import current
from bwtop.model.ledger import CLASSES
from bwtop.model.live import AVERAGES
from bwtop.tui.layout import FIELDS, ListColumn, Placed, place
from bwtop.view.grouping import Grouping
from bwtop.view.order import Order


@dataclass
class Settings:
    """The settings of the view: initially those of the flags, then changed by keys."""

    classes: frozenset[str] = frozenset(CLASSES)
    loopback: Loopback = Loopback.SHOW
    filter: str = ""
    grouping: Grouping = Grouping.PROCESS
    order: Order = field(default_factory=Order)
    bits: bool = False
    names: bool = True
    cmdlines: bool = False
    interval: float = 1.0
    """Seconds."""
    average: float = AVERAGES[0]
    """Seconds over which rates are averaged."""
    mouse: bool = True
    """True if bwtop takes clicks; else the terminal does, to select text."""
    fold_exited: bool = True
    """True to show exited processes as one row."""
    join_loopback: bool = False
    """True to show both ends of loopback traffic as one row."""
    graphs: bool = True
    """True to show graphs in the header and the details."""
    theme: str | None = None
    """None: that for the terminal's background."""
    fields: tuple[ListColumn, ...] = FIELDS
    """The columns of the list, from left to right."""

    def placed(
        self, columns: int, before: tuple[ListColumn, ...] = (), *, grouped: bool = False
    ) -> list[Placed]:
        """Return the columns of the list that fit a number of cells, preceded by `before`; only those of groups if grouped."""
        known = current()
        unknown = {"asn": not known.has_asn, "country": not known.has_country}
        fields = (*before, *(field for field in self.fields if not unknown.get(field.id)))
        if grouped:
            fields = tuple(field for field in fields if field.cell.groups or not field.is_text)
        return place(fields, columns, wide=self.cmdlines)
