"""Files that `sudo bwtop` with fixed arguments writes: only in the user's own directories, as the user.

Found: with ~/.local/state/bwtop/history.db a link to /etc/sudoers.d/zz, bwtop made a database there as root, and a
program whose path had a sudoers line in it wrote that line.
"""

import pytest

from tests.attacks.layers import entry
from tests.attacks.stage import BATCH, Stage

pytestmark = pytest.mark.kernel

HOME = "/home/ada"
FOLDER = ".local/state/bwtop"

LINKS = {
    "new sudoers file": "ln -s /etc/sudoers.d/zz $db",
    "empty file of root's": "ln -s /etc/cron.d/empty $db",
    "bob's file": "ln -s /home/bob/notes $db",
    "new directory": "ln -s /etc/zz/history.db $db",
    "chain": "ln -s /etc/sudoers.d/zz c; ln -s ~/c b; ln -s ~/b a; ln -s ~/a $db",
    "by way of /proc": "ln -s /proc/1/root/etc/sudoers.d/zz $db",
    "in .local": "rm -r .local; ln -s /etc/cron.d .local",
    "in bwtop": "rmdir $dir; ln -s /etc/sudoers.d $dir",
    "all there, the log": "cp made.db $db; ln -s /etc/sudoers.d/zz $db-wal",
    "all there, the index": "cp made.db $db; ln -s /etc/sudoers.d/zz $db-shm",
    "all there, the lock": "cp made.db $db; ln -s /etc/sudoers.d/zz $db.lock",
    "log": "ln -s /etc/sudoers.d/zz $db-wal",
}
"""ada's commands in her home before she runs bwtop; $dir and $db are the places of her history."""

HARD_LINKS = {
    "empty file of root's": f"ln /etc/cron.d/empty {HOME}/{FOLDER}/history.db",
    "bob's file": f"ln /home/bob/notes {HOME}/{FOLDER}/history.db",
    "lock": f"ln /etc/cron.d/empty {HOME}/{FOLDER}/history.db.lock",
}
"""Hard links that ada could make where fs.protected_hardlinks is off; root makes them."""


def prepare(stage: Stage, script: str) -> None:
    """Run ada's script, with the directory of her history there."""
    stage.shell("ada", f"dir={FOLDER}; db=$dir/history.db; mkdir -p $dir; {script}")


def test_history_is_hers_and_all_that_is_made(stage: Stage) -> None:
    with stage.unchanged(f"{HOME}/.local"):
        result = stage.sudo(*BATCH)
    assert result.returncode == 0, result.stderr
    assert "not recording" not in result.stderr
    ada = [int(number) for number in stage.shell("ada", "id -u; id -g").split()]
    for name in ("", "/history.db", "/history.db.lock"):
        found = entry(stage.path(f"{HOME}/{FOLDER}{name}"))
        assert found
        assert [found.uid, found.gid] == ada
        assert found.mode & 0o077 == 0


@pytest.mark.parametrize("script", LINKS.values(), ids=LINKS)
def test_link_leads_nowhere_that_she_could_not_go(stage: Stage, script: str) -> None:
    prepare(stage, script)
    with stage.unchanged(HOME):
        result = stage.sudo(*BATCH)
    assert "bwtop: not recording: " in result.stderr
    assert result.returncode in (0, 1), "1: some bytes were not recorded"


@pytest.mark.parametrize("script", HARD_LINKS.values(), ids=HARD_LINKS)
def test_hard_link_is_no_way_to_a_file(stage: Stage, script: str) -> None:
    """The file that it leads to has another name outside her home, and is looked at there."""
    prepare(stage, ":")
    stage.shell("root", script)
    with stage.unchanged(HOME):
        result = stage.sudo(*BATCH)
    assert result.returncode in (0, 1), result.stderr


@pytest.mark.parametrize(
    "script",
    [
        "rmdir $dir; ln -s ~/elsewhere $dir; mkdir elsewhere",
        "ln -s /tmp/hers/history.db $db; mkdir /tmp/hers",
    ],
    ids=["directory", "in /tmp"],
)
def test_her_own_links_are_hers_to_make(stage: Stage, script: str) -> None:
    prepare(stage, script)
    with stage.unchanged(HOME, "/tmp/hers"):
        result = stage.sudo(*BATCH)
    assert result.returncode == 0, result.stderr
    assert "not recording" not in result.stderr
    assert "history.db" in stage.shell("ada", f"ls -L {FOLDER}/")


@pytest.mark.parametrize("place", ["/etc/cron.d/zz", "/etc/passwd"])
def test_configured_history_is_opened_as_her(stage: Stage, place: str) -> None:
    stage.shell(
        "ada", f"mkdir -p .config/bwtop; echo 'db = \"{place}\"' > .config/bwtop/config.toml"
    )
    with stage.unchanged(HOME):
        result = stage.sudo(*BATCH)
    assert "not recording: " in result.stderr


@pytest.mark.parametrize(
    "variables",
    [{"BWTOP_DB": "/etc/cron.d/zz"}, {"XDG_STATE_HOME": "/etc"}, {"HOME": "/etc/cron.d"}],
    ids=str,
)
def test_environment_is_hers(stage: Stage, variables: dict[str, str]) -> None:
    """sudoers may let it through.  Her home is that of passwd(5), whatever HOME says."""
    stage.allow_any_arguments('Defaults:ada env_keep += "BWTOP_DB XDG_STATE_HOME HOME"')
    with stage.unchanged(HOME):
        result = stage.sudo(*BATCH, env=variables)
    assert result.returncode in (0, 1), result.stderr
    assert ("not recording: " in result.stderr) == ("HOME" not in variables)
    if "HOME" in variables:
        assert "history.db" in stage.shell("ada", f"ls {FOLDER}/")


@pytest.mark.parametrize(
    "place", ["/etc/cron.d/empty", "/etc/new/directory/zz", "/home/bob/notes", "/dev/null"]
)
def test_command_line_is_hers(stage: Stage, place: str) -> None:
    stage.allow_any_arguments()
    with stage.unchanged(HOME):
        result = stage.sudo(*BATCH, "--db", place)
    assert "not recording: " in result.stderr


SCRIPT = "echo '#!/bin/sh' > tool; chmod 755 tool"
OTHERS = "import sqlite3; sqlite3.connect('tool').execute('CREATE TABLE t (x)').connection.commit()"


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (SCRIPT, "is not a history of bwtop"),
        (f'/usr/bin/python3 -c "{OTHERS}"; chmod 644 tool', "is another program's database"),
    ],
    ids=["script", "another program's database"],
)
def test_typo_costs_nothing(stage: Stage, script: str, told: str) -> None:
    """Found: `--db ./tool` took the group's and the others' rights from the file before it said what that is."""
    stage.allow_any_arguments()
    stage.shell("ada", script)
    with stage.unchanged():
        result = stage.sudo(*BATCH, "--db", "./tool")
    assert told in result.stderr


def test_typo_of_root_costs_nothing(stage: Stage) -> None:
    """Found: `bwtop --db /etc/passwd` made that 0640."""
    before = stage.shell("root", "stat -c '%a %u %g %s %Y' /etc/passwd; sha256sum /etc/passwd")
    result = stage.run("root", "bwtop", *BATCH, "--db", "/etc/passwd")
    after = stage.shell("root", "stat -c '%a %u %g %s %Y' /etc/passwd; sha256sum /etc/passwd")
    assert after == before
    assert "/etc/passwd is not a history of bwtop" in result.stderr
    assert stage.shell("root", "ls /etc/passwd?*").split() == ["/etc/passwd-"]
