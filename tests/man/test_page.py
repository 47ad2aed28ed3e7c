"""The manual: made from the program's tables, up to date, and good mdoc."""

import re
from pathlib import Path

import pytest

from bwtop.history.dimensions import DIMENSIONS
from bwtop.history.tiers import TIERS
from bwtop.metrics.table import METRICS
from bwtop.model.filter_fields import FIELDS as FILTER_FIELDS
from bwtop.options.config import SETTINGS
from bwtop.options.flags import ROWS
from bwtop.rights.account import VARIABLES
from bwtop.tui.keymap import spelled
from bwtop.tui.keys import KEYS
from bwtop.tui.layout import FIELDS
from bwtop.view.columns import ALL_COLUMNS, REMOTE_COLUMNS
from man import page
from man.__main__ import FILES, ROOT
from tests.processes import ran

PAGE = ROOT / "man" / "bwtop.1"


def rendered() -> str:
    """Return the page as a reader sees it, on one long line per paragraph."""
    made = ran(["mandoc", "-T", "utf8", "-O", "width=500", PAGE], check=True)
    return re.sub(".\b", "", made.stdout)


@pytest.mark.parametrize("name", FILES)
def test_what_is_made_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == FILES[name](), "make docs"


def test_a_stale_page_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each table is really in it."""
    before = page.page()
    for name in page.TABLES:
        with monkeypatch.context() as patch:
            patch.setitem(page.TABLES, name, lambda: iter(["nothing"]))
            assert page.page() != before, name


def test_mandoc_has_nothing_to_say() -> None:
    """But about pages that this machine does not have."""
    said = ran(["mandoc", "-T", "lint", PAGE]).stdout
    assert [line for line in said.splitlines() if "referenced manual not found" not in line] == []


def test_groff_has_nothing_to_say() -> None:
    """It is what man-db renders with."""
    said = ran(["groff", "-mdoc", "-ww", "-Tutf8", "-z", PAGE], check=True)
    assert said.stderr == ""


def test_every_flag_key_column_and_metric_is_in_it() -> None:
    text = rendered()
    for flag in ROWS:
        assert all(name in text for name in flag.names)
        assert " ".join(flag.help.replace(" (see below)", "").split())[1:] in text
    for key in KEYS:
        assert f"{' '.join(spelled(name) for name in key.keys)}" in text
        assert f"{key.help} ({key.name})" in text
    columns = [(column.id, column.help) for column in ALL_COLUMNS]
    columns += [(column.id, column.help) for column in REMOTE_COLUMNS]
    for column, meaning in columns:
        assert re.search(rf"^ +{column} +{re.escape(meaning)}$", text, re.MULTILINE), column
    for field in FIELDS:
        assert f"({field.id})" in text
    for metric in METRICS:
        assert re.search(rf"^ +{metric.name}$", text, re.MULTILINE), metric.name
        assert metric.help[1:] in text
    names = [one.name for one in (*DIMENSIONS, *TIERS, *SETTINGS)]
    names += [f"{one.name}:" for one in FILTER_FIELDS]
    assert [name for name in names if not re.search(rf"^ +{name} ", text, re.MULTILINE)] == []


def environment_of(package: Path) -> set[str]:
    """Return the environment variables that the program reads."""
    source = "".join(
        path.read_text() for path in package.rglob("*.py") if "capture" not in path.parts
    )
    pattern = r'(?:environ|environment)(?:\.get)?[(\[]"([A-Z_]+)"'
    return set(re.findall(pattern, source))


def test_every_variable_is_in_it() -> None:
    text = rendered().partition("ENVIRONMENT")[2].partition("FILES")[0]
    names = environment_of(ROOT / "bwtop")
    assert {"BWTOP_DB", "NO_COLOR", "SUDO_GID"} <= names
    assert [name for name in names if name not in text] == []
    assert [name for name in VARIABLES if name not in text] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [(".Nm", "\\&.Nm"), ("'a", "\\&'a"), ("a\\b", "a\\eb"), ("a-b", "a\\-b"), ("a", "a")],
)
def test_text_is_text(words: str, line: str) -> None:
    assert page.text(words) == line


def test_lines_are_broken_where_nothing_becomes_a_macro() -> None:
    line = "x" * 77 + " .Nm y"
    assert page.wrapped(line) == ["x" * 77, "\\&.Nm y"]
