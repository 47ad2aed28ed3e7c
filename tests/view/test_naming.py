"""Names of processes as people know them."""

import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bwtop.model.flows import Identity
from bwtop.view.naming import shown_name


@pytest.mark.parametrize(
    ("name", "cmdline", "exe", "shown"),
    [
        ("python3", "python3 /opt/backup.py --all", "/usr/bin/python3.11", "backup.py"),
        ("python3.11", "python3.11 -u -O ./sync.py", None, "sync.py"),
        ("python3", "python3 -m http.server", None, "http.server"),
        ("python3", "python3 -c pass", None, "python3"),
        ("python3", "python3", None, "python3"),
        ("python3", "", None, "python3"),
        ("node", "node server.js", None, "server.js"),
        ("java", "java -Xmx1g -jar /srv/app.jar", None, "app.jar"),
        ("perl", "perl -ne print", None, "perl"),
        ("bash", "bash -l", None, "bash"),
        ("sh", "sh /etc/cron.daily/logs", None, "logs"),
        ("backup.py", "python3 other.py", "/usr/bin/python3", "backup.py"),
        ("clickhouse-serv", "", "/usr/bin/clickhouse-server", "clickhouse-server"),
        ("clickhouse-serv", "", "/usr/bin/clickhouse", "clickhouse-serv"),
        ("curl", "curl x", "/usr/bin/curl7", "curl"),
    ],
)
def test_name_of_a_script_and_beyond_fifteen_bytes(
    name: str, cmdline: str, exe: str | None, shown: str
) -> None:
    assert shown_name(Identity(name, 0, cmdline, exe)) == shown


@given(st.text(st.characters()), st.text())
@example("\ud800", "")
def test_any_command_line_has_a_name(name: str, cmdline: str) -> None:
    assert shown_name(Identity(name, cmdline=cmdline)) == name
    shown_name(Identity("python3", cmdline=cmdline))


def test_name_keeps_nothing_of_an_exited_process() -> None:
    identity = Identity("clickhouse-serv", cmdline="x", exe="/usr/bin/clickhouse-server")
    before = sys.getrefcount(identity)
    assert shown_name(identity) == "clickhouse-server"
    assert sys.getrefcount(identity) == before
