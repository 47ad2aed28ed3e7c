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
        ("python3", "python3 -W ignore -uX dev app.py", None, "app.py"),
        ("python3", "python3 -Wignore -um venv.tool", None, "venv.tool"),
        ("python3", "python3 -", None, "python3"),
        ("node", "node -r dotenv/config --import ./a.mjs app.js", None, "app.js"),
        ("node", "node -pe 1+1", None, "node"),
        ("nodejs", "nodejs --eval x", None, "nodejs"),
        ("java", "java -Xmx1g -jar /srv/app.jar", None, "app.jar"),
        (
            "java",
            "java -verbose -cp /srv/a.jar:/b.jar com.example.Server x",
            None,
            "com.example.Server",
        ),
        ("java", "java -p /lib -m search/org.example.Main", None, "org.example.Main"),
        ("java", "java --class-path /srv/a.jar:/srv/b…", None, "java"),
        ("perl", "perl -ne print", None, "perl"),
        ("perl", "perl -wMStorable -I lib x.pl", None, "x.pl"),
        ("ruby", "ruby -rdate -I lib -r json x.rb", None, "x.rb"),
        ("php8.2", "php8.2 -d memory_limit=1G -f /srv/job.php", None, "job.php"),
        ("php", "php -r echo", None, "php"),
        ("lua5.4", "lua5.4 -l socket x.lua", None, "x.lua"),
        ("bash", "bash -l", None, "bash"),
        ("bash", "bash -e job.sh", None, "job.sh"),
        ("bash", "bash -euo pipefail +x /srv/job.sh", None, "job.sh"),
        ("bash", "bash -ec ./job.sh", None, "bash"),
        ("bash", "bash -s job", None, "bash"),
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
