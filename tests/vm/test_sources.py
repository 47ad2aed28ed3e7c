"""apt's sources for another suite."""

from pathlib import Path

from tests.vm.sources import deb822, for_suite, machine_sources, one_line

PARAGRAPHS = """\
Types: deb deb-src
# from an image
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 AAAA
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://mirror.example/off
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://mirror.example/only-sources
Suites: bookworm
Components: main
"""

LINES = """\
# deb http://mirror.example/old bookworm main
deb [arch=amd64,i386 signed-by=/usr/share/keyrings/a.gpg] http://mirror.example/debian bookworm main contrib
deb http://mirror.example/debian bookworm-updates main
deb http://mirror.example/debian-security bookworm-security main
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/browser stable main
deb http://mirror.example/containers bookworm stable  # no Debian either
deb http://mirror.example/flat ./
"""


def test_paragraphs_give_the_suite_and_its_security_updates() -> None:
    """Keys in the file are kept, and only what is on is taken."""
    text = for_suite(deb822(PARAGRAPHS), "bookworm", "bullseye")
    archive, security = deb822(text)
    assert archive["uris"] == "http://mirror.example/debian"
    assert archive["suites"] == "bullseye"
    assert archive["types"] == "deb"
    assert archive["components"] == "main"
    assert archive["signed-by"].splitlines()[1:] == [
        " -----BEGIN PGP PUBLIC KEY BLOCK-----",
        " .",
        " AAAA",
        " -----END PGP PUBLIC KEY BLOCK-----",
    ]
    assert security["uris"] == "http://mirror.example/debian-security"
    assert security["suites"] == "bullseye-security"


def test_lines_give_the_same() -> None:
    """Options become fields; `Signed-By` is what keeps the signature checked."""
    archive, security = deb822(for_suite(one_line(LINES), "bookworm", "trixie"))
    assert archive["suites"] == "trixie"
    assert archive["signed-by"] == "/usr/share/keyrings/a.gpg"
    assert archive["architectures"] == "amd64 i386"
    assert security["suites"] == "trixie-security"


def test_sid_has_no_security_updates() -> None:
    (archive,) = deb822(for_suite(deb822(PARAGRAPHS), "bookworm", "sid"))
    assert archive["suites"] == "sid"


def test_a_machine_without_the_archive_gives_nothing() -> None:
    assert for_suite(one_line("deb http://mirror.example/x jammy main"), "bookworm", "sid") == ""


def test_a_machine_may_follow_stable() -> None:
    lines = "deb http://mirror.example/debian stable main # all\ndeb http://mirror.example/s stable-security main"
    archive, security = deb822(for_suite(one_line(lines), "bookworm", "trixie"))
    assert archive["suites"] == "trixie"
    assert security["suites"] == "trixie-security"


def test_all_files_of_the_machine_are_read(tmp_path: Path) -> None:
    """But none that apt leaves out for its name."""
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text("deb http://mirror.example/a bookworm main\n")
    (parts / "b.list").write_text("deb http://mirror.example/b bookworm main\n")
    (parts / "c.sources").write_text(PARAGRAPHS)
    (parts / "d.list.disabled").write_text("deb http://mirror.example/d bookworm main\n")
    found = [stanza["uris"].rpartition("/")[2] for stanza in machine_sources(tmp_path)]
    assert found == ["a", "b", "debian", "debian-security"]


def test_a_machine_without_files_has_no_sources(tmp_path: Path) -> None:
    assert machine_sources(tmp_path) == []
