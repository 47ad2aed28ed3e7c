"""README, guide and CONTRIBUTING: their messages, commands, paths and links are those of bwtop."""

import ast
import re
import shlex
import string
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from bwtop.history.tiers import TIERS, parse_retention
from bwtop.options import config
from bwtop.options.command import parse as parse_arguments
from bwtop.options.flags import ROWS
from bwtop.tui.keys import KEYS
from man.__main__ import ROOT
from tests.documents import first_cells

README: Final = ROOT / "README.md"
CONTRIBUTING: Final = ROOT / "CONTRIBUTING.md"
GUIDE: Final = ROOT / "man" / "guide"
DOCUMENTS: Final = (README, CONTRIBUTING, *sorted(GUIDE.glob("*.md")))
MANUAL: Final = ROOT / "man" / "bwtop.1.in"

LARGEST: Final = 10_000
"""Bytes of the README: it is read before bwtop is known to be of use."""

OF_OTHERS: Final = {
    *("--system-site-packages", "--break-system-packages"),  # pip
    *("--privileged", "--security-opt"),  # podman
    *("--quick", "--results", "--beside"),  # make bench
}
"""Flags of other programs in the documents."""

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)


# Messages.


@cache
def strings() -> frozenset[str]:
    """Return the strings in the code, without docstrings; placeholders of f-strings are "..."."""
    found: set[str] = set()
    for path in (ROOT / "bwtop").rglob("*.py"):
        tree = ast.parse(path.read_text())
        docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found |= {written(node) for node in ast.walk(tree) if node not in docstrings}
    return frozenset(found)


def written(node: ast.AST) -> str:
    """Return a string as the code has it; empty for other expressions."""
    match node:
        case ast.JoinedStr(values=parts):
            return "".join(written(part) or "..." for part in parts)
        case ast.Constant(value=str(text)):
            return text
    return ""


def fixed_parts(message: str) -> list[str]:
    """Return the parts of a quoted message that are the same every time.

    A message can be put together of several strings, with ": " between them.
    """
    parts = re.split(r"\.\.\.|: ", message)
    return [stripped for part in parts if (stripped := part.strip(string.punctuation + " "))]


def unknown_parts(message: str) -> list[str]:
    """Return the parts of a quoted message that no string in the code has."""
    return [part for part in fixed_parts(message) if not any(part in s for s in strings())]


def quoted_in_manual() -> list[str]:
    section = MANUAL.read_text().partition(".Sh DIAGNOSTICS")[2].partition(".Sh ")[0]
    return re.findall(r'^\.It "(.*)"$', section, re.MULTILINE)


def quoted_in_tables(document: Path) -> list[str]:
    """Return the first column of the tables whose title is "message"."""
    tables = re.findall(r"^\| message \|.*\n\|[-|]+\n((?:\|.*\n)+)", document.read_text(), re.M)
    return re.findall(r"^\| `([^`]+)` \|", "".join(tables), re.MULTILINE)


def quoted() -> list[str]:
    found = quoted_in_manual()
    for document in DOCUMENTS:
        found += quoted_in_tables(document)
    return sorted(set(found))


def test_manual_and_readme_quote_messages() -> None:
    assert len(quoted_in_manual()) > 5
    assert len(quoted_in_tables(README)) > 5


@pytest.mark.parametrize("message", quoted())
def test_quoted_message_exists(message: str) -> None:
    assert fixed_parts(message)
    assert unknown_parts(message) == []


# Commands and flags.


def commands(document: Path) -> Iterator[str]:
    """Yield the example commands: lines of code blocks up to two blanks or a pipe."""
    for line in document.read_text().splitlines():
        found = re.fullmatch(r" {4}(?:\$ )?(?:sudo )?bwtop( -.*)", line)
        if found:
            yield re.split(r" {2,}| \| ", found[1].strip())[0]


def all_commands() -> list[str]:
    return sorted({command for document in DOCUMENTS for command in commands(document)})


def test_documents_have_examples() -> None:
    assert len(all_commands()) > 20


@pytest.mark.parametrize("command", all_commands())
def test_example_command_is_valid(command: str) -> None:
    parse_arguments(shlex.split(command))


@each_document
def test_flags_exist(document: Path) -> None:
    names = {name for flag in ROWS for name in flag.names} | OF_OTHERS
    code = "\n".join(re.findall(r"`([^`\n]+)`", document.read_text()))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", code)) - names == set()


def test_example_configuration_is_valid() -> None:
    text = (GUIDE / "scripts.md").read_text()
    block = text[text.index("    interval = ") : text.index("`bwtop --print-config`")]
    loaded = config.load([GUIDE], lambda _: tomllib.loads(textwrap.dedent(block)))
    assert loaded.flags["interval"] == 2
    assert loaded.keymap is not None


def test_keys_of_the_readme_are_bound() -> None:
    bound = {one for key in KEYS for one in key.keys}
    named = first_cells(README, "## The full screen")
    assert len(named) > 20
    assert set(named) - bound == set()


def test_history_page_has_every_retention() -> None:
    rows = re.findall(r"^\|.*`--retention .*", (GUIDE / "history.md").read_text(), re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`(?:--retention )?(\w+)[=`]", row)}
    assert {tier.name for tier in TIERS} - names == set()
    for example in re.findall(r"`--retention (.*?)`", "\n".join(rows)):
        parse_retention(example)  # no error


# Links and paths.


def headings(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(document: Path) -> list[str]:
    """Return the relative links that lead nowhere."""
    targets = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    return [target for target in targets if "://" not in target and not leads(document, target)]


def leads(document: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    path = document.parent / name if name else document
    return path.exists() and (not anchor or anchor in headings(path))


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    assert broken(document) == []


def test_indexes_have_every_page() -> None:
    pages = {path.name for path in GUIDE.glob("*.md")} - {"README.md"}
    assert {name for name in pages if f"(man/guide/{name}" not in README.read_text()} == set()
    assert {name for name in pages if f"({name})" not in (GUIDE / "README.md").read_text()} == set()


@each_document
def test_paths_exist(document: Path) -> None:
    """What begins with a folder of the checkout is a path in it."""
    folders = "bpf|bwtop|man|share|tests|debian"
    found = re.findall(rf"`((?:{folders})/[\w/.]*)`", document.read_text())
    ours = [path for path in found if not path.startswith("share/doc/")]  # once installed
    assert [path for path in ours if not (ROOT / path).exists()] == []


def map_of_the_code() -> dict[str, list[str]]:
    """Return the files that CONTRIBUTING names, by folder."""
    rows = re.findall(r"^\| `([\w/]+/)` \| (.*) \|$", CONTRIBUTING.read_text(), re.M)
    return {folder: re.findall(r"`([\w.]+\.\w+)`", text) for folder, text in rows}


def test_map_has_every_package_and_only_files_that_exist() -> None:
    found = map_of_the_code()
    packages = {f"bwtop/{path.parent.name}/" for path in (ROOT / "bwtop").glob("*/__init__.py")}
    assert packages - found.keys() == set()
    named = [ROOT / folder / name for folder, names in found.items() for name in names]
    assert [path for path in named if not path.exists()] == []


# Size.


def test_readme_is_short() -> None:
    assert README.stat().st_size <= LARGEST
