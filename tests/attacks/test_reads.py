"""Files that `sudo bwtop` reads: only those that its user may read.

Found: `chart-js = "/etc/shadow"` in the user's own configuration, and every local user could fetch that as /chart.js.
"""

import contextlib
import subprocess
from collections.abc import Iterator

import pytest

from tests.attacks.stage import BATCH, HANG, SECRET, TOKEN, Stage, refused, wait_until

pytestmark = pytest.mark.kernel

CONFIG = ".config/bwtop/config.toml"

FETCH = """
import sys, urllib.error, urllib.request
headers = {"Authorization": f"Bearer {sys.argv[2]}"} if sys.argv[2:] else {}
request = urllib.request.Request(sys.argv[1], headers=headers)
try:
    print(urllib.request.urlopen(request, timeout=60).read().decode(errors="replace"))
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode(errors="replace"))
"""

LISTEN = """
import socket
with socket.create_server(("127.0.0.1", 9000)) as server:
    print("listening", flush=True)
    with server.accept()[0] as client:
        client.settimeout(10)
        print(repr(client.recv(65536)), flush=True)
"""
"""A ClickHouse of ada's, which is told the password first."""

SHIP = ("--ship", "clickhouse://bwtop@127.0.0.1/bwtop")


def configure(stage: Stage, text: str) -> None:
    """Write ada's configuration file."""
    stage.shell("ada", f"mkdir -p .config/bwtop; cat > {CONFIG} <<'END'\n{text}\nEND")


def listens(stage: Stage) -> bool:
    """Say whether something in the stage listens on port 8064."""
    return ":1F80 00000000:0000 0A " in stage.shell("ada", "cat /proc/net/tcp")


def fetch(stage: Stage, user: str, *token: str) -> str:
    """Return what bwtop answers a user who asks for its Chart.js."""
    url = "http://127.0.0.1:8064/chart.js"
    return stage.run(user, "/usr/bin/python3", "-c", FETCH, url, *token).stdout


@contextlib.contextmanager
def serving(stage: Stage, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """Yield ada's `sudo bwtop --serve` once it listens or has ended."""
    command = stage.command("ada", "sudo", "-n", "bwtop", "--serve", *flags)
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until(lambda: process.poll() is not None or listens(stage), "it serves")
            yield process
        finally:
            stage.kill()


@pytest.mark.parametrize("secret", ["/etc/shadow", "/home/bob/private"])
def test_chart_is_read_as_her(stage: Stage, secret: str) -> None:
    configure(stage, f'chart-js = "{secret}"')
    with serving(stage) as process:
        shown = ""
        if process.poll() is None:
            shown = fetch(stage, "ada")
        assert SECRET not in shown
        assert process.wait(HANG) == 2
        assert process.stderr
        assert "Permission denied" in process.stderr.read()


def test_chart_by_a_link_is_read_as_her(stage: Stage) -> None:
    stage.shell("ada", "ln -s /etc/shadow chart.js")
    configure(stage, 'chart-js = "/home/ada/chart.js"')
    refused(stage.sudo("--serve"), "Permission denied")


@pytest.mark.parametrize(
    "flags",
    [
        ("--serve", "--token-file"),
        ("--record", "--metrics", "127.0.0.1", "--token-file"),
        ("--serve", "--chart-js"),
        ("--history", "--asn-db"),
        (*BATCH, "--config"),
        ("--print-config", "--config"),
        (*BATCH, *SHIP, "--password-file"),
    ],
    ids=" ".join,
)
def test_file_on_the_command_line_is_read_as_her(stage: Stage, flags: tuple[str, ...]) -> None:
    stage.allow_any_arguments()
    with stage.unchanged():
        refused(stage.sudo(*flags, "/root/secret"), "/root/secret", "Permission denied")


@pytest.mark.parametrize("secret", ["/etc/shadow", "/root/secret"])
def test_configured_token_is_read_as_her(stage: Stage, secret: str) -> None:
    configure(stage, f'token-file = "{secret}"')
    refused(stage.sudo("--serve"), secret, "Permission denied")


def test_password_of_root_is_not_sent_to_her(stage: Stage) -> None:
    """Who chooses the server is told what is in the file."""
    configure(stage, f'password-file = "/root/secret"\nship = "{SHIP[1]}"')
    listening = subprocess.Popen(
        stage.command("ada", "/usr/bin/python3", "-c", LISTEN), stdout=subprocess.PIPE, text=True
    )
    with listening:
        assert listening.stdout
        try:
            assert listening.stdout.readline() == "listening\n"
            result = stage.sudo(*BATCH)
        finally:
            stage.kill()
        assert SECRET not in listening.stdout.read()
    refused(result, "/root/secret", "Permission denied")


@pytest.mark.parametrize(
    "variables", [{"XDG_CONFIG_HOME": "/root/settings"}, {"HOME": "/root"}], ids=str
)
def test_configuration_of_root_is_not_shown_to_her(stage: Stage, variables: dict[str, str]) -> None:
    """Its first setting is unknown, and what is unknown is named."""
    stage.shell("root", "mkdir -p .config; cp -r settings/bwtop .config/")
    stage.allow_any_arguments('Defaults:ada env_keep += "XDG_CONFIG_HOME HOME"')
    result = stage.sudo("--print-config", env=variables)
    assert SECRET not in result.stdout + result.stderr
    assert result.returncode == 0, "a directory that she may not look into has no file of hers"


def test_history_of_bob_is_not_shown_to_her(stage: Stage) -> None:
    stage.allow_any_arguments()
    stage.shell("root", "install -o bob -g bob -m 600 ~ada/made.db ~bob/history.db")
    refused(stage.sudo("--history", "--db", "/home/bob/history.db"))


def test_history_of_root_is_not_shown_to_her(stage: Stage) -> None:
    stage.shell("root", "install -m 600 ~ada/made.db ~/history.db")
    stage.shell(
        "ada", "mkdir -p .local/state/bwtop; ln -s /root/history.db .local/state/bwtop/history.db"
    )
    refused(stage.sudo("--history"))


def test_configuration_that_others_can_write_is_refused(stage: Stage) -> None:
    """Found: that its group could write it was no matter."""
    configure(stage, "limit = 3")
    stage.shell("ada", f"chmod 664 {CONFIG}")
    refused(stage.sudo(*BATCH), f"/home/ada/{CONFIG}", "chmod go-w")


@pytest.mark.parametrize(
    ("user", "wrong"), [("ada", "chown ada $file"), ("root", "chmod 664 $file")]
)
def test_system_configuration_is_root_s_alone_to_write(stage: Stage, user: str, wrong: str) -> None:
    stage.shell(
        "root",
        f"file=/etc/bwtop/config.toml; mkdir -p /etc/bwtop; echo 'limit = 3' > $file; {wrong}",
    )
    result = stage.sudo(*BATCH) if user == "ada" else stage.run("root", "bwtop", *BATCH)
    refused(result, "/etc/bwtop/config.toml")


def test_what_she_may_read_is_read(stage: Stage) -> None:
    """The same files, as they should be: each is taken."""
    stage.allow_any_arguments()
    stage.shell("ada", f"umask 077; echo {TOKEN} > token; echo 'let x' > chart.js; echo pw > pw")
    configure(stage, 'token-file = "/home/ada/token"\nchart-js = "/home/ada/chart.js"')
    with serving(stage) as process:
        assert process.poll() is None
        assert fetch(stage, "bob").startswith("401 ")
        assert fetch(stage, "bob", TOKEN) == "let x\n\n"
    assert stage.sudo(*BATCH, *SHIP, "--password-file", "pw").returncode == 0
