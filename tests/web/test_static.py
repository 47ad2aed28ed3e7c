"""Test the page's sources: columns, ranges and dimensions match bwtop's, and no code is unsafe."""

import re
import time
from html.parser import HTMLParser
from typing import Final

import pytest

from bwtop.history import ranges
from bwtop.history.dimensions import DIMENSIONS, TIMES, parse_several
from bwtop.model.filter import Loopback
from bwtop.model.flows import UNKNOWN_IDENTITY
from bwtop.model.ledger import CLASSES
from bwtop.output.request import SORTS
from bwtop.view.columns import PROCESS_COLUMNS, REMOTE_COLUMNS, parse_order
from bwtop.web.files import STATIC
from bwtop.web.params import LIVE, STREAM

FILES: Final = {path.name: path.read_text() for path in STATIC.iterdir() if path.is_file()}
SCRIPTS: Final = {name: text for name, text in FILES.items() if name.endswith(".js")}
ALL: Final = "\n".join(SCRIPTS.values())
CSS: Final = FILES["style.css"]

MOST: Final = 20_000
"""Maximum bytes of a source file."""

UNSAFE: Final = (
    r"innerHTML",
    r"outerHTML",
    r"insertAdjacentHTML",
    r"document\s*\.\s*write",
    r"createContextualFragment",
    r"DOMParser",
    r"\beval\s*\(",
    r"\bFunction\s*\(",
    r"set(?:Timeout|Interval)\(\s*[\"'`]",
    r"javascript:",
    r"srcdoc",
    r"localStorage|sessionStorage|document\.cookie",
)


class Markup(HTMLParser):
    """All elements with their attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.code = ""
        self._within = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within in ("script", "style"):
            self.code += data.strip()

    def values(self, name: str) -> list[str]:
        return [value or "" for _, attrs in self.elements for key, value in attrs.items() if key == name]  # fmt: skip


MARKUP: Final = Markup(FILES["index.html"])


def words(pattern: str, text: str = ALL) -> set[str]:
    """Return all matches of a pattern's group."""
    return set(re.findall(pattern, text, re.MULTILINE))


def listed(name: str, text: str) -> str:
    """Return the literal of a constant."""
    found = re.search(rf"\b{name} = (.*?[\]}}]\)?;)$", text, re.DOTALL | re.MULTILINE)
    assert found, name
    return found[1]


@pytest.mark.parametrize("name", FILES)
def test_files_are_small(name: str) -> None:
    assert len(FILES[name].encode()) <= MOST


def test_nothing_is_inline() -> None:
    """The policy blocks inline code; a policy that allows it would not protect."""
    assert MARKUP.code == ""
    for tag, attrs in MARKUP.elements:
        assert tag != "style"
        assert "style" not in attrs
        assert not [name for name in attrs if name.startswith("on")], tag


@pytest.mark.parametrize("pattern", UNSAFE)
def test_text_never_becomes_markup_or_code(pattern: str) -> None:
    for name, text in FILES.items():
        assert not re.search(pattern, text), name


def test_nothing_comes_from_elsewhere() -> None:
    for name, text in FILES.items():
        for url in re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.\w+[^\s\"']*", text):
            assert url == "http://www.w3.org/2000/svg", name
    assert words(r"@import|url\(", CSS) == set()
    for address in MARKUP.values("src") + MARKUP.values("href"):
        assert re.match(r"[a-z?#]", address), address
        assert ":" not in address


def test_imports_exist() -> None:
    assert words(r'from "\./([^"]+)"') <= set(FILES)
    for name, text in SCRIPTS.items():
        for imported, source in re.findall(r'import \{ ([^}]+) \} from "\./([^"]+)"', text):
            exported = words(r"^export (?:const|function|class) (\w+)", FILES[source])
            for each in imported.split(", "):
                assert each in exported, (name, each)
                assert len(re.findall(rf"\b{each}\b", text)) > 1, f"{name} does not use {each}"


def test_ids_are_unique() -> None:
    ids = MARKUP.values("id")
    assert len(ids) == len(set(ids))
    used = words(r'byId\("([^"]+)"\)')
    assert used
    assert used <= set(ids)
    assert {"to-live", "to-history"} <= set(ids)  # byId(`to-${view}`)
    for name in ("from", "through", "csv", "json", "loopback", "units"):  # byId(id) in loops
        assert name in ids
    references = MARKUP.values("aria-describedby") + MARKUP.values("for")
    assert set(references) <= set(ids)
    anchors = {value[1:] for value in MARKUP.values("href") if value.startswith("#")}
    assert anchors <= set(ids)


def test_document_has_landmarks_and_language() -> None:
    tags = [tag for tag, _ in MARKUP.elements]
    assert dict(MARKUP.elements)["html"] == {"lang": "en"}
    for tag in ("h1", "main", "header", "nav", "footer", "title", "noscript"):
        assert tags.count(tag) == 1, tag
    assert "width=device-width" in str(MARKUP.elements)


