"""The kernel's mode of preemption, and which backend it makes the first."""

from pathlib import Path

import pytest

from bwtop.capture import preemption
from bwtop.capture.backends import BACKENDS, in_order


@pytest.mark.parametrize(
    ("version", "chosen", "mode", "first"),
    [
        ("#1 SMP Debian 5.10.234-1 (2025-02-24)", None, "voluntary", "tracepoint"),
        ("#1 SMP PREEMPT Debian 6.1.1-1", None, "full", "fexit"),
        ("#1 SMP PREEMPT_RT Debian 6.1.1-1", None, "real-time", "fexit"),
        ("#1 SMP PREEMPT_LAZY Debian 7.2-1", None, "lazy", "fexit"),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.12-1", "none (voluntary) full \n", "voluntary", "tracepoint"),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.12-1", "(none) voluntary full\n", "none", "tracepoint"),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.12-1", "none voluntary (full)\n", "full", "fexit"),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.12-1", "garbage", "unknown", "fexit"),
        ("#1 SMP PREEMPT_DYNAMIC Debian 6.12-1", None, "unknown", "fexit"),
    ],
)  # fmt: skip
def test_backend_that_costs_least_comes_first_where_nothing_is_interrupted(
    tmp_path: Path, version: str, chosen: str | None, mode: str, first: str
) -> None:
    file = tmp_path / "preempt"
    if chosen is not None:
        file.write_text(chosen)
    found = preemption.mode(version, file)
    assert found == mode
    ordered = in_order(found)
    assert ordered[0].name == first
    assert ordered[-1].name == "kprobe"
    assert {backend.name for backend in ordered} == {backend.name for backend in BACKENDS}
    layers = {backend.name for backend in ordered if backend.has_one_layer}
    assert layers == (set() if first == "fexit" else {"fexit", "kprobe"})
