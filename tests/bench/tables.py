"""Parts that all benchmarks share: the effort that is asked for, and the tables of their figures."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20


@dataclass(frozen=True)
class Effort:
    """The effort for a figure; `quick` shows that all works, and its figures say little."""

    quick: bool = False
    beside: Path | None = None
    """Another checkout, whose bwtop is measured in the same run."""

    def rounds(self, full: int) -> int:
        """Return how often to measure each thing, in turn with the others."""
        return 3 if self.quick else full


@dataclass(frozen=True)
class Table:
    """Figures as text, with a sentence on how they were made."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        """Return the table as Markdown that is legible on a terminal; the first column to the left, the others to the right."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[n]) for line in lines) for n in range(len(self.columns))]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        body = [_line(line, widths) for line in (self.columns, rule, *self.rows)]
        note = ["", self.note] if self.note else []
        return "\n".join([f"### {self.title}", "", *body, *note, ""])


Part = Callable[[Effort], Iterator[Table]]
"""A benchmark: it measures, and yields its tables one by one."""


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.rjust(width) if n else cell.ljust(width)
        for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *others])} |"


def middle(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median with the quartiles behind it."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
