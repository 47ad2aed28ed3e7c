"""The stage: its users are ordinary ones, it sees every trace, and leaves none on this machine."""

from pathlib import Path

import pytest

from tests.attacks.layers import entry
from tests.attacks.stage import BATCH, SECRET, Stage

pytestmark = pytest.mark.kernel

DEEDS = {
    "touch /etc/sudoers.d/zz": "/etc/sudoers.d/zz was made",
    "ln -s /etc/shadow /var/tmp/zz": "/var/tmp/zz was made",
    "echo x >> /etc/passwd": "/etc/passwd was changed",
    "chmod 640 /etc/hosts": "/etc/hosts was changed",
    "chown ada /etc/group": "/etc/group was changed",
    "exec 3<> /etc/login.defs": "/etc/login.defs was opened for writing",
    "rm -r /home/bob": "/home/bob was removed",
    "touch /home/ada/zz": "/home/ada/zz is root's now",
}
"""root's commands, and the changes that the stage reports."""


def test_ada_is_an_ordinary_user(stage: Stage) -> None:
    assert stage.shell("ada", "id -un; id -Gn; pwd").split() == ["ada", "ada", "crew", "/home/ada"]
    for secret in ("/etc/shadow", "/root/secret", "/home/bob/private"):
        assert "Permission denied" in stage.run("ada", "cat", secret).stderr
    assert SECRET in stage.shell("root", "cat /etc/shadow")
    for command in (("bwtop", *BATCH, "--db", "/etc/passwd"), ("id",)):
        assert "a password is required" in stage.run("ada", "sudo", "-n", *command).stderr


def test_every_change_is_seen(stage: Stage) -> None:
    with stage.unchanged("/home/ada", "/tmp"):
        stage.shell("ada", "touch x /tmp/zz-of-ada; rm made.db; ls /root || cat /etc/passwd")
    for deed, told in DEEDS.items():
        with pytest.raises(AssertionError) as failure, stage.unchanged("/home/ada"):
            stage.shell("root", deed)
        assert told in str(failure.value)
    for name in ("etc/sudoers.d/zz", "var/tmp/zz", "home/ada"):
        assert entry(Path("/", name)) is None
