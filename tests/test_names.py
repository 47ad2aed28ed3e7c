"""Names of the code: one class has one name, and no name is a private metaphor."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CODE: Final = Path(__file__).parents[1] / "bwtop"

SHARED: Final = {"Field"}
"""A field of a filter, and one of a structure of the kernel in `bwtop/capture/btf.py`."""

METAPHORS: Final = {"archive", "board", "desk", "feed", "gate", "tap", "upkeep", "wishes"}
"""Words that once stood for the model, the screen's state, access, the history and the rollup."""

Named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def definitions() -> Iterator[Named]:
    for path in CODE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, Named):
                yield node


def words(name: str) -> set[str]:
    """Return the words of a name, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_each_class_name_is_defined_once() -> None:
    names = Counter(node.name for node in definitions() if isinstance(node, ast.ClassDef))
    assert len(names) > 150
    assert {name for name, count in names.items() if count > 1} <= SHARED


def test_no_name_is_a_metaphor() -> None:
    assert [node.name for node in definitions() if words(node.name) & METAPHORS] == []
