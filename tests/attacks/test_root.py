"""bwtop that root starts without sudo, with a history or a file where others can write: no link of theirs is followed."""

import pytest

from tests.attacks.stage import BATCH, Stage, refused

pytestmark = pytest.mark.kernel

LINKS = {
    "new file": ("ln -s /etc/cron.d/zz x.db", "/home/ada/x.db"),
    "chain": ("ln -s /etc/cron.d/zz b; ln -s b a; ln -s ~/a x.db", "/home/ada/x.db"),
    "directory": ("ln -s /etc/cron.d d", "/home/ada/d/zz"),
    "new directory": ("ln -s /etc d", "/home/ada/d/new/zz"),
    "in /tmp": ("ln -s /etc/cron.d/zz /tmp/x.db", "/tmp/x.db"),
    "directory in /tmp": ("ln -s /etc/cron.d /tmp/d", "/tmp/d/zz"),
    "lock in /tmp": ("ln -s /etc/cron.d/empty /tmp/x.db.lock", "/tmp/x.db"),
    "in the group's": ("ln -s /etc/cron.d/zz /srv/crew/x.db", "/srv/crew/x.db"),
    "behind root's own link": ("ln -s /etc/cron.d/zz x.db", "/var/lib/hers/x.db"),
}
"""ada's commands, and the history that root names afterwards."""


@pytest.mark.parametrize(("script", "named"), LINKS.values(), ids=LINKS)
def test_link_of_another_user_is_not_followed(stage: Stage, script: str, named: str) -> None:
    stage.shell("root", "ln -s /home/ada /var/lib/hers")
    stage.shell("ada", script)
    with stage.unchanged("/home/ada", free=("/tmp", "/srv/crew")):
        result = stage.run("root", "bwtop", *BATCH, "--db", named)
    assert "bwtop: not recording: " in result.stderr


@pytest.mark.parametrize(
    ("flags", "place"),
    [
        (("--serve", "--chart-js"), "/home/ada/it"),
        (("--history", "--country-db"), "/home/ada/it"),
        (("--serve", "--token-file"), "/tmp/it"),
        (("--serve", "--token-file"), "/home/ada/d/secret"),
        (("--print-config", "--config"), "/srv/crew/it"),
        ((*BATCH, "--ship", "clickhouse://127.0.0.1/bwtop", "--password-file"), "/home/ada/it"),
    ],
)
def test_file_is_not_read_by_a_link_of_another_user(
    stage: Stage, flags: tuple[str, ...], place: str
) -> None:
    stage.shell("ada", f"ln -s /root/secret {place}" if "/d/" not in place else "ln -s /root d")
    refused(stage.run("root", "bwtop", *flags, place))


def test_history_in_a_user_s_directory_is_the_user_s(stage: Stage) -> None:
    with stage.unchanged("/home/ada"):
        result = stage.run("root", "bwtop", *BATCH, "--db", "/home/ada/new/x.db")
    assert result.returncode == 0
    assert "not recording" not in result.stderr
    assert stage.shell("ada", "stat -c %U new new/x.db new/x.db.lock").split() == ["ada"] * 3


def test_user_behind_sudo_is_to_be_one(stage: Stage) -> None:
    """Found: with 4294967295, which setresuid(2) takes as no change, bwtop stayed root."""
    behind = dict.fromkeys(("SUDO_UID", "SUDO_GID"), "4294967295") | {"SUDO_USER": "ada"}
    with stage.unchanged():
        refused(stage.run("root", "bwtop", *BATCH, env=behind), "4294967295")


def test_root_behind_sudo_is_root(stage: Stage) -> None:
    with stage.unchanged(free=("/root",)):
        result = stage.run("root", "bwtop", *BATCH, env={"SUDO_UID": "0", "SUDO_GID": "0"})
    assert result.returncode == 0, result.stderr
