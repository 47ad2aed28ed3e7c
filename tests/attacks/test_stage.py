"""The stage itself: that its users are what they seem, and that it sees what an attack would leave."""

from pathlib import Path

import pytest

from tests.attacks.layers import entry
from tests.attacks.stage import BATCH, SECRET, Stage

pytestmark = pytest.mark.kernel

HISTORY = "/home/ada/.local/state/bwtop"


def test_sudo_allows_the_fixed_arguments_alone(stage: Stage) -> None:
    refused = stage.sudo(*BATCH, "--db", "/etc/passwd")
    assert "a password is required" in refused.stderr
    assert "a password is required" in stage.run("ada", "sudo", "-n", "id").stderr


def test_ada_is_a_user_like_any(stage: Stage) -> None:
    assert stage.shell("ada", "id -un; id -Gn; pwd").split() == ["ada", "ada", "crew", "/home/ada"]
    for secret in ("/etc/shadow", "/root/secret", "/home/bob/private"):
        assert "Permission denied" in stage.run("ada", "cat", secret).stderr
    assert SECRET in stage.shell("root", "cat /etc/shadow")


def test_history_is_hers_and_all_that_is_made(stage: Stage) -> None:
    with stage.unchanged("/home/ada/.local"):
        result = stage.sudo(*BATCH)
    assert result.returncode == 0, result.stderr
    assert "not recording" not in result.stderr
    ada = tuple(int(number) for number in stage.shell("ada", "id -u; id -g").split())
    for name in ("", "/history.db", "/history.db.lock"):
        found = entry(stage.path(f"{HISTORY}{name}"))
        assert found
        assert (found.uid, found.gid) == ada
        assert found.mode & 0o077 == 0


@pytest.mark.parametrize(
    ("deed", "told"),
    [
        ("touch /etc/sudoers.d/zz", "/etc/sudoers.d/zz was made"),
        ("mkdir /run/zz", "/run/zz was made"),
        ("ln -s /etc/shadow /var/tmp/zz", "/var/tmp/zz was made"),
        ("echo x >> /etc/passwd", "/etc/passwd was changed"),
        ("chmod 640 /etc/hosts", "/etc/hosts was changed"),
        ("chmod 777 /usr/bin", "/usr/bin was changed"),
        ("chown ada /etc/group", "/etc/group was changed"),
        ("echo x > /etc/cron.d/empty", "/etc/cron.d/empty was changed"),
        ("exec 3<> /etc/login.defs", "/etc/login.defs was opened for writing"),
        ("rm /etc/shells", "/etc/shells was removed"),
        ("rm -r /home/bob", "/home/bob was removed"),
        ("touch /home/ada/zz", "/home/ada/zz is root's now"),
        ("chown root /home/ada/made.db", "/home/ada/made.db is root's now"),
    ],
)
def test_change_is_seen(stage: Stage, deed: str, told: str) -> None:
    with pytest.raises(AssertionError) as failure, stage.unchanged("/home/ada"):
        stage.shell("root", deed)
    assert told in str(failure.value)


def test_what_may_change_may_change(stage: Stage) -> None:
    with stage.unchanged("/home/ada", "/tmp"):
        stage.shell("ada", "touch x /tmp/x; rm made.db; ls /root || cat /etc/passwd")


def test_nothing_of_it_is_on_this_machine(stage: Stage) -> None:
    stage.shell("root", "touch /etc/zz-of-the-stage /tmp/zz-of-the-stage")
    for name in ("etc/zz-of-the-stage", "tmp/zz-of-the-stage", "home/ada"):
        assert entry(Path("/", name)) is None
