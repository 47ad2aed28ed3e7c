"""The default location of the history, and its permissions."""

from pathlib import Path

import pytest

from bwtop.sqlite import location
from bwtop.sqlite.location import default_path, mode
from tests.history.others import as_nobody, needs_root

HOME = Path("/home/ada")


@pytest.fixture(name="system", autouse=True)
def _system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Replace the path of the service's history."""
    path = tmp_path / "var" / "history.db"
    monkeypatch.setattr(location, "SYSTEM", path)
    return path


# Where.


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "/home/ada/.local/state/bwtop/history.db"),
        ({"XDG_STATE_HOME": "/state"}, "/state/bwtop/history.db"),
        ({"XDG_STATE_HOME": ""}, "/home/ada/.local/state/bwtop/history.db"),
        ({"XDG_STATE_HOME": "state"}, "/home/ada/.local/state/bwtop/history.db"),
        ({"XDG_STATE_HOME": "./state"}, "/home/ada/.local/state/bwtop/history.db"),
        ({"XDG_STATE_HOME": "~/state"}, "/home/ada/.local/state/bwtop/history.db"),
        ({"BWTOP_DB": "/x.db"}, "/x.db"),
        ({"BWTOP_DB": "x.db"}, "x.db"),
        ({"BWTOP_DB": "/x.db", "XDG_STATE_HOME": "/state"}, "/x.db"),
        ({"BWTOP_DB": "", "XDG_STATE_HOME": "/state"}, "/state/bwtop/history.db"),
    ],
)
def test_path_follows_the_environment(environment: dict[str, str], expected: str) -> None:
    assert default_path(environment, HOME) == Path(expected)


def test_history_of_the_service_comes_first(system: Path) -> None:
    system.parent.mkdir()
    assert default_path({}, HOME) != system, "it is not there"
    system.touch()
    assert default_path({}, HOME) == system
    assert default_path({"XDG_STATE_HOME": "/state"}, HOME) == system
    assert default_path({"BWTOP_DB": "/x.db"}, HOME) == Path("/x.db")


@needs_root
def test_unreadable_history_of_the_service_is_skipped(system: Path) -> None:
    system.parent.mkdir()
    system.touch(0o600)
    as_nobody(lambda: default_path({}, HOME) != system, True)


# Permissions.


def test_only_the_history_of_the_service_is_group_readable(system: Path) -> None:
    assert mode(system) == mode(system.with_name("other.db")) == 0o640
    assert mode(HOME / "history.db") == mode(system.parent / "d" / "history.db") == 0o600


def test_missing_directories_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir(0o755)
    path = there / "a" / "b" / "history.db"
    for _ in range(2):
        location.make_directory(path)
        assert [p.stat().st_mode & 0o777 for p in list(path.parents)[:3]] == [0o700, 0o700, 0o755]
    assert not path.exists()
