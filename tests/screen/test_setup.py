"""The setup page, without a terminal."""

from collections.abc import Mapping
from typing import Any

import pytest

from bwtop.model.flows import Identity, Traffic
from bwtop.tui.keymap import Context
from bwtop.tui.layout import FIELDS
from bwtop.tui.styles import THEMES, Style
from tests.build import key, remote
from tests.screen.harness import SIZES, Harness


@pytest.fixture
def saved() -> list[Mapping[str, Any]]:
    return []


@pytest.fixture
def harness(saved: list[Mapping[str, Any]]) -> Harness:
    harness = Harness(120, 36)

    def save(values: Mapping[str, Any]) -> str:
        saved.append(values)
        return "/home/ada/config.toml"

    harness.state.save_settings = save
    harness.feed({key(1): {remote(): Traffic(9, 9)}}, {key(1): Identity("curl", 1)})
    return harness


def line_of(column: str) -> int:
    return 3 + [field.id for field in FIELDS].index(column)


def test_changes_show_at_once_and_are_saved_when_the_page_closes(
    harness: Harness, saved: list[Mapping[str, Any]]
) -> None:
    themes: list[str | None] = []
    harness.state.use_theme = themes.append
    mouse: list[bool] = []
    harness.state.use_mouse = mouse.append
    assert "█" in harness.text()
    harness.press("f2")
    assert "theme    auto" in " ".join(harness.styled(Style.SELECTED))
    harness.press("enter", " ", "left", "down", "right", "down", "enter")
    assert themes == ["dark", "light", "dark"]
    assert mouse == [False]
    assert "█" not in harness.text().split("\n", 5)[1]
    harness.press(*["down"] * (line_of("user") - 2), "enter")
    assert "[ ] user" in " ".join(harness.styled(Style.SELECTED))
    assert not saved
    harness.press("esc")
    assert saved == [
        {
            "theme": "dark",
            "mouse": False,
            "graphs": False,
            "columns": [field.id for field in FIELDS if field.id != "user"],
        }
    ]
    assert harness.lines()[-1].rstrip() == "saved to /home/ada/config.toml"
    assert " USER " not in harness.text()
    harness.press("S", "q")
    assert len(saved) == 1, "nothing was changed"


def test_columns_move_and_one_stays(harness: Harness, saved: list[Mapping[str, Any]]) -> None:
    harness.press("f2", *["down"] * line_of("process"), "enter")
    assert "column process is required" in harness.lines()[-1]
    harness.press("f7", "-", "f7", "f10")
    assert saved[-1]["columns"][0] == "process"
    titles = harness.lines()[harness.row_of("PROCESS")]
    assert titles.index("PROCESS") < titles.index("PID")
    harness.press("f2", "end", "enter", "f8", "+", "enter", "esc")
    harness.check()
    assert set(saved[-1]["columns"]) == {field.id for field in FIELDS}


def test_every_theme_can_be_chosen(harness: Harness, saved: list[Mapping[str, Any]]) -> None:
    for theme in (*THEMES, None):
        harness.press("f2", "enter", "f2")
        assert saved[-1] == {"theme": theme}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied"), "not saved: Permission denied"),
        (ValueError("Invalid value\x1b"), "not saved: Invalid value\\x1b"),
        (None, "not saved: there is no configuration file here"),
    ],
)
def test_what_cannot_be_saved_is_said(
    harness: Harness, error: Exception | None, words: str
) -> None:
    def save(_: Mapping[str, Any]) -> str:
        assert error
        raise error

    harness.state.save_settings = save if error else None
    harness.press("f2", "enter", "esc")
    assert harness.lines()[-1].rstrip() == words
    assert harness.state.settings.theme == "dark", "it holds for this run"


@pytest.mark.parametrize("size", [*SIZES, (1, 1), (20, 5), (60, 10)])
def test_page_fits_any_size(harness: Harness, size: tuple[int, int]) -> None:
    harness.size = size
    for name in ("f2", "end", "enter", "f7", "home", "up", "down", "left"):
        harness.press(name)
        harness.check()
        harness.click(2, size[1] // 2)
    assert harness.state.context is Context.SETUP
