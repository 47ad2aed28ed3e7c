"""What a running measurement reads of the kernel beside its maps."""

import os
from pathlib import Path

import pytest

from bwtop.capture import kprobes
from bwtop.capture.session import Capture


def lasting(symbols: str) -> list[str]:
    """Without those of modules and BPF programs, which come and go."""
    return [line for line in symbols.splitlines() if "[" not in line]


def test_counts_of_missed_probes_are_read_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives such a file a page at a time, and a second bwtop's probes are on the second."""
    seen = []

    def missed(profile: str, prefix: str) -> int:
        seen.append((profile, prefix))
        return 7

    monkeypatch.setattr(kprobes, "missed", missed)
    symbols = Path("/proc/kallsyms")  # made as kprobe_profile is, and as long as one likes
    capture = Capture.__new__(Capture)
    capture.programs = []
    capture._events = "bwtop_17_"
    capture._profile = os.open(symbols, os.O_RDONLY)
    try:
        assert [capture._missed_events() for _ in range(2)] == [7, 7]
    finally:
        os.close(capture._profile)
    expected = lasting(symbols.read_text())
    for profile, prefix in seen:
        assert prefix == "bwtop_17_"
        assert len(profile) > 4096, "all of it, not a page"
        assert lasting(profile) == expected
