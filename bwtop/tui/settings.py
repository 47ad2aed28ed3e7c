"""How the model is looked at.  It imports nothing of urwid, so that flags can be read before that is there."""

from dataclasses import dataclass, field

from bwtop.model.filter import Loopback
from bwtop.model.ledger import CLASSES
from bwtop.model.live import AVERAGES
from bwtop.tui.layout import FIELDS, Field, Placed, place
from bwtop.view.columns import Order
from bwtop.view.tree import Grouping


@dataclass
class Settings:
    """How the model is looked at: what the flags say first, and then the keys."""

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
    """Seconds that rates are averaged over."""
    fields: tuple[Field, ...] = FIELDS
    """The columns of the list, from left to right."""

    def placed(self, columns: int, before: tuple[Field, ...] = ()) -> list[Placed]:
        """The columns of the list that fit into so many cells, with others before them."""
        return place((*before, *self.fields), columns, wide=self.cmdlines)
