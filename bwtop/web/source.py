"""Where what is live comes from, as it changes: probes of our own, another bwtop's history, or nowhere yet."""

from typing import Any, Final

from bwtop.measuring import Measurement

STUCK: Final = 10.0
"""Seconds without an interval that is due, after which something is wrong."""


class Source:
    """Set by the thread that measures, read by all."""

    def __init__(self) -> None:
        self._measurement: Measurement | None = None
        self._why = "starting"

    def set(self, measurement: Measurement) -> None:
        """There will be intervals."""
        self._measurement = measurement

    def lose(self, why: str) -> None:
        """There are none, for this reason."""
        self._measurement = None
        self._why = why

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
        if found is None:
            return {
                "state": "waiting",
                "backend": None,
                "degradations": [],
                "history": "nobody records",
                "warning": self._why,
            }
        status = found.status()
        return {
            "state": "following" if found.following else "measuring",
            "backend": found.backend or None,
            "degradations": list(found.degradations),
            "history": status.words,
            "warning": status.warning,
        }
