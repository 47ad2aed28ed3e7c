"""bwtop without root, and what it keeps while it measures: no more than the kernel demands for reading maps."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bwtop.rights.privileges import CAP_BPF, CAP_PERFMON
from tests.kernel.running import BACKEND, HANG, LAUNCHER, Bwtop, Flow, run, send_datagram

pytestmark = pytest.mark.kernel

SIZE = 1009
CAP_NET_ADMIN = 12
CAP_SYS_RESOURCE = 24
UNPRIVILEGED = Path("/proc/sys/kernel/unprivileged_bpf_disabled")


def with_only(*capabilities: int) -> list[str]:
    """Return what to put before a command that is to be nobody in particular, with these capabilities."""
    held = ",".join(("-all", *(f"+cap_{number}" for number in capabilities)))
    who = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"]
    return [*who, f"--inh-caps={held}", f"--ambient-caps={held}"]


def capabilities_of(pid: int) -> set[int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    masks = {int(line.split()[1], 16) for line in lines if line.startswith(("CapPrm", "CapEff"))}
    (mask,) = masks
    return {bit for bit in range(64) if mask >> bit & 1}


def reads_maps(*capabilities: int) -> bool:
    """Whether this kernel lets a process with these capabilities alone read maps.

    Asked by a call that names none: who may ask at all gets EBADF.
    """
    program = (
        "import ctypes, errno; lib = ctypes.CDLL('libbpf.so.1');"
        " raise SystemExit(lib.bpf_map_lookup_elem(-1, bytes(4), ctypes.create_string_buffer(8)) == -errno.EPERM)"
    )
    return not subprocess.run(
        [*with_only(*capabilities), "/usr/bin/python3", "-c", program], check=False
    ).returncode


def test_it_keeps_only_what_this_kernel_demands() -> None:
    """From 5.19 on nothing, before that CAP_BPF where unprivileged bpf() is off, and before 5.8 CAP_SYS_ADMIN."""
    with Bwtop() as bwtop:
        bwtop.settle()
        kept = capabilities_of(bwtop.process.pid)
    expected: set[int] = set() if reads_maps() else {CAP_BPF}
    assert kept == expected, UNPRIVILEGED.read_text()


@pytest.fixture(scope="module")
def launcher() -> Iterator[str]:
    """Make a copy of the program that everybody may read: this checkout may be closed to others."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        for name in ("bwtop.py", "bwtop", "bpf"):
            source = LAUNCHER.parent / name
            if source.is_dir():
                shutil.copytree(source, Path(folder, name))
            else:
                shutil.copy(source, folder)
        yield f"{folder}/bwtop.py"


def test_bpf_capabilities_are_enough_to_start(launcher: str) -> None:
    """CAP_BPF and CAP_PERFMON to load, CAP_NET_ADMIN for the cgroup; before 5.11 CAP_SYS_RESOURCE for the memory."""
    if BACKEND == "kprobe":
        pytest.skip("events of tracefs are root's: the kernel lets nobody else make them")
    wanted = {CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN, CAP_SYS_RESOURCE}
    capabilities = wanted & capabilities_of(os.getpid())  # a container's root may not have the last
    with Bwtop(prefix=with_only(*capabilities), launcher=launcher) as bwtop:
        status = Path(f"/proc/{bwtop.process.pid}/status").read_text()
        with_socket = run(lambda: send_datagram(9, SIZE))
        flows = bwtop.settled_flows(with_socket)
        kept = capabilities_of(bwtop.process.pid)
    assert "Uid:\t1234\t1234\t1234\t1234" in status
    assert flows == {Flow("udp", "127.0.0.1", 9, "client"): (0, SIZE)}
    assert kept == (set() if reads_maps() else {CAP_BPF})


@pytest.mark.parametrize("capabilities", [(), (CAP_BPF,), (CAP_PERFMON,)])
def test_without_them_one_line_says_what_is_needed(
    launcher: str, capabilities: tuple[int, ...]
) -> None:
    result = subprocess.run(
        [*with_only(*capabilities), "/usr/bin/python3", launcher, "--batch", "--no-record"],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "CAP_BPF and CAP_PERFMON" in result.stderr
