"""The service's unit and its user, as systemd's own tools see them.  test_debian.py runs it."""

import re
from pathlib import Path

import pytest

from bwtop.capture import cache
from bwtop.sqlite import location
from tests.packaging.making import ROOT, make, run
from tests.processes import ran

UNIT = ROOT / "share" / "bwtop.service"

MOST_EXPOSED = 20
"""Tenths of systemd's measure, which calls up to 4.9 OK; it was 1.1 with systemd 252."""


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the installed unit: so the program that it starts is there."""
    prefix = tmp_path_factory.mktemp("prefix")
    make("install", f"PREFIX={prefix}", "COMPILE=")
    return prefix / "lib/systemd/system/bwtop.service"


def analyzed(*arguments: str | Path) -> tuple[int, str]:
    """Return systemd-analyze's exit status, and all its output."""
    done = ran(["systemd-analyze", *arguments])
    return done.returncode, done.stdout + done.stderr


def test_systemd_finds_nothing_wrong(unit: Path) -> None:
    assert analyzed("verify", "--man=no", unit) == (0, "")


def test_it_is_exposed_little(unit: Path) -> None:
    command = ("security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager")
    status, said = analyzed(*command, unit)
    assert status == 0, said


def settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def test_it_records_where_readers_look() -> None:
    (start,) = settings("ExecStart")
    assert start.split()[1:] == ["--record", "--db", str(location.SYSTEM)]
    assert settings("StateDirectory") == [location.SYSTEM.parent.name]


def test_its_cache_is_its_own() -> None:
    assert settings("CacheDirectory") == [cache.SERVICE_FOLDER.name]
    assert settings("CacheDirectoryMode") == ["0700"]


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
def test_its_user_is_made_and_cannot_log_in(tmp_path: Path, prefix: str) -> None:
    make("install", f"DESTDIR={tmp_path}", f"PREFIX={prefix}", "COMPILE=")
    (tmp_path / "etc").mkdir()
    run("systemd-sysusers", f"--root={tmp_path}")
    (user,) = (tmp_path / "etc/passwd").read_text().splitlines()
    name, _, uid, gid, _, home, shell = user.split(":")
    assert settings("User") == settings("Group") == [name]
    assert 0 < int(uid) < 1000
    assert (tmp_path / "etc/group").read_text() == f"{name}:x:{gid}:\n"
    assert (home, shell) == ("/", "/usr/sbin/nologin")
