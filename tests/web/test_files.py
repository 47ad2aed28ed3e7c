"""Test the page's files: all of them, with the right types, and no others."""

from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest

from bwtop.web import files
from bwtop.web.files import CHART, MOST, STATIC, File

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Serve a prepared page, without the distribution's Chart.js."""
    made = tmp_path / "static"
    made.mkdir()
    for name in ("index.html", "app.js", "app.css", "icon.svg"):
        (made / name).write_text(f"content of {name}")
    monkeypatch.setattr(files, "STATIC", made)
    monkeypatch.setattr(files, "CHART_JS", tmp_path / "missing.js")
    return made


def test_every_file_of_the_page_is_there_with_its_type() -> None:
    found = files.load(None, {})
    found.pop(CHART, None)
    names = {path.name for path in STATIC.iterdir() if path.is_file()}
    assert set(found) == {"/"} | {f"/{name}" for name in names} - {"/index.html"}
    for path, file in found.items():
        source = STATIC / (path.strip("/") or "index.html")
        assert file.body == source.read_bytes()
        assert file.type == TYPES[source.suffix]


def test_nothing_else_beside_them_is_served(static: Path) -> None:
    for name in ("README.md", "app.js.orig", ".hidden", "secret.py", "__init__"):
        (static / name).write_text("secret")
    (static / "below").mkdir()
    (static / "below" / "deep.js").write_text("secret")
    assert set(files.load(None, {})) == {"/", "/app.js", "/app.css", "/icon.svg"}
    assert b"secret" not in b"".join(file.body for file in files.load(None, {}).values())


def test_tag_changes_with_the_content(static: Path) -> None:
    before = files.load(None, {})
    (static / "app.js").write_text("something else")
    after = files.load(None, {})
    assert after["/app.js"].answer(before["/app.js"].tag).status is HTTPStatus.OK
    assert {p for p in before if before[p].tag != after[p].tag} == {"/app.js"}


# Chart.js.


def test_chart_js_comes_from_the_path_that_was_given(static: Path, tmp_path: Path) -> None:
    assert CHART not in files.load(None, {})
    mine = tmp_path / "mine.min.js"
    mine.write_text("chart")
    (tmp_path / "missing.js").write_text("the distribution's")
    found = files.load(mine, {})[CHART]
    assert found == File(TYPES[".js"], b"chart", found.tag)
    assert files.load(None, {})[CHART].body == b"the distribution's"
    for wrong, error in ((tmp_path / "none.js", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error):
            files.load(wrong, {})


def test_chart_js_may_be_large_but_not_too_large(static: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.js"
    mine.write_bytes(b" " * MOST)
    assert len(files.load(mine, {})[CHART].body) == MOST
    mine.write_bytes(b" " * (MOST + 1))
    with pytest.raises(OSError, match=f"larger than {MOST} bytes"):
        files.load(mine, {})
    with pytest.raises(OSError, match="not a regular file"):
        files.load(Path("/dev/zero"), {})
