"""Root runs bwtop from a user's checkout: it leaves nothing of root's there."""

import subprocess

import pytest

from tests.attacks.stage import BATCH, CHECKOUT, Stage

pytestmark = pytest.mark.kernel

PARTS = ("bwtop.py", "bwtop", "bpf")


@pytest.fixture
def checkout(stage: Stage) -> str:
    """Return a checkout that belongs to ada and was never run."""
    place = "/home/ada/checkout"
    stage.shell("ada", f"mkdir {place}")
    tar = ["tar", "-C", str(CHECKOUT), "--exclude=__pycache__", "-c", *PARTS]
    packed = subprocess.run(tar, stdout=subprocess.PIPE, check=True).stdout
    stage.path(f"{place}.tar").write_bytes(packed)
    stage.shell("root", f"tar -C {place} -xf {place}.tar && chown -R ada:ada {place}*")
    return place


@pytest.mark.parametrize("sudo", [True, False], ids=["sudo", "root"])
def test_nothing_of_root_s_is_left(stage: Stage, checkout: str, sudo: bool) -> None:
    """Found: __pycache__, which its owner could not remove."""
    stage.allow(f"{checkout}/bwtop.py")
    with stage.unchanged("/home/ada", free=("/root",)):
        if sudo:
            result = stage.run("ada", "sudo", "-n", f"{checkout}/bwtop.py", *BATCH)
        else:
            result = stage.run("root", f"{checkout}/bwtop.py", *BATCH)
    assert "Traceback" not in result.stderr
    stage.shell("ada", f"rm -rf {checkout} && ! test -e {checkout}")
