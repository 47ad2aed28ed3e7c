"""The container image: run with the guide's options it measures this machine, in every mode."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.packaging.container import LIMITS, Podman, told
from tests.packaging.modes import MODES, Installed, check_batch, check_screen

pytestmark = pytest.mark.kernel

HOST = told("host")
FEW = (*told("caps"), "--security-opt=seccomp=unconfined")


def installed(podman: Podman, *options: str) -> Installed:
    command = partial(podman.bwtop, options=options)
    return Installed(command, "/var/lib/bwtop/history.db", Path("/"))


@pytest.mark.parametrize("check", MODES, ids=lambda check: check.__name__)
def test_few_capabilities_are_enough(podman: Podman, check: Callable[[Installed], None]) -> None:
    terminal = ("--interactive", "--tty") if check is check_screen else ()
    check(installed(podman, *HOST, *FEW, *terminal))


def test_privileged_needs_no_more(podman: Podman) -> None:
    check_batch(installed(podman, *HOST, "--privileged"))


def test_image_has_no_machine_id(podman: Podman) -> None:
    """Or all hosts that send to one ClickHouse were one."""
    names = podman.run(
        "run", "--rm", "--network=none", *LIMITS, "--entrypoint=ls", "bwtop", "-a", "/etc"
    )
    assert "machine-id" not in names.split()
