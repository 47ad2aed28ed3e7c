"""The current source of live intervals: own probes, the history of another bwtop, or none."""

from typing import Any, Final

from bwtop.identity.names import Names
from bwtop.measure.intervals import with_trouble
from bwtop.measure.sources import Measurement

STUCK: Final = 10.0
"""Seconds after which an overdue interval is an error."""

ELSEWHERE: Final = "no live traffic here; run bwtop on a host, or bwtop --from"


class LiveSource:
    """The source; set by the measuring thread, read by all."""

    def __init__(self, origin: str | None = None, names: Names | None = None) -> None:
        """Start without a measurement; `origin` is the URL of the history if only that is served."""
        self._names = names
        self._measurement: Measurement | None = None
        self._why = ELSEWHERE if origin else "starting"
        self._origin = origin

    def set(self, measurement: Measurement) -> None:
        """Set the measurement that delivers intervals."""
        self._measurement = measurement

    def lose(self, why: str) -> None:
        """Note that no intervals come, and why."""
        self._measurement = None
        self._why = why

    @property
    def is_past(self) -> bool:
        """Return True if only the history is served."""
        return self._origin is not None

    @property
    def is_ours(self) -> bool:
        """Return True if this bwtop measures."""
        found = self._measurement  # other threads may lose it meanwhile
        return found is not None and not found.following

    @property
    def why(self) -> str:
        """Return the reason for missing intervals; empty while they come."""
        found = self._measurement
        return self._why if found is None else found.why

    def status(self) -> dict[str, Any]:
        """Return the status for the page."""
        found = self._measurement
        if self._origin is not None:
            return _idle("past", f"history of many hosts, from {self._origin}", "")
        if found is None:
            return _idle("waiting", "no bwtop records", self._why)
        status = with_trouble(found.status, self._names)()
        return {
            "state": "following" if found.following else "measuring",
            "backend": found.backend or None,
            "degradations": list(found.degradations),
            "history": status.words,
            "warning": status.warning,
        }


def _idle(state: str, history: str, warning: str) -> dict[str, Any]:
    """Return a status without intervals."""
    return {
        "state": state,
        "backend": None,
        "degradations": [],
        "history": history,
        "warning": warning,
    }
