"""Curves on logarithmic axes, as a picture.  Matplotlib is imported when there is something to draw: tests do without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from math import log
from pathlib import Path
from typing import Any, Final

_SETTINGS: Final = {"svg.hashsalt": "bwtop", "svg.fonttype": "none", "font.size": 9}
"""The same figures make the same picture; text stays text."""


@dataclass(frozen=True)
class Curve:
    """What something costs against its size; `size` ascends."""

    name: str
    sizes: Sequence[float]
    costs: Sequence[float]
    begin: float = 0.0
    """The size from which on a slope means something: below it what is the same for all sizes is most of the cost."""
    wanted: str = ""
    """What the slope should be, in words."""

    @property
    def slope(self) -> float:
        """Of a straight line through the logarithms: 1 is linear, 0 is flat."""
        points = [
            (log(s), log(c)) for s, c in zip(self.sizes, self.costs, strict=True) if s >= self.begin
        ]
        x = sum(x for x, _ in points) / len(points)
        y = sum(y for _, y in points) / len(points)
        return sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)


@dataclass(frozen=True)
class Panel:
    """Curves over the same axis."""

    title: str
    across: str
    up: str
    curves: Sequence[Curve]


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Writes them beside each other, as SVG."""
    matplotlib: Any = import_module("matplotlib")
    with matplotlib.rc_context(_SETTINGS):
        figure: Any = import_module("matplotlib.figure").Figure(
            figsize=(4.4 * len(panels), 4.2), layout="constrained"
        )
        for axes, panel in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            _draw(axes, panel)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw(axes: Any, panel: Panel) -> None:
    for curve, marker in zip(panel.curves, "os^Dvx", strict=False):
        label = f"{curve.name}: slope {curve.slope:.2f}"
        axes.loglog(curve.sizes, curve.costs, marker=marker, markersize=4, label=label)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.across)
    axes.set_ylabel(panel.up)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=7.5)
