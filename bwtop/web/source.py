"""Where what is live comes from, as it changes: probes of our own, another bwtop's history, or nowhere."""

from typing import Any, Final

from bwtop.measure.sources import Measurement

STUCK: Final = 10.0
"""Seconds without an interval that is due, after which something is wrong."""

ELSEWHERE: Final = "no live traffic here; run bwtop on a host, or bwtop --from"


class Source:
    """Set by the thread that measures, read by all."""

    def __init__(self, origin: str | None = None) -> None:
        """`origin`: from where the past comes, where that is all there is."""
        self._measurement: Measurement | None = None
        self._why = ELSEWHERE if origin else "starting"
        self._origin = origin

    def set(self, measurement: Measurement) -> None:
        """There will be intervals."""
        self._measurement = measurement

    def lose(self, why: str) -> None:
        """There are none, for this reason."""
        self._measurement = None
        self._why = why

    @property
    def is_past(self) -> bool:
        """Whether there never will be any."""
        return self._origin is not None

    @property
    def is_ours(self) -> bool:
        """Whether this bwtop measures."""
        return self._measurement is not None and not self._measurement.following

    @property
    def why(self) -> str:
        """Why there are no intervals; empty where there are."""
        found = self._measurement
        if found is None:
            return self._why
        return found.status().warning if found.following else ""

    def status(self) -> dict[str, Any]:
        """How it goes, for the page to show."""
        found = self._measurement
        if self._origin is not None:
            return _idle("past", f"history of many hosts, from {self._origin}", "")
        if found is None:
            return _idle("waiting", "nobody records", self._why)
        status = found.status()
        return {
            "state": "following" if found.following else "measuring",
            "backend": found.backend or None,
            "degradations": list(found.degradations),
            "history": status.words,
            "warning": status.warning,
        }


def _idle(state: str, history: str, warning: str) -> dict[str, Any]:
    """A status without intervals."""
    return {
        "state": state,
        "backend": None,
        "degradations": [],
        "history": history,
        "warning": warning,
    }
