"""What came of trying a backend on this kernel."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bwtop.capture import libbpf
from bwtop.capture.backends import ABSENT, Backend, Probe
from bwtop.capture.btf import MissingFieldError


@dataclass
class Attempt:
    """The result of trying one backend."""

    backend: Backend
    refusal: str = ""
    """The reason why it cannot be used; empty if it can."""
    probes: dict[str, str] = field(default_factory=dict)
    """By target: the kernel's reason for refusing it; empty if it is attached."""
    notes: list[str] = field(default_factory=list)
    """Other limitations, as texts for the user."""
    maps: list[int] = field(default_factory=list)
    programs: list[int] = field(default_factory=list)
    links: list[int] = field(default_factory=list)
    profile: int | None = None
    """Descriptor of the kernel's counts of missed kprobes."""
    cast: int = 0
    """The BTF id of bpf_rdonly_cast(); 0: programs do not call it."""
    events: str = ""
    """The prefix of the names of its kprobes."""
    start: str = ""
    """The origin of the programs, as a text for the user: the cache, or the compiler and why."""
    names: Sequence[str] = ()
    """The compiler's arguments for programs that listen for names of remotes; empty: they do not."""
    since: float = 0
    """When counting started, in seconds of the monotonic clock."""

    def refuse(self, probe: Probe, error: Exception) -> None:
        """Record why a probe is refused, and refuse the backend if it needs that probe."""
        if isinstance(error, MissingFieldError):
            self.probes[probe.target] = ABSENT if probe.may_be_absent else "this kernel has none"
        elif isinstance(error, OSError) and error.errno:
            self.probes[probe.target] = libbpf.error_text(error.errno)
        else:
            self.probes[probe.target] = str(error)
        if not probe.without and self.probes[probe.target] != ABSENT:
            self.refusal = f"{probe.kind} {probe.target}: {self.probes[probe.target]}"

    def refused(self) -> set[str]:
        """Return the targets of refused probes."""
        return {target for target, reason in self.probes.items() if reason}

    def is_to_be_tried(self, probe: Probe) -> bool:
        """Return True if the probe is not refused."""
        return not self.probes.get(probe.target)

    def descriptors(self) -> list[int]:
        """Return the descriptors to send: maps, programs, the profile if any, links."""
        profile = [] if self.profile is None else [self.profile]
        return [*self.maps, *self.programs, *profile, *self.links]

    def description(self) -> dict[str, Any]:
        """Return the message that goes with the descriptors, for session.Report.from_json()."""
        return {
            "backend": self.backend.name,
            "one layer": self.backend.has_one_layer,
            "refusal": self.refusal,
            "probes": self.probes,
            "notes": self.notes,
            "programs": len(self.programs),
            "events": self.events,
            "start": self.start,
            "names": bool(self.names),
        }
