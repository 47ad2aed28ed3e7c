"""Things that are no files where bwtop looks for one: it says so in one line and waits for nothing."""

import pytest

from tests.attacks.stage import BATCH, Stage, refused

pytestmark = pytest.mark.kernel

KINDS = {
    "FIFO": "mkfifo $it",
    "socket": "/usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' $it",
    "device": "mknod -m 666 $it c 1 5",
    "directory": "mkdir -p $it",
}
"""Commands that root runs, because only root makes devices; ada could make everything else herself."""

FLAGS = {
    "--config": BATCH,
    "--token-file": ("--serve",),
    "--chart-js": ("--serve",),
    "--asn-db": ("--history",),
    "--password-file": (*BATCH, "--ship", "clickhouse://127.0.0.1/bwtop"),
}

IT = "/home/ada/it"
CONFIG = "/home/ada/.config/bwtop/config.toml"
DATABASE = "/home/ada/.local/state/bwtop/history.db"


def put(stage: Stage, kind: str, place: str) -> None:
    """Put something of that kind where ada's file would be, and make it hers."""
    folder = place.rpartition("/")[0]
    stage.shell("ada", f"mkdir -p {folder}")
    stage.shell("root", f"it={place}; {KINDS[kind]}; chown ada:ada $it")


@pytest.mark.parametrize(
    ("flags", "place", "kind"),
    [
        *(((*FLAGS[flag], flag, IT), IT, "FIFO") for flag in FLAGS),
        (("--history",), CONFIG, "FIFO"),
        *((("--history",), DATABASE, kind) for kind in KINDS),
    ],
)
def test_file_that_is_read_is_to_be_one(
    stage: Stage, flags: tuple[str, ...], place: str, kind: str
) -> None:
    """Found: a FIFO was waited for."""
    stage.allow_any_arguments()
    put(stage, kind, place)
    refused(stage.sudo(*flags), place)


@pytest.mark.parametrize("flag", ["--config", "--token-file", "--chart-js"])
def test_file_that_root_names_is_to_be_one(stage: Stage, flag: str) -> None:
    put(stage, "FIFO", IT)
    refused(stage.run("root", "bwtop", *FLAGS[flag], flag, IT), IT)


@pytest.mark.parametrize(
    ("beside", "kind"),
    [
        *(("", kind) for kind in KINDS),
        *(("-wal", "FIFO"), (".lock", "FIFO"), (".lock", "socket")),
    ],
)
def test_history_and_what_lies_beside_it_is_to_be_a_file(
    stage: Stage, beside: str, kind: str
) -> None:
    if beside:
        stage.shell("ada", f"mkdir -p .local/state/bwtop; cp made.db {DATABASE}")
    put(stage, kind, DATABASE + beside)
    with stage.unchanged(*(["/home/ada"] if beside else [])):
        result = stage.sudo(*BATCH)
    assert "bwtop: not recording: " in result.stderr
    assert result.returncode in (0, 1), "1: some bytes were not recorded"
