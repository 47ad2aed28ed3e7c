"""Kernels and machines where a backend does not work: one line says why, and what it needs."""

import subprocess
import sys

import pytest

from tests.kernel.running import HANG, LAUNCHER, command

pytestmark = pytest.mark.kernel

WITHOUT_BCC = f"""
import sys
sys.path.insert(0, {str(LAUNCHER.parent)!r})
sys.modules["bcc"] = None
import bwtop.cli
bwtop.cli.main(sys.argv[1:])
"""


def refused(*start: str, backend: str) -> str:
    """Return the one line with which a bwtop ends that may use this backend only."""
    once = ("--batch", "-n", "1", "--no-record", "--no-resolve", "--no-cache")
    result = subprocess.run(
        [*start, "--backend", backend, *once],
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_kprobe_is_refused_on_unknown_machines() -> None:
    line = refused("setarch", "linux32", *command(), backend="kprobe")
    assert "kprobe: bwtop does not know the registers of " in line
    assert "; it needs kernel 4.20 or newer for x86-64 or arm64" in line


def test_kernel_that_cannot_attach_is_found_out_before_compiling() -> None:
    """arm64 before 6.4 loads programs for functions, and does not attach them."""
    line = refused(sys.executable, "-c", WITHOUT_BCC, backend="fexit")
    if "ENOTSUPP" not in line:
        pytest.skip("this kernel attaches programs to functions, or does not load them")
    assert "fexit tcp_sendmsg: ENOTSUPP (this kernel does not support it on this machine)" in line
    assert "; it needs kernel 5.5 or newer (arm64: 6.4)" in line
