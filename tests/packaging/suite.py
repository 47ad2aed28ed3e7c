"""bwtop and its tests in a fresh Debian of another suite, on this machine's kernel: `make test-trixie`.

Python, urwid, humanize, BCC and pytest are those of that suite; nothing comes from elsewhere.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.packaging.debian import Root, made
from tests.packaging.making import copy_of_checkout
from tests.vm.jobs import EXACT, IDENTITY

PACKAGES = (
    *("make", "e2fsprogs", "iproute2", "kmod"),
    *("python3-pytest", "python3-pytest-xdist", "python3-hypothesis", "python3-pyte"),
)
"""Packages that the tests need; `make run` installs those that bwtop needs."""

FOLDERS = ("screen", "output", "view", "text", "options", "sqlite")
"""The tests of what depends most on the versions of Python, urwid and humanize."""

PYTEST = "python3 -m pytest -q -p no:cacheprovider -n 3 --dist loadfile"

STEPS = {
    "make run": "make run ARGS='--batch -n 2 --no-resolve --no-record'",
    "--check": "./bwtop.py --check",
    "kernel tests, tracepoint": f"BWTOP_TEST_BACKEND=tracepoint {PYTEST} {' '.join(EXACT + IDENTITY)}",
    "unit tests": f"{PYTEST} -m 'not kernel and not screen' {' '.join(f'tests/{name}' for name in FOLDERS)}",
}
"""Shell commands, run one after the other in a checkout there."""

CHECKOUT = "/srv/bwtop"
"""A place where other users can read the checkout, too."""


def main(suite: str) -> int:
    """Run all steps; return the exit status."""
    # Ends like Ctrl-C, so that the folder is removed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix=f"bwtop-{suite}-") as folder:
        began = time.monotonic()
        root = made(Path(folder, "root"), suite)
        root.run("apt-get", "install", "-q", "-y", "--no-install-recommends", *PACKAGES)
        copy_of_checkout(root.path / CHECKOUT[1:])
        out(f"{suite}: made in {time.monotonic() - began:.0f} s")
        statuses = [step(root, name, command) for name, command in STEPS.items()]
    return int(any(statuses))


def step(root: Root, name: str, command: str) -> int:
    """Run a step, whose output goes where this program's does; return its exit status."""
    out(f"== {name}")
    began = time.monotonic()
    shell = f"cd {CHECKOUT} && export CI=true && {command}"
    status = subprocess.run(
        root.command("sh", "-c", shell), stdin=subprocess.DEVNULL, check=False
    ).returncode
    out(f"{name}: status {status}, {time.monotonic() - began:.0f} s")
    return status


def out(line: str) -> None:
    """Print a line at once: the reader may be a log."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    assert os.geteuid() == 0, "making a Debian needs root"
    sys.exit(main(sys.argv[1]))
