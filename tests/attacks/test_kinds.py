"""Things that are no files where bwtop looks for one: it says so in one line and waits for nothing."""

import pytest

from tests.attacks.stage import BATCH, Stage

pytestmark = pytest.mark.kernel

KINDS = {
    "FIFO": "mkfifo $it",
    "socket": "/usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' $it",
    "device": "mknod -m 666 $it c 1 5",
    "directory": "mkdir -p $it",
    "link to a FIFO": "mkfifo ~ada/pipe; ln -s ~ada/pipe $it",
    "link to a device": "ln -s /dev/zero $it",
    "link to itself": "ln -s $it $it",
}
"""What root puts there, because only root makes devices; but for those it is as ada could have it."""

FLAGS = {
    "--config": BATCH,
    "--token-file": ("--serve",),
    "--chart-js": ("--serve",),
    "--password-file": (*BATCH, "--ship", "clickhouse://127.0.0.1/bwtop"),
}


def put(stage: Stage, kind: str, place: str) -> None:
    """Put something of that kind where ada's file would be, and make it hers."""
    folder = place.rpartition("/")[0]
    hers = "chown -h ada:ada $it" if kind != "link to a device" else ":"
    stage.shell("ada", f"mkdir -p {folder}")
    stage.shell("root", f"it={place}; {KINDS[kind]}; {hers}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flag", FLAGS)
def test_named_file_is_to_be_one(stage: Stage, flag: str, kind: str) -> None:
    """Found: a FIFO was waited for."""
    stage.allow_any_arguments()
    put(stage, kind, "/home/ada/it")
    result = stage.sudo(*FLAGS[flag], flag, "/home/ada/it")
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "/home/ada/it" in result.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_configuration_is_to_be_a_file(stage: Stage, kind: str) -> None:
    put(stage, kind, "/home/ada/.config/bwtop/config.toml")
    result = stage.sudo("--history")
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "/home/ada/.config/bwtop/config.toml" in result.stderr


@pytest.mark.parametrize("kind", ["FIFO", "directory"])
@pytest.mark.parametrize("flag", ["--config", "--token-file", "--chart-js"])
def test_file_that_root_names_is_to_be_one(stage: Stage, flag: str, kind: str) -> None:
    put(stage, kind, "/home/ada/it")
    result = stage.run("root", "bwtop", *FLAGS[flag], flag, "/home/ada/it")
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "directory"])
def test_history_is_to_be_a_file(stage: Stage, kind: str) -> None:
    put(stage, kind, "/home/ada/.local/state/bwtop/history.db")
    with stage.unchanged():
        result = stage.sudo(*BATCH)
    assert "bwtop: not recording: " in result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device", "directory"])
def test_history_that_is_read_is_to_be_a_file(stage: Stage, kind: str) -> None:
    put(stage, kind, "/home/ada/.local/state/bwtop/history.db")
    result = stage.sudo("--history")
    assert result.returncode == 2, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr


@pytest.mark.parametrize("kind", ["FIFO", "socket"])
@pytest.mark.parametrize("beside", ["-wal", ".lock"])
def test_what_lies_beside_the_history_is_to_be_a_file(stage: Stage, beside: str, kind: str) -> None:
    stage.shell("ada", "mkdir -p .local/state/bwtop; cp made.db .local/state/bwtop/history.db")
    put(stage, kind, f"/home/ada/.local/state/bwtop/history.db{beside}")
    with stage.unchanged("/home/ada"):
        result = stage.sudo(*BATCH)
    assert "bwtop: not recording: " in result.stderr
    assert result.returncode == 0
