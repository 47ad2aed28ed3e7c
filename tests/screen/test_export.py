"""Export of the shown rows to files."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bwtop.model.flows import Identity, Traffic
from bwtop.modes.screen import formatted
from bwtop.rights.writing import write_here
from bwtop.tui.export import Exporter
from bwtop.tui.keymap import Context
from bwtop.tui.styles import Style
from tests.build import NOW, key, remote
from tests.screen.harness import Harness

DEFAULT = NOW.astimezone().strftime("bwtop-%Y-%m-%d-%H%M%S.csv")


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Harness:
    monkeypatch.chdir(tmp_path)
    harness = Harness(100, 24)

    def write(name: str, data: bytes, replace: bool) -> None:
        write_here({"name": name, "replace": replace}, data)

    harness.state.exporter = Exporter(write, formatted)
    harness.feed(
        {
            key(1): {remote(): Traffic(100, 7), remote("192.0.2.9", 53): Traffic(3)},
            key(2): {remote(): Traffic(50)},
        },
        {key(1): Identity("curl", 1, user="ada"), key(2): Identity("wget\x1b", 1, user="ada")},
    )
    return harness


def save(harness: Harness, name: str) -> str:
    harness.press("w", "ctrl u", *name, "enter")
    return Path(name).read_text()


def test_the_default_is_csv_with_the_time_that_is_shown(harness: Harness) -> None:
    harness.press("w")
    assert harness.lines()[-1].startswith(f"write to {DEFAULT}  Enter write  Esc cancel")
    harness.press("enter")
    assert harness.lines()[-1].rstrip() == f"wrote 2 rows to {DEFAULT}"
    lines = list(csv.DictReader(io.StringIO(Path(DEFAULT).read_text())))
    assert [(line["name"], line["rx"]) for line in lines] == [
        ("curl", "100"),
        ("curl", "3"),
        ("wget\\x1b", "50"),
    ]


def test_json_is_that_of_batch_with_what_the_filter_passes(harness: Harness) -> None:
    harness.press("/", *"port:53", "enter")
    found = json.loads(save(harness, "a.json"))
    assert found["schema"] == "bwtop.batch/1"
    assert found["backend"] == "tracepoint"
    assert datetime.fromisoformat(found["time"]) == NOW.astimezone(UTC)
    (process,) = found["processes"]
    assert (process["name"], process["rx"], process["tx"]) == ("curl", 3, 0)
    assert [far["port"] for far in process["remotes"]] == [53]


def test_json_of_a_screen_that_follows_another_bwtop_says_so(harness: Harness) -> None:
    harness.state.backend = ""
    assert json.loads(save(harness, "a.json"))["backend"] == "history"


@pytest.mark.parametrize("groupings", range(5))
def test_groups_are_written_as_their_processes(harness: Harness, groupings: int) -> None:
    harness.press(*["g"] * groupings)
    found = json.loads(save(harness, "a.json"))
    assert found["total"] == {"rx": 153, "tx": 7}
    assert sum(process["rx"] for process in found["processes"]) == 153
    assert {process["name"] for process in found["processes"]} == {"curl", "wget\x1b"}


def test_text_is_the_list_as_it_looks_with_rows_out_of_sight(harness: Harness) -> None:
    harness.press("e")
    shown = [line.rstrip() for line in harness.lines() if " curl " in line or "192.0.2." in line]
    harness.size = (100, 5)
    lines = save(harness, "a.txt").splitlines()
    assert [line for line in lines if " curl " in line or "192.0.2." in line] == shown
    assert any("wget\\x1b" in line for line in lines)
    assert "host.example" in lines[0]
    assert not any("\x1b" in line for line in lines)


def test_rows_stay_in_order_while_they_are_written(harness: Harness) -> None:
    """A sort, by a key or after a calm second, comes when the text is made."""
    work: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []
    harness.state.in_background = lambda make, take: work.append((make, take))
    harness.press("down", "w", "ctrl u", *"a.txt", "enter")
    harness.feed({key(1): {remote(): Traffic(5000)}})
    harness.press("r")
    harness.pass_time(10)
    assert [row.pid for row in harness.state.tree.tops] == [1, 2]
    assert harness.state.seconds_to_calm() is None
    for make, take in work:
        take(make())
    assert [row.pid for row in harness.state.tree.tops] == [2, 1]
    text = Path("a.txt").read_text()
    assert text.index(" curl") < text.index(" wget")


def test_a_file_is_overwritten_after_a_question_only(harness: Harness) -> None:
    Path("a.csv").write_text("mine")
    for answer in ("n", "esc"):
        harness.press("w", "ctrl u", *"a.csv", "enter")
        assert harness.lines()[-1].startswith("Overwrite a.csv?  y yes n no")
        harness.press(answer)
        assert Path("a.csv").read_text() == "mine"
    harness.press("w", "ctrl u", *"a.csv", "enter", "y")
    assert harness.lines()[-1].rstrip() == "wrote 2 rows to a.csv"
    assert Path("a.csv").read_text().startswith("time,")


@pytest.mark.parametrize("name", ["", "a", "../a.csv", "/tmp/a.csv", ".a.csv", "a.toml"])
def test_a_name_that_cannot_be_written_is_one_line(harness: Harness, name: str) -> None:
    harness.press("w", "ctrl u", *name, "enter")
    assert "expected a name" in "".join(harness.styled(Style.ERROR))
    assert harness.state.context is Context.FILE, "it can be corrected"
    harness.press("esc")
    assert not list(Path().iterdir())


def test_an_error_is_one_line(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    harness.press("w", "ctrl u", *"a.csv", "enter")
    assert harness.styled(Style.ERROR) == ["a.csv: No such file or directory"]


def test_without_a_way_out_it_is_said() -> None:
    harness = Harness()
    harness.press("w")
    assert "nothing can be written here" in harness.lines()[-1]