def test_columns_are_those_of_bwtop() -> None:
    ids = re.findall(r'\{ id: "(\w+)"', listed("COLUMNS", FILES["live.js"]))
    assert ids
    assert len(ids) == len(set(ids))
    for column in ids:
        assert parse_order(column).column == column
        assert parse_order(f"-{column}").reverse


def test_columns_of_text_are_sorted_upwards() -> None:
    """aria-sort matches the server's order."""
    columns = {column.id: column for column in PROCESS_COLUMNS}
    for row in listed("COLUMNS", FILES["live.js"]).splitlines():
        if found := re.search(r'id: "(\w+)"', row):
            assert ("text: true" in row) != columns[found[1]].descending, found[1]


@pytest.mark.parametrize("name", ["live.js", "format.js"])
def test_fields_of_rows_are_exported(name: str) -> None:
    """A field missing in JSON would show as undefined."""
    exported = {c.id for c in PROCESS_COLUMNS if c.exported}
    exported |= {c.id for c in REMOTE_COLUMNS if c.exported}
    added = {"remotes", "remote_count", "exited"}
    assert words(r"\b(?:row|each|one)\.(\w+)", FILES[name]) - {"rates", "slice"} <= exported | added


def test_numbers_of_the_history_can_be_sorted_by() -> None:
    assert re.findall(r'\{ id: "(\w+)"', listed("NUMBERS", FILES["history.js"])) == [
        "rx",
        "tx",
        "total",
    ]
    assert set(SORTS) == {"rx", "tx", "total"}


def test_ranges_are_understood() -> None:
    offered = re.findall(r'"([^"]+)"', listed("RANGES", FILES["history.js"]))
    assert "today" in offered
    for text in offered:
        found = ranges.parse(text, time.time())
        assert found.start < found.end


def test_default_state_is_understood() -> None:
    defaults = dict(re.findall(r'^  (\w+): "([^"]*)",$', FILES["state.js"], re.MULTILINE))
    assert defaults["range"] in listed("RANGES", FILES["history.js"])
    assert defaults["by"] in {d.name for d in DIMENSIONS}
    fleet = dict(re.findall(r'(\w+): "([^"]*)"', listed("FLEET", FILES["state.js"])))
    assert (fleet["view"], fleet["host"]) == ("history", "")
    assert parse_several(fleet["by"])
    assert defaults["proto"].split(",") == list(CLASSES)
    assert defaults["loopback"] == Loopback.SHOW.value
    assert ranges.parse(defaults["range"], time.time())


def test_unknown_is_the_same_word_as_in_other_views() -> None:
    assert words(r'row\.exe \?\? "([^"]+)"', FILES["history.js"]) == {UNKNOWN_IDENTITY.name}


def test_dimensions_have_names() -> None:
    names = words(r"^  (\w+)(?:: \(|,$)", listed("NAMES", FILES["history.js"]))
    assert {d.name for d in DIMENSIONS} <= names
    assert set(re.findall(r'"(\w+)"', listed("TIMES", FILES["history.js"]))) == TIMES


def test_choices_are_those_of_the_api() -> None:
    values = {attrs.get("value") for tag, attrs in MARKUP.elements if tag in ("input", "option")}
    assert {*CLASSES, *(choice.value for choice in Loopback)} <= values
    assert words(r'said\.set\("(\w+)"', FILES["live.js"]) <= {param.name for param in LIVE}
    assert words(r'link\.set\("(\w+)"', FILES["live.js"]) <= {param.name for param in STREAM}


def test_paths_are_routes() -> None:
    from bwtop.web.api import ROUTES

    asked = words(r"[\"'`](api/v1/[a-z.]+)") | words(r'"(api/v1/[a-z.]+)"', FILES["index.html"])
    assert len(asked) >= 6
    assert {f"/{path}" for path in asked} <= {route.path for route in ROUTES}


def classes_used() -> set[str]:
    found = {name for value in MARKUP.values("class") for name in value.split()}
    for value in words(r'className: (?:\w+\.\w+ \? )?"([^"]*)"') | words(r'make\("\w+", "([^"]+)"'):
        found.update(value.split())
    found |= words(r'classList\.\w+\("([\w-]+)"')
    return found


def test_classes_have_a_style() -> None:
    """A class missing in the style sheet would silently show in the default style."""
    styled = words(r"\.([a-z][\w-]*)", re.sub(r"\{[^}]*\}", "{}", CSS))
    chosen = {"live-only", "history-only"}  # what views show and hide
    assert classes_used() - styled - chosen == set()
    unused = {name for name in styled if not re.search(rf"\b{name}\b", ALL + FILES["index.html"])}
    assert unused == set()


def test_colours_are_defined_in_light_and_dark() -> None:
    light, dark = (block for block in re.findall(r":root \{(.*?)\}", CSS, re.DOTALL))
    names = words(r"--([\w-]+):", light)
    assert words(r"--([\w-]+):", dark) == names
    used = words(r"var\(--([\w-]+)", CSS)
    assert used - {"part"} <= names
    assert words(r'colour(?:Sent)?: "([\w-]+)"') | words(r'colour\("([\w-]+)"\)') <= names
    assert {f"series-{number}" for number in range(6)} <= names
