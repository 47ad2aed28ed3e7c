"""Reading of counters, on the running kernel; tests/kernel/test_ids.py takes ids away while bytes move."""

import pytest

from bwtop.capture import libbpf
from bwtop.capture.counters import IDLE, IDS_PER_BLOCK
from tests.kernel.running import capturing, run, send_datagram, sent, sink

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("is_mapped", [True, False])
def test_flows_are_read_and_rest(is_mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on kernels that map no arrays into memory (before 5.5), where each flow is read by itself."""
    if not is_mapped:
        monkeypatch.setattr(libbpf, "can_be_mapped", lambda: False)
    flows = 3 * IDS_PER_BLOCK
    with sink() as port, capturing(flows=flows, processes=1024) as capture:
        for size in (101, 103):
            pid = run(lambda size=size: send_datagram(port, size))  # type: ignore[misc]
            samples = [capture.read()]
            before = capture.fill.entries
            samples += [capture.read() for _ in range(2 * IDLE)]
            assert sent(samples, pid) == size
            assert capture.fill.entries < before
        assert capture.fill.room == 2 * flows
