"""The command with a server: creating tables, and reading shipped rows."""

import json
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bwtop.clickhouse.client import Client
from bwtop.clickhouse.target import PASSWORD as VARIABLE
from bwtop.clickhouse.target import Target
from tests.clickhouse.hosts import DATABASE, HOSTS, TWINS, moved, send_yesterday
from tests.clickhouse.servers import PASSWORD, ClickHouse, free_port
from tests.history.others import needs_root
from tests.kernel.running import command
from tests.processes import ran, refused_line

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def full(running: ClickHouse) -> Target:
    """Return a database with yesterday of six hosts."""
    target = replace(running.target, database="yesterday")
    running.init(target.database)
    with closing(Client(target, "")) as client:
        send_yesterday(client)
    return target


def bwtop(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return ran(command(*flags), env={**os.environ, "COLUMNS": "100", **environment})


def fails(*flags: str, **environment: str) -> str:
    """Return the one-line error."""
    return refused_line(bwtop(*flags, **environment))


def url(target: Target, user: str = "") -> str:
    at = f"{user}{'@' if user else ''}127.0.0.1:{target.port}"
    return f"clickhouse://{at}/{target.database}"


def test_a_report_of_all_or_some_hosts(full: Target) -> None:
    flags = ("--history", "yesterday", "--from", url(full), "--by", "host", "--format", "json")
    some = f"db*,nobody,{TWINS[0].id[:8]},{TWINS[1].id.upper()}"
    for named, chosen in ((), HOSTS), (("--host", some), (DATABASE, *TWINS)):
        answer = json.loads(bwtop(*flags, *named).stdout)
        assert answer["host"] is None
        assert {row["host_id"]: (row["rx"], row["tx"]) for row in answer["rows"]} == {
            host.id: moved(host) for host in chosen
        }


def test_table_distinguishes_hosts_of_one_name(full: Target) -> None:
    text = bwtop("--history", "yesterday", "--from", url(full), "--by", "host,process").stdout
    for host in TWINS:
        assert f"\n{host.name} ({host.id[:8]})  " in text
    assert "\ndb-2  " in text


def test_read_only_user_can_ask(full: Target) -> None:
    """Such a user may not even change settings."""
    flags = ("--history", "yesterday", "--by", "host")
    found = bwtop(*flags, "--from", url(full, "reader"))
    assert found.returncode == 0
    assert found.stdout == bwtop(*flags, "--from", url(full)).stdout
    assert "readonly" in fails("--ship", url(full, "reader"), "--init")


@needs_root
@pytest.mark.parametrize(
    ("flag", "module"), [("--history", "report"), ("--batch", "intervals")], ids=str
)
def test_root_is_dropped_before_a_server_is_queried(full: Target, flag: str, module: str) -> None:
    """The rows are of other hosts, so bwtop does not need root."""
    code = (
        f"import os; from bwtop.output import {module} as output; from bwtop.cli import main;"
        "output.run = lambda *_: print(os.getresuid());"
        f"main([{flag!r}, '--from', {url(full)!r}])"
    )
    found = ran(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("SUDO_")},
        check=True,
    )
    assert found.stdout == f"{(65534,) * 3}\n"


def test_a_password_is_in_a_file_or_in_the_environment(full: Target, tmp_path: Path) -> None:
    flags = ("--history", "yesterday", "--from", url(full, "writer"))
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    assert bwtop(*flags, "--password-file", str(file)).returncode == 0
    assert bwtop(*flags, **{VARIABLE: PASSWORD}).returncode == 0
    assert "password" in fails(*flags).lower()
    file.chmod(0o604)
    assert "chmod 600" in fails(*flags, "--password-file", str(file))
    assert "No such file" in fails(*flags, "--password-file", str(tmp_path / "none"))


def test_unreachable_server_is_one_line() -> None:
    address = f"clickhouse://127.0.0.1:{free_port()}/bwtop"
    assert "Connection refused" in fails("--history", "--from", address)
    assert "Connection refused" in fails("--ship", address, "--init")
    assert "Connection refused" in fails("--ship", address, "--print-schema")


def test_tables_are_made_once(running: ClickHouse) -> None:
    address = f"clickhouse://127.0.0.1:{running.port}/made_once"
    assert "create the database: " in fails("--history", "--from", address)
    for _ in range(2):
        assert bwtop("--ship", address, "--init").returncode == 0
    target = Target("127.0.0.1", running.port, database="made_once")
    found = bwtop("--history", "all", "--from", target.url())
    assert "no host has sent anything yet; on each run: sudo bwtop --record --ship" in found.stdout


def test_printed_schema_suits_current_servers_or_the_given_one(running: ClickHouse) -> None:
    """Also with a retention, and for a cluster."""
    for flags, *words in (
        ("", "address IPv6", "level = 0, toUnixTimestamp(time) + 604800, "),
        (f"--ship clickhouse://127.0.0.1:{running.port}/x", "address FixedString(16)"),
        (
            "--retention seconds=3d --cluster c1",
            "level = 0, toUnixTimestamp(time) + 259200, level = 1, toUnixTimestamp(time) + 2592000, ",
            "ON CLUSTER 'c1'",
        ),
    ):
        printed = bwtop("--print-schema", *flags.split()).stdout
        assert all(word in printed for word in words), flags


@pytest.mark.parametrize(
    "flags", ["--record --ship clickhouse://h/d", "--history --from clickhouse://h/d"]
)
def test_missing_driver_is_one_line_with_the_install_command(flags: str) -> None:
    code = f"import sys; sys.modules['clickhouse_driver'] = None; from bwtop.cli import main; main({flags.split()!r})"
    line = refused_line(ran([sys.executable, "-c", code], cwd=ROOT))
    assert line.startswith("clickhouse-driver is missing: pip install")
