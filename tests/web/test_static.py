"""Test the page's sources: columns, ranges and dimensions match bwtop's, and no code is unsafe."""

import re
import time
from html.parser import HTMLParser
from typing import Final

import pytest

from bwtop.history import ranges
from bwtop.history.dimensions import DIMENSIONS, parse_several
from bwtop.model.conditions import Loopback
from bwtop.model.flows import UNKNOWN_IDENTITY
from bwtop.model.ledger import CLASSES
from bwtop.view.columns import PROCESS_COLUMNS, REMOTE_COLUMNS
from bwtop.web.files import STATIC
from bwtop.web.params import LIVE, STREAM

FILES: Final = {path.name: path.read_text() for path in STATIC.iterdir() if path.is_file()}
SCRIPTS: Final = {name: text for name, text in FILES.items() if name.endswith(".js")}
ALL: Final = "\n".join(SCRIPTS.values())
CSS: Final = FILES["style.css"]

MOST: Final = 22_000
"""Maximum bytes of a source file."""

UNSAFE: Final = (
    *("innerHTML", "outerHTML", "insertAdjacentHTML", "createContextualFragment", "DOMParser"),
    *(r"document\s*\.\s*write", r"\beval\s*\(", r"\bFunction\s*\(", "javascript:", "srcdoc"),
    *(r"set(?:Timeout|Interval)\(\s*[\"'`]", r"localStorage|sessionStorage|document\.cookie"),
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


def inline(markup: Markup) -> list[object]:
    """Return the scripts and styles within a document: the policy blocks them."""
    attributes = [
        (tag, name)
        for tag, attrs in markup.elements
        for name in attrs
        if tag == "style" or name == "style" or name.startswith("on")
    ]
    return [*attributes, *filter(None, [markup.code])]


def test_nothing_is_inline() -> None:
    assert inline(MARKUP) == []


@pytest.mark.parametrize("name", FILES)
def test_files_are_small_and_make_no_markup_or_code_of_text(name: str) -> None:
    assert len(FILES[name].encode()) <= MOST
    assert not [pattern for pattern in UNSAFE if re.search(pattern, FILES[name])]


def test_nothing_comes_from_elsewhere() -> None:
    for name, text in FILES.items():
        for url in re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.\w+[^\s\"']*", text):
            assert url == "http://www.w3.org/2000/svg", name
    assert words(r"@import|url\(", CSS) == set()
    for address in MARKUP.values("src") + MARKUP.values("href"):
        assert re.match(r"[a-z?#]", address), address
        assert ":" not in address


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


@pytest.mark.parametrize("name", ["live.js", "format.js"])
def test_fields_of_rows_are_exported(name: str) -> None:
    """A field missing in JSON would show as undefined."""
    exported = {c.id for c in PROCESS_COLUMNS if c.exported}
    exported |= {c.id for c in REMOTE_COLUMNS if c.exported}
    added = {"remotes", "remote_count", "exited"}
    used = words(r"\b(?:row|each|one)\.(\w+)", FILES[name])
    assert used
    assert used - {"rates", "slice"} <= exported | added


def test_default_state_is_understood() -> None:
    defaults = dict(re.findall(r'^  (\w+): "([^"]*)",$', FILES["state.js"], re.MULTILINE))
    assert defaults["range"] in listed("RANGES", FILES["history.js"])
    assert defaults["by"] in {d.name for d in DIMENSIONS}
    fleet = dict(re.findall(r'(\w+): "([^"]*)"', listed("FLEET", FILES["state.js"])))
    assert (fleet["view"], fleet["host"]) == ("history", "")
    assert parse_several(fleet["by"])
    assert defaults["proto"].split(",") == list(CLASSES)
    assert defaults["loopback"] == Loopback.SHOW.value
    for text in re.findall(r'"([^"]+)"', listed("RANGES", FILES["history.js"])):
        found = ranges.parse(text, time.time())
        assert found.start < found.end


def test_unknown_is_the_same_word_as_in_other_views() -> None:
    assert words(r'row\.exe \?\? "([^"]+)"', FILES["history.js"]) == {UNKNOWN_IDENTITY.name}


def test_choices_are_those_of_the_api() -> None:
    values = {attrs.get("value") for tag, attrs in MARKUP.elements if tag in ("input", "option")}
    assert {*CLASSES, *(choice.value for choice in Loopback)} <= values
    for said, params in (("said", LIVE), ("query", STREAM)):
        asked = words(rf'{said}\.set\("(\w+)"', FILES["live.js"])
        assert asked
        assert asked <= {param.name for param in params}


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
